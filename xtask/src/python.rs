//! Installs programs from PyPI. Each set of packages has its own virtual environment.

use runway_steps::{self as steps, Failed};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Returns the virtual environment with these packages and versions. Creates it if it does not exist.
pub(crate) fn environment(packages: &[(&str, &str)]) -> Result<PathBuf, Failed> {
    let caches = runway_steps::cache_folder().map_err(|failure| Failed::Cluster { failure })?;
    let name: Vec<String> =
        packages.iter().map(|(package, version)| format!("{package}-{version}")).collect();
    let (name, folder) = (name.join(" "), caches.join(name.join("-")));
    let complete = folder.join("complete");
    if !complete.exists() {
        let mut venv = Command::new("python3");
        steps::run(&format!("environment for {name}"), venv.args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut pip = Command::new(folder.join("bin/pip"));
        let wanted = packages.iter().map(|(package, version)| format!("{package}=={version}"));
        steps::run(&name, pip.args(["install", "--quiet"]).args(wanted))?;
        fs::write(&complete, "").map_err(|error| Failed::NotStarted { step: name, error })?;
    }
    Ok(folder)
}
