//! Gets Debian's kernel for virtual machines. The package is unpacked, not installed.

use runway_steps::{Failure, cache_folder, search_path};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The package that depends on the newest kernel package.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// Returns the path of the kernel. Downloads it if it is not in the cache.
pub(super) fn get() -> Result<PathBuf, Failure> {
    let cache = cache_folder()?;
    let kernel = cache.join("vmlinuz");
    if kernel.is_file() {
        return Ok(kernel);
    }
    let work = cache.join(format!("kernel-{}.unpacking", std::process::id()));
    let told = || Failure::io(format!("`{}`", work.display()));
    fs::create_dir_all(&work).map_err(told())?;
    eprintln!("xtask: downloading a kernel");
    run(Command::new("apt-get").args(["update", "-qq"]), &work)?;
    let depends = run(Command::new("apt-cache").args(["depends", PACKAGE]), &work)?;
    let depends = String::from_utf8_lossy(&depends.stdout).into_owned();
    let name = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
    let name = name.ok_or_else(|| Failure::Unable { what: format!("{PACKAGE} depends on no kernel") })?;
    run(Command::new("apt-get").args(["download", &format!("linux-image-{name}")]), &work)?;
    let packages = fs::read_dir(&work).map_err(told())?.flatten().map(|entry| entry.path());
    for package in packages.filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
        run(Command::new("dpkg").arg("-x").arg(package).arg("unpacked"), &work)?;
    }
    fs::rename(work.join(format!("unpacked/boot/vmlinuz-{name}")), &kernel).map_err(told())?;
    fs::remove_dir_all(&work).map_err(told())?;
    Ok(kernel)
}

fn run(command: &mut Command, folder: &Path) -> Result<Output, Failure> {
    let what = Path::new(command.get_program()).display().to_string();
    let output =
        command.env("PATH", search_path()).current_dir(folder).output().map_err(Failure::io(&*what))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Failure::Command { what, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}
