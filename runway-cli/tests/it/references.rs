//! The committed pages of `docs/reference/` match the program.

use crate::program::root;

/// The environment variable that `cargo xtask references` sets. With it, the tests write the generated files
/// and do not compare them.
pub const WRITE_VARIABLE: &str = "RUNWAY_WRITE_REFERENCES";

#[test]
fn reference_pages_are_up_to_date() {
    let dir = root().join("docs/reference");
    for (name, page) in runway_cli::reference::pages() {
        let file = dir.join(name);
        if std::env::var_os(WRITE_VARIABLE).is_some() {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&file, page).unwrap();
        } else {
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(committed == page, "docs/reference/{name} is out of date: run `cargo xtask references`");
        }
    }
}
