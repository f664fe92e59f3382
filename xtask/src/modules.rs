//! `cargo xtask modules`: import cycles between the modules of the workspace.

use runway_modules::Workspace;
use runway_steps::{Failed, command};

/// Fails if sibling modules of a crate use each other in a circle.
pub(crate) fn check() -> Result<(), Failed> {
    let step = "import cycles between modules";
    eprintln!("\nxtask: {step}");
    let cycles: Vec<String> = read(step)?.cycles().iter().map(ToString::to_string).collect();
    if cycles.is_empty() {
        return Ok(());
    }
    let what = format!("{} found\n  {}", cycles.len(), cycles.join("\n  "));
    Err(Failed::Wrong { step: step.to_owned(), what })
}

fn read(step: &str) -> Result<Workspace, Failed> {
    let metadata = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let output =
        command(&metadata).output().map_err(|error| Failed::NotStarted { step: step.to_owned(), error })?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(Failed::Unsuccessful { step: step.to_owned() });
    }
    let wrong = |what: String| Failed::Wrong { step: step.to_owned(), what };
    let metadata = serde_json::from_slice(&output.stdout).map_err(|error| wrong(error.to_string()))?;
    Workspace::read(&metadata).map_err(|error| wrong(error.to_string()))
}
