//! Tests the status page for operators in Debian's Chromium without a window. Playwright controls the
//! browser, and axe-core checks the accessibility. Screenshots are written to `target/browser/`.

use crate::in_memory::Server;
use crate::python;
use runway_steps::{self as steps, Failed, on_the_system, root, target_folder};
use std::path::PathBuf;
use std::process::Command;

const PROGRAMS: &[(&str, &str)] = &[("chromium", "chromium")];
const ADVICE: &str = "install Chromium (`chromium`)";

/// Python packages that control the browser and check the accessibility, with their versions.
const PACKAGES: &[(&str, &str)] = &[("playwright", "1.65.2"), ("axe-playwright-python", "0.1.8")];

/// Tests the page of a server with an in-memory cluster.
pub(crate) fn check() -> Result<(), Failed> {
    let found = on_the_system(PROGRAMS, ADVICE).map_err(|failure| Failed::Tools { failure })?;
    let chromium: PathBuf = found.into_values().next().unwrap_or_default();
    let python = python::environment(PACKAGES)?.join("bin/python");
    let (_server, address) = Server::start(|command| {
        command.arg("--sample").arg("--policy").arg(root().join("fixtures/policies/default.yaml"));
    })?;
    let mut look = Command::new(python);
    look.arg(root().join("runway-http/tests/browser/page.py")).arg(address).arg(chromium);
    steps::run("the operators' page in a browser", look.arg(target_folder().join("browser")))
}
