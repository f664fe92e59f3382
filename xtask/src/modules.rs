//! `cargo xtask modules`: import cycles between the modules of the workspace, and the picture of crates and
//! modules.

use runway_modules::{Workspace, replace_picture};
use runway_steps::{StepError, cargo_command, workspace_root};
use std::fs;

const CYCLES: &str = "import cycles between modules";
const PICTURE: &str = "the picture of crates and modules";

/// The document with the picture.
const DOCUMENT: &str = "docs/architecture.md";

/// Fails if sibling modules of a crate form an import cycle, or if the picture in the document is out of
/// date.
pub(crate) fn check() -> Result<(), StepError> {
    eprintln!("\nxtask: {CYCLES}");
    let workspace = read()?;
    let cycles = workspace.cycles();
    if !cycles.is_empty() {
        let lines: Vec<String> = cycles.iter().map(|cycle| format!("\n  {cycle}")).collect();
        return Err(StepError::check_failed(CYCLES, format!("found {}:{}", lines.len(), lines.concat())));
    }
    eprintln!("\nxtask: {PICTURE}");
    let (committed, current) = document(&workspace)?;
    if committed == current {
        return Ok(());
    }
    Err(StepError::check_failed(
        PICTURE,
        format!("{DOCUMENT} is out of date: run `cargo xtask modules --write`"),
    ))
}

/// Writes the picture into the document.
pub(crate) fn write() -> Result<(), StepError> {
    let (_, current) = document(&read()?)?;
    fs::write(workspace_root().join(DOCUMENT), current)
        .map_err(|error| StepError::check_failed(DOCUMENT, error.to_string()))
}

/// Returns the current text of the document, and the text with an updated picture.
fn document(workspace: &Workspace) -> Result<(String, String), StepError> {
    let committed = fs::read_to_string(workspace_root().join(DOCUMENT))
        .map_err(|error| StepError::check_failed(DOCUMENT, error.to_string()))?;
    let current = replace_picture(&committed, &workspace.picture());
    let current = current
        .ok_or_else(|| StepError::check_failed(PICTURE, format!("{DOCUMENT} does not mark this part")))?;
    Ok((committed, current))
}

fn read() -> Result<Workspace, StepError> {
    let metadata = ["metadata", "--locked", "--no-deps", "--format-version", "1"];
    let output = cargo_command(&metadata).output().map_err(StepError::io(CYCLES))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(StepError::CommandFailed { step: CYCLES.to_owned() });
    }
    let metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| StepError::check_failed(CYCLES, error.to_string()))?;
    Workspace::read(&metadata).map_err(|error| StepError::check_failed(CYCLES, error.to_string()))
}
