//! The manual pages that `runway man` writes.

use crate::program::runway;

#[test]
fn man_writes_a_page_for_every_command() {
    let dir = std::env::temp_dir().join(format!("runway-man-{}", std::process::id()));
    let ran = runway(&["man", dir.join("man1").to_str().unwrap()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let read = |name: &str| std::fs::read_to_string(dir.join("man1").join(name)).unwrap();
    assert!(read("runway.1").contains("runway\\-submit(1)"));
    assert!(read("runway-submit.1").contains("\\-\\-wait"));
    assert!(read("runway-policy-show.1").contains("\\-\\-class"));
    let pages = std::fs::read_dir(dir.join("man1")).unwrap().count();
    std::fs::remove_dir_all(&dir).unwrap();
    assert_eq!(pages, if cfg!(target_os = "linux") { 21 } else { 20 });
}
