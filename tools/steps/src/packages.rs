//! Installs missing Debian packages without starting their services.

use crate::error::{ToolError, last_lines};
use crate::programs::{ProgramPaths, locate, search_path};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Debian runs this program to ask whether a package may start its services. Exit code 101 means no.
const SERVICE_POLICY_FILE: &str = "/usr/sbin/policy-rc.d";

/// Installs packages. `programs` are the programs that the caller needs, for messages. `advice` tells the
/// user how to continue if the packages cannot be installed.
///
/// # Errors
/// [`ToolError::MissingPrograms`] if this system is not Debian 12, has no `apt-get`, or the user is not root.
/// [`ToolError::Io`] if `apt-get` cannot be started, or the policy file for services cannot be written.
/// [`ToolError::CommandFailed`] if `apt-get` fails.
pub fn install_packages(packages: &[&str], programs: &[String], advice: &str) -> Result<(), ToolError> {
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    packages.dedup();
    let is_debian = fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian_12(&text));
    if !is_debian || !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(ToolError::MissingPrograms {
            programs: programs.to_vec(),
            place: format!("on this system (Debian 12 packages: {})", packages.join(", ")),
            advice: advice.to_owned(),
        });
    }
    eprintln!("xtask: installing {}", packages.join(", "));
    let log = std::env::temp_dir().join(format!("xtask-apt-{}.log", std::process::id()));
    run_logged(Command::new("apt-get").arg("update"), "apt-get update", &log)?;
    let _policy = ServiceStartBlock::create()?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "--no-install-recommends"]).args(&packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run_logged(&mut install, "apt-get install", &log)?;
    let _none = fs::remove_file(log);
    Ok(())
}

/// Finds programs on the system. Installs the packages of missing programs.
///
/// # Errors
/// [`ToolError::MissingPrograms`] if a program is missing and cannot be installed.
/// [`ToolError::CommandFailed`] if `apt-get` fails.
pub fn find_or_install(programs: &[(&str, &str)], advice: &str) -> Result<ProgramPaths, ToolError> {
    let missing = || programs.iter().filter(|(program, _)| locate(program).is_none());
    let names = || missing().map(|(program, _)| (*program).to_owned()).collect::<Vec<_>>();
    if missing().next().is_some() {
        install_packages(&missing().map(|(_, package)| *package).collect::<Vec<_>>(), &names(), advice)?;
    }
    if missing().next().is_some() {
        return Err(ToolError::MissingPrograms {
            programs: names(),
            place: "on this system, although their packages are installed".to_owned(),
            advice: advice.to_owned(),
        });
    }
    let place = |(program, _): &(&str, _)| Some(((*program).to_owned(), locate(program)?));
    Ok(programs.iter().filter_map(place).collect())
}

/// Runs a program and appends its output to a log. If the program fails, the error contains the last lines of
/// the log.
///
/// # Errors
/// [`ToolError::Io`] if the program cannot be started.
/// [`ToolError::CommandFailed`] if the program fails.
pub fn run_logged(command: &mut Command, what: &str, log: &Path) -> Result<(), ToolError> {
    let io_error = |error| ToolError::Io { what: what.to_owned(), error };
    let output = File::options().create(true).append(true).open(log).map_err(io_error)?;
    let errors = output.try_clone().map_err(io_error)?;
    let status = command
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(io_error)?;
    if status.success() {
        return Ok(());
    }
    let output = format!("the last lines of `{}`:\n{}", log.display(), last_lines(log));
    Err(ToolError::CommandFailed { what: what.to_owned(), output })
}

/// Whether the text of an `os-release` file describes Debian 12.
fn is_debian_12(release: &str) -> bool {
    let has_value = |name: &str, value: &str| {
        let value_of = |line: &str| line.strip_prefix(name).map(|value| value.trim_matches('"').to_owned());
        release.lines().filter_map(value_of).any(|found| found == value)
    };
    has_value("ID=", "debian") && has_value("VERSION_ID=", "12")
}

/// Prevents packages from starting their services until this value is dropped. An existing policy of the
/// machine is left unchanged.
struct ServiceStartBlock {
    is_created: bool,
}

impl ServiceStartBlock {
    fn create() -> Result<Self, ToolError> {
        let is_created = !Path::new(SERVICE_POLICY_FILE).exists();
        if is_created {
            let io_error = |error| ToolError::Io { what: format!("`{SERVICE_POLICY_FILE}`"), error };
            fs::write(SERVICE_POLICY_FILE, "#!/bin/sh\nexit 101\n").map_err(io_error)?;
            fs::set_permissions(SERVICE_POLICY_FILE, fs::Permissions::from_mode(0o755)).map_err(io_error)?;
        }
        Ok(Self { is_created })
    }
}

impl Drop for ServiceStartBlock {
    fn drop(&mut self) {
        if self.is_created {
            let _gone_already = fs::remove_file(SERVICE_POLICY_FILE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_debian_12;

    #[test]
    fn debian_12_is_detected_from_os_release() {
        assert!(is_debian_12("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(!is_debian_12("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nID=debian\n"));
        assert!(!is_debian_12("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"12\"\n"));
    }
}
