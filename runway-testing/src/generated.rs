//! Files of the repository that are generated from the programs.

use crate::paths::workspace_root;

/// The environment variable that `cargo xtask references` sets, so that [`assert_generated`] writes the files
/// instead of comparing them.
const WRITE_VARIABLE: &str = "RUNWAY_WRITE_REFERENCES";

/// Asserts that a file of the repository has this content. The path is relative to the workspace.
pub fn assert_generated(path: &str, content: &str) {
    let file = workspace_root().join(path);
    if std::env::var_os(WRITE_VARIABLE).is_some() {
        std::fs::write(&file, content).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == content, "{path} is out of date: run `cargo xtask references`");
}
