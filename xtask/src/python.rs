//! Installs programs from PyPI. Each set of packages has its own virtual environment.

use runway_steps::{self as steps, StepError};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Returns the directory of the virtual environment with these packages and versions. Creates the environment
/// if it does not exist.
pub(crate) fn ensure_venv(packages: &[(&str, &str)]) -> Result<PathBuf, StepError> {
    let cache_dir = runway_steps::cache_dir().map_err(|failure| StepError::Cluster { failure })?;
    let name: Vec<String> =
        packages.iter().map(|(package, version)| format!("{package}-{version}")).collect();
    let (name, dir) = (name.join(" "), cache_dir.join(name.join("-")));
    let complete = dir.join("complete");
    if !complete.exists() {
        let mut venv = Command::new("python3");
        steps::run_step(&format!("environment for {name}"), venv.args(["-m", "venv", "--clear"]).arg(&dir))?;
        let mut pip = Command::new(dir.join("bin/pip"));
        let wanted = packages.iter().map(|(package, version)| format!("{package}=={version}"));
        steps::run_step(&name, pip.args(["install", "--quiet"]).args(wanted))?;
        fs::write(&complete, "").map_err(StepError::io(name))?;
    }
    Ok(dir)
}
