//! The manual pages that `runway man` writes.

use crate::program::runway;
use runway_testing::paths::TempDir;

#[test]
fn man_writes_a_page_for_every_command() {
    let dir = TempDir::new("man");
    let pages = dir.path("man1");
    let ran = runway(&["man", pages.to_str().unwrap()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let read = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap();
    assert!(read("runway.1").contains("runway\\-submit(1)"));
    assert!(read("runway-submit.1").contains("\\-\\-wait"));
    assert!(read("runway-policy-show.1").contains("\\-\\-class"));
    let count = std::fs::read_dir(&pages).unwrap().count();
    assert_eq!(count, if cfg!(target_os = "linux") { 21 } else { 20 });
}
