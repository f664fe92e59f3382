//! Installs missing Debian packages without starting their services.

use crate::failure::{Failure, tail};
use crate::programs::{Programs, locate, search_path};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Debian runs this program to ask whether a package may start its services. Exit code 101 means no.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs packages. `programs` are the programs that the caller needs, for messages. `advice` tells the
/// user how to continue if the packages cannot be installed.
///
/// # Errors
/// [`ToolError::MissingPrograms`] if this system is not Debian 12, or the user is not root.
/// [`ToolError::CommandFailed`] if `apt-get` fails.
pub fn install(packages: &[&str], wanted: &[String], advice: &str) -> Result<(), Failure> {
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    packages.dedup();
    let is_debian = fs::read_to_string("/etc/os-release").is_ok_and(|text| is_debian_12(&text));
    if !is_debian || !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure::Missing {
            programs: wanted.to_vec(),
            place: format!("on this system (Debian 12 packages: {})", packages.join(", ")),
            advice: advice.to_owned(),
        });
    }
    eprintln!("xtask: installing {}", packages.join(", "));
    let log = std::env::temp_dir().join(format!("xtask-apt-{}.log", std::process::id()));
    logged(Command::new("apt-get").arg("update"), "apt-get update", &log)?;
    let _policy = NothingStarts::begin()?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "--no-install-recommends"]).args(&packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    logged(&mut install, "apt-get install", &log)?;
    let _none = fs::remove_file(log);
    Ok(())
}

/// Finds programs on the system. Installs the packages of missing programs.
///
/// # Errors
/// [`ToolError::MissingPrograms`] if a program is missing and cannot be installed.
/// [`ToolError::CommandFailed`] if `apt-get` fails.
pub fn on_the_system(programs: &[(&str, &str)], advice: &str) -> Result<Programs, Failure> {
    let absent = || programs.iter().filter(|(program, _)| locate(program).is_none());
    let names = || absent().map(|(program, _)| (*program).to_owned()).collect::<Vec<_>>();
    if absent().next().is_some() {
        install(&absent().map(|(_, package)| *package).collect::<Vec<_>>(), &names(), advice)?;
    }
    if absent().next().is_some() {
        return Err(Failure::Missing {
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
pub fn logged(command: &mut Command, what: &str, log: &Path) -> Result<(), Failure> {
    let told = |error| Failure::Io { what: what.to_owned(), error };
    let output = File::options().create(true).append(true).open(log).map_err(told)?;
    let errors = output.try_clone().map_err(told)?;
    let status = command
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .status()
        .map_err(told)?;
    if status.success() {
        return Ok(());
    }
    let output = format!("the last lines of `{}`:\n{}", log.display(), tail(log));
    Err(Failure::Command { what: what.to_owned(), output })
}

/// Whether the text of an `os-release` file describes Debian 12.
fn is_debian_12(release: &str) -> bool {
    let says = |name: &str, value: &str| {
        let value_of = |line: &str| line.strip_prefix(name).map(|value| value.trim_matches('"').to_owned());
        release.lines().filter_map(value_of).any(|found| found == value)
    };
    says("ID=", "debian") && says("VERSION_ID=", "12")
}

/// Prevents packages from starting their services until this value is dropped. An existing policy of the
/// machine is left unchanged.
struct NothingStarts {
    ours: bool,
}

impl NothingStarts {
    fn begin() -> Result<Self, Failure> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            let told = |error| Failure::Io { what: format!("`{POLICY}`"), error };
            fs::write(POLICY, "#!/bin/sh\nexit 101\n").map_err(told)?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)).map_err(told)?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if self.ours {
            let _gone_already = fs::remove_file(POLICY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_debian_12;

    #[test]
    fn a_system_is_told_by_its_release() {
        assert!(is_debian_12("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nID=debian\n"));
        assert!(!is_debian_12("NAME=\"Debian GNU/Linux\"\nVERSION_ID=\"13\"\nID=debian\n"));
        assert!(!is_debian_12("ID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"12\"\n"));
    }
}
