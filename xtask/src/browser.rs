//! Tests the server's status page for operators in Chromium without a window. Playwright controls the
//! browser, and axe-core checks the accessibility. Screenshots are written to `target/browser/`.

use crate::in_memory::InMemoryServer;
use crate::python;
use runway_steps::{self as steps, StepError, find_or_install, target_dir, workspace_root};
use std::path::PathBuf;
use std::process::Command;

const PROGRAMS: &[(&str, &str)] = &[("chromium", "chromium")];
const INSTALL_HINT: &str = "install Chromium (`chromium`)";

/// Python packages that control the browser and check the accessibility, with their versions.
const PACKAGES: &[(&str, &str)] = &[("playwright", "1.65.2"), ("axe-playwright-python", "0.1.8")];

/// Tests the status page of a server with an in-memory cluster.
pub(crate) fn check() -> Result<(), StepError> {
    let found =
        find_or_install(PROGRAMS, INSTALL_HINT).map_err(|failure| StepError::MissingTool { failure })?;
    let chromium: PathBuf = found.into_values().next().unwrap_or_default();
    let python = python::ensure_venv(PACKAGES)?.join("bin/python");
    let (_server, address) = InMemoryServer::start(|command| {
        command.arg("--sample").arg("--policy").arg(workspace_root().join("fixtures/policies/default.yaml"));
    })?;
    let mut run = Command::new(python);
    run.arg(workspace_root().join("runway-http/tests/browser/page.py")).arg(address).arg(chromium);
    steps::run_step("the operators' page in a browser", run.arg(target_dir().join("browser")))
}
