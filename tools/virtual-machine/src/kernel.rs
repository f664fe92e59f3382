//! Downloads Debian's kernel for virtual machines. The package is unpacked, not installed.

use runway_steps::{ToolError, cache_dir, search_path};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The Debian package that depends on the package of the newest kernel.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Returns the path of the kernel. Downloads the kernel if it is not in the cache.
pub(super) fn fetch() -> Result<PathBuf, ToolError> {
    let cache = cache_dir()?;
    let kernel = cache.join("vmlinuz");
    if kernel.is_file() {
        return Ok(kernel);
    }
    let work = cache.join(format!("kernel-{}.unpacking", std::process::id()));
    let io_error = || ToolError::io(format!("`{}`", work.display()));
    fs::create_dir_all(&work).map_err(io_error())?;
    eprintln!("xtask: downloading a kernel");
    run(Command::new("apt-get").args(["update", "-qq"]), &work)?;
    let depends = run(Command::new("apt-cache").args(["depends", PACKAGE]), &work)?;
    let depends = String::from_utf8_lossy(&depends.stdout).into_owned();
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let name =
        name.ok_or_else(|| ToolError::Unsupported { what: format!("{PACKAGE} depends on no kernel") })?;
    run(Command::new("apt-get").args(["download", &format!("linux-image-{name}")]), &work)?;
    let packages = fs::read_dir(&work).map_err(io_error())?.flatten().map(|entry| entry.path());
    for package in packages.filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        run(Command::new("dpkg").arg("-x").arg(package).arg("unpacked"), &work)?;
    }
    fs::rename(work.join(format!("unpacked/boot/vmlinuz-{name}")), &kernel).map_err(io_error())?;
    fs::remove_dir_all(&work).map_err(io_error())?;
    Ok(kernel)
}

fn run(command: &mut Command, dir: &Path) -> Result<Output, ToolError> {
    let what = Path::new(command.get_program()).display().to_string();
    let output =
        command.env("PATH", search_path()).current_dir(dir).output().map_err(ToolError::io(&*what))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(ToolError::CommandFailed { what, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}
