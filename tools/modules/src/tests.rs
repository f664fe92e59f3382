//! Tests for the detection of uses and cycles between modules, with small generated crates.

use crate::graph::{SiblingGraph, graphs};
use crate::tree::{ModuleTree, TreeError};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A crate in a temporary directory.
struct TestCrate(PathBuf);

impl TestCrate {
    /// Creates a crate with these files in `src/`.
    fn new(files: &[(&str, &str)]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("runway-modules-{}-{number}", std::process::id()));
        for (name, text) in files {
            let file = base.join("src").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(base)
    }

    fn read(&self) -> Result<ModuleTree, TreeError> {
        ModuleTree::read("demo", &self.0, &self.0.join("src/lib.rs"))
    }
}

impl Drop for TestCrate {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Returns the uses between sibling modules of a crate. `demo: a -> b` means that module `a` uses module `b`
/// of the crate `demo`.
fn uses(files: &[(&str, &str)]) -> Vec<String> {
    let graphs = graphs(&TestCrate::new(files).read().unwrap());
    let lines = |graph: &SiblingGraph| {
        let lines = graph.uses.keys().map(|(user, used)| format!("{}: {user} -> {used}", graph.parent));
        lines.collect::<Vec<_>>()
    };
    graphs.iter().flat_map(lines).collect()
}

/// Returns the uses between sibling modules of a crate. `root`, `a`, `b` and `c` are the source texts of its
/// root module and of the modules `a`, `b` and `c`. In addition, `b` defines `Thing` and `f`.
fn uses_of(root: &str, a: &str, b: &str, c: &str) -> Vec<String> {
    let root = format!("mod a; mod b; mod c;\n{root}");
    let b = format!("pub struct Thing; pub fn f() {{}}\n{b}");
    uses(&[("lib.rs", &root), ("a.rs", a), ("b.rs", &b), ("c.rs", c)])
}

fn cycles(files: &[(&str, &str)]) -> Vec<String> {
    let graphs = graphs(&TestCrate::new(files).read().unwrap());
    graphs.iter().flat_map(SiblingGraph::cycles).map(|cycle| cycle.to_string()).collect()
}

#[test]
fn cycle_is_printed_with_lines_and_paths() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a.rs", "\nuse crate::b::{self, Thing};\n"),
        ("b.rs", "pub struct Thing;\nfn f() {\n    super::a::g();\n}\n"),
    ];
    let expected =
        "demo: a -> b (src/a.rs:2 imports crate::b) -> a (src/b.rs:3 imports super::a::g)".to_owned();
    assert_eq!(cycles(&files), [expected]);
}

#[test]
fn cycle_names_other_files_with_the_same_import() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\n"),
        ("a/mod.rs", "mod x;\nmod y;\nuse crate::b::f;\n"),
        ("a/x.rs", "use crate::b::f;\n"),
        ("a/y.rs", "use crate::b::f;\n"),
        ("b.rs", "use crate::a;\npub fn f() {}\n"),
    ];
    let expected = "demo: a -> b (src/a/mod.rs:3 imports crate::b::f, and 2 more files) \
        -> a (src/b.rs:1 imports crate::a)";
    assert_eq!(cycles(&files), [expected]);
}

#[test]
fn long_cycle_is_found_once() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b;"),
        ("b.rs", "use crate::c;"),
        ("c.rs", "use crate::{a, d};"),
        ("d.rs", ""),
    ];
    let found = cycles(&files);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("demo: a -> b ("), "{found:?}");
}

#[test]
fn modules_without_cycle_give_none() {
    let files =
        [("lib.rs", "mod a; mod b; mod c;"), ("a.rs", "use crate::{b, c};"), ("b.rs", "use crate::c;")];
    let files = [files.as_slice(), &[("c.rs", "")]].concat();
    assert_eq!(cycles(&files), [""; 0]);
}

#[test]
fn parent_and_child_do_not_count() {
    let files = [
        ("lib.rs", "mod a;\nuse a::inner::f;\npub struct Root;"),
        ("a.rs", "pub mod inner;\nuse inner::f;\nuse crate::Root;\npub struct Own;"),
        ("a/inner.rs", "use super::Own;\nuse crate::{a, Root};\npub fn f() { super::super::a::inner::f() }"),
    ];
    assert_eq!(uses(&files), [""; 0]);
}

#[test]
fn re_export_in_the_parent_counts_for_its_source() {
    assert_eq!(uses_of("pub use b::Thing;", "use crate::Thing;", "", ""), ["demo: a -> b"]);
    assert_eq!(uses_of("use b::Thing;", "use super::Thing;", "", ""), ["demo: a -> b"]);
    let nested = [
        ("lib.rs", "mod m;"),
        ("m/mod.rs", "mod a; mod b;\npub(crate) use b::Thing;"),
        ("m/a.rs", "use super::Thing;"),
        ("m/b.rs", "pub struct Thing;"),
    ];
    assert_eq!(uses(&nested), ["demo::m: a -> b"]);
}

#[test]
fn re_export_in_a_sibling_counts_for_both() {
    let both = ["demo: a -> b", "demo: a -> c", "demo: c -> b"];
    assert_eq!(uses_of("", "use crate::c::Thing;", "", "pub use crate::b::Thing;"), both);
    assert_eq!(uses_of("", "use crate::c; fn g() { c::f() }", "", "pub use crate::b::*;"), both);
}

#[test]
fn re_export_of_a_re_export_is_followed() {
    let root = "pub use c::Other;";
    let expected = ["demo: a -> b", "demo: c -> b"];
    assert_eq!(uses_of(root, "use crate::Other;", "", "pub use crate::b::Thing as Other;"), expected);
}

#[test]
fn renamed_imports_are_followed() {
    assert_eq!(uses_of("use b as other;", "use super::other::f;", "", ""), ["demo: a -> b"]);
    assert_eq!(uses_of("use b::Thing as Other;", "use super::Other;", "", ""), ["demo: a -> b"]);
    assert_eq!(uses_of("", "use super::b as x; fn g() { x::f() }", "", ""), ["demo: a -> b"]);
    assert_eq!(uses_of("", "use super::b::Thing as _;", "", ""), ["demo: a -> b"]);
}

#[test]
fn globs_are_followed() {
    assert_eq!(uses_of("", "use super::b::*;", "", ""), ["demo: a -> b"]);
    assert_eq!(uses_of("pub use b::*;", "use super::Thing;", "", ""), ["demo: a -> b"]);
    assert_eq!(uses_of("pub use b::*;", "use super::*;", "", ""), [""; 0]);
    assert_eq!(uses_of("pub use b::*;", "use super::*; fn g(_: Thing) {}", "", ""), ["demo: a -> b"]);
    assert_eq!(uses_of("pub use b::*;", "use super::*; fn g() { f() }", "", ""), ["demo: a -> b"]);
    // A module's own item hides an item of the same name from a glob import.
    assert_eq!(uses_of("pub use b::*;", "use super::*; fn f() {} fn g() { f() }", "", ""), [""; 0]);
    let through = uses_of("", "use super::c::*; fn g(_: Thing) {}", "", "pub use super::b::Thing;");
    assert_eq!(through, ["demo: a -> b", "demo: a -> c", "demo: c -> b"]);
    let private = uses_of("", "use super::c::*; fn g(_: Thing) {}", "", "use super::b::Thing;");
    assert_eq!(private, ["demo: a -> c", "demo: c -> b"]);
}

#[test]
fn inline_paths_count() {
    for a in [
        "fn g() { crate::b::f() }",
        "fn g() { super::b::f() }",
        "fn g(_: self::super::b::Thing) {}",
        "struct Own(Vec<Option<super::b::Thing>>);",
        "impl crate::b::Kind for u8 {}",
        "fn g<T: crate::b::Kind>() {}",
        "fn g() { let f = crate::b::f; }",
        "fn g() { match 1 { crate::b::ONE => {} _ => {} } }",
        "fn g() { println!(\"{}\", crate::b::f()) }",
        "fn g() { vec![(1, [super::b::f()])]; }",
        "fn g() { <crate::b::Thing as Clone>::clone(&x); }",
        "macro_rules! m { ($x:expr) => { $crate::b::f($x) } }",
        "#[serde(with = \"crate::b::time\")] struct Own;",
        "struct Own { #[arg(value_parser = crate::b::f)] x: u8 }",
        "#[derive(crate::b::Kind)] struct Own;",
        "fn g() { use super::b::f; f() }",
        "fn g() { use super::b::*; f() }",
        "fn g() { use super as up; { use up::b; b::f() } }",
        "mod inner { fn g() { super::super::b::f() } }",
    ] {
        assert_eq!(uses_of("", a, "", ""), ["demo: a -> b"], "{a}");
    }
}

#[test]
fn paths_outside_the_crate_do_not_count() {
    for a in [
        "use ::b::f;",
        "use std::b::f;",
        "fn g() { ::b::f() }",
        "fn g() { println!(\"{}\", ::b::f()) }",
        "fn g() { b::f() }",
        "fn g() { <Vec<u8>>::b::f() }",
        "pub(in crate::b) fn g() {}",
        "/// See [`crate::b::f`].\nfn g() {}",
        "enum Own { B } fn g() { Own::B; Own::b::f() }",
        "use super::super::b;",
    ] {
        assert_eq!(uses_of("", a, "", ""), [""; 0], "{a}");
    }
}

#[test]
fn local_import_hides_the_module_import_in_its_block_only() {
    let a = "use super::c; fn g() { { use super::b as c; c::f(); } c::f() }";
    assert_eq!(uses_of("", a, "", "pub fn f() {}"), ["demo: a -> b", "demo: a -> c"]);
}

#[test]
fn nested_modules_count_at_every_level() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "pub mod x; pub mod y;"),
        ("a/x/mod.rs", "mod deep;"),
        ("a/x/deep.rs", "use super::super::y::f; use crate::b::inner::f as g;"),
        ("a/y.rs", "pub fn f() {}"),
        ("b.rs", "pub mod inner;"),
        ("b/inner.rs", "pub fn f() { crate::a::y::f() }"),
    ];
    assert_eq!(uses(&files), ["demo: a -> b", "demo: b -> a", "demo::a: x -> y"]);
}

#[test]
fn inline_modules_are_modules() {
    let root = "mod a { use super::b::f; mod x { use super::y; } mod y; } mod b;";
    let files = [("lib.rs", root), ("a/y.rs", "use crate::b;"), ("b.rs", "pub fn f() {}")];
    assert_eq!(uses(&files), ["demo: a -> b", "demo::a: x -> y"]);
}

#[test]
fn path_attributes_select_the_file() {
    let files = [
        ("lib.rs", "#[path = \"elsewhere/one.rs\"] mod a; mod b; mod c;"),
        ("elsewhere/one.rs", "mod two; use super::b;"),
        ("elsewhere/two.rs", "use super::super::b;"),
        ("b.rs", ""),
        // A `#[path]` is relative to the directory of the file, or to the directory of the enclosing inline
        // module.
        ("c.rs", "#[path = \"below.rs\"] mod x; mod y { #[path = \"z.rs\"] mod z; }"),
        ("below.rs", "use crate::b;"),
        ("c/y/z.rs", "use crate::a;"),
    ];
    assert_eq!(uses(&files), ["demo: a -> b", "demo: c -> a", "demo: c -> b"]);
}

#[test]
fn tests_do_not_count() {
    for a in [
        "#[cfg(test)] use crate::b;",
        "#[cfg(test)] mod tests { use crate::b; }",
        "#[cfg(test)] mod missing;",
        "#[cfg(all(test, unix))] fn g() { crate::b::f() }",
        "#[cfg(any(test, all(unix, test)))] const X: crate::b::Thing = crate::b::Thing;",
        "#[test] fn g() { crate::b::f() }",
        "struct Own; impl Own { #[cfg(test)] fn g() { crate::b::f() } }",
        "fn g() { #[cfg(test)] use crate::b; }",
    ] {
        assert_eq!(uses_of("", a, "", ""), [""; 0], "{a}");
    }
    for a in [
        "#[cfg(any(test, unix))] use crate::b;",
        "#[cfg(not(test))] use crate::b;",
        "#[cfg(unix)] use crate::b;",
    ] {
        assert_eq!(uses_of("", a, "", ""), ["demo: a -> b"], "{a}");
    }
}

#[test]
fn circular_re_exports_resolve_to_nothing() {
    assert_eq!(uses_of("use a::x; use a::*;", "pub use super::x; pub use super::*;", "", ""), [""; 0]);
}

#[test]
fn name_of_a_module_and_of_its_function_counts_once() {
    let root = "mod a; mod b; pub use b::b;";
    let files = [("lib.rs", root), ("a.rs", "use crate::b; fn g() { b() }"), ("b.rs", "pub fn b() {}")];
    assert_eq!(uses(&files), ["demo: a -> b"]);
}

#[test]
fn read_errors_name_the_source_file() {
    let error = |files: &[(&str, &str)]| {
        let test_crate = TestCrate::new(files);
        let text = test_crate.read().unwrap_err().to_string();
        text.replace(&test_crate.0.display().to_string(), "")
    };
    assert_eq!(error(&[("lib.rs", "mod a;")]), "`/src/lib.rs` declares `mod a`, which has no file");
    let broken = error(&[("lib.rs", "mod a;"), ("a.rs", "fn f() {}\nfn {}")]);
    assert!(broken.starts_with("cannot parse `/src/a.rs`: line 2: expected "), "{broken}");
    assert!(error(&[("other.rs", "")]).starts_with("cannot read `/src/lib.rs`: "));
}
