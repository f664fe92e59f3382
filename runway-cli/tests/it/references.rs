//! The committed pages of `docs/reference/` match the program.

use crate::run::root;

/// The variable with which `cargo xtask references` makes the tests write the pages instead of comparing
/// them.
pub const WRITE: &str = "RUNWAY_WRITE_REFERENCES";

#[test]
fn the_references_are_up_to_date() {
    let folder = root().join("docs/reference");
    for (name, page) in runway_cli::reference::pages() {
        let file = folder.join(name);
        if std::env::var_os(WRITE).is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, page).unwrap();
        } else {
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(committed == page, "docs/reference/{name} is out of date: run `cargo xtask references`");
        }
    }
}
