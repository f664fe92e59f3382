//! Hostile input: the library reports a violation with its position, in bounded time and memory, and never
//! panics.

use proptest::prelude::*;
use runway_core::document::{
    DocumentError, MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH, MAX_DOCUMENT_NODES, MAX_DOCUMENTS, parse_all,
};
use runway_core::policy::PriceOverrides;
use runway_core::spec::{MAX_ARGUMENT_BYTES, MAX_VARIABLES, SecretLiterals};
use runway_core::units::Timestamp;
use runway_core::{Code, Decision, Gate, HashSeed, JobSpec, Policy, Submission};
use std::sync::Arc;

fn decide_all(source: &[u8]) -> Vec<Decision> {
    let policy = crate::documents::policies().swap_remove(0);
    let gate = Gate::new(policy, HashSeed::default());
    let parsed = JobSpec::parse_all(source, SecretLiterals::Refuse);
    parsed.into_iter().map(|reading| gate.preview(&Submission::from(reading), Timestamp::EPOCH)).collect()
}

/// Returns the only error of a text that cannot be parsed, with its code, message, line and column.
fn single_error(source: &[u8]) -> (Code, String, usize, usize) {
    let documents = parse_all(source);
    let error =
        documents.iter().find_map(|document| document.as_ref().err()).expect("the source cannot be parsed");
    let code = match error {
        DocumentError::Syntax { .. } => Code::Syntax,
        DocumentError::TooLarge { .. } => Code::TooLarge,
    };
    let decisions = decide_all(source);
    let violations = decisions.iter().find_map(|d| d.refusal()).map(|refusal| &refusal.violations).unwrap();
    assert_eq!(violations.len(), 1, "a syntax error is the only violation");
    assert_eq!(violations[0].code, code);
    assert!(violations[0].message.starts_with(&format!(
        "line {}, column {}",
        error.span().line,
        error.span().column
    )));
    (code, error.to_string(), error.span().line, error.span().column)
}

const UNCLOSED: &str = "this quote is not closed, or a line of the quoted text is not indented";

#[test]
fn invalid_yaml_is_refused_with_its_position() {
    for (source, message, line, column) in [
        (&b"name: x\n\timage: y\n"[..], "this value continues into a tab; indent with spaces", 1, 7),
        (b"resources:\n\tcpu: 1\n", "YAML does not allow tabs for indentation; use spaces", 2, 2),
        (b"name: 'x\nimage: y\n", UNCLOSED, 2, 1),
        (b"name: \"x\n", UNCLOSED, 2, 1),
        (b"args: [a, b\n", "unclosed bracket '['", 1, 7),
        (b"a: 1\na: 2\n", "this key occurs twice in the mapping", 2, 1),
        (b"{\"a\": 1, \"a\": 2}", "this key occurs twice in the mapping", 1, 10),
        (b"? [a]\n: b\n", "a key must not be a list or a mapping", 1, 3),
        (b"a: !custom x\n", "tags such as `!name` are not supported", 1, 12),
        (b"a: *nowhere\n", "this alias refers to an unknown anchor", 1, 4),
        (b"a: &a [*a]\n", "this alias is inside the value that it refers to", 1, 8),
        (b"name: \xff\n", "this byte is not UTF-8; save the file as UTF-8", 1, 7),
        (b"\xff\xfen\0a\0", "this byte is not UTF-8; save the file as UTF-8", 1, 1),
        (b"name: x\nargs: [\0]\n", "NUL bytes are not allowed", 2, 8),
        ("name: ä\nargs: [\0]\n".as_bytes(), "NUL bytes are not allowed", 2, 8),
        (b"name: @x\n", "unexpected character", 1, 7),
    ] {
        let shown = String::from_utf8_lossy(source);
        assert_eq!(single_error(source), (Code::Syntax, message.to_owned(), line, column), "{shown}");
    }
}

#[test]
fn alias_bomb_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..60 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    assert_eq!(single_error(bomb.as_bytes()).0, Code::TooLarge);
    // A document with few values can exceed the byte limit if its aliases repeat a long value.
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 100].join(", "));
    assert_eq!(single_error(long.as_bytes()).0, Code::TooLarge);
}

#[test]
fn ten_megabyte_file_is_refused_quickly() {
    for source in [
        format!("name: {}\n", "x".repeat(10_000_000)),
        format!("args:\n{}", "- x\n".repeat(2_500_000)),
        format!("args: [{}]", "x, ".repeat(3_000_000)),
        format!("# {}\nname: [", "x".repeat(10_000_000)),
        "[".repeat(10_000_000),
        "- ".repeat(5_000_000),
        "{a: ".repeat(2_500_000),
        "&a ".repeat(3_000_000),
        "? ".repeat(5_000_000),
        "'".repeat(10_000_000),
        "\n".repeat(10_000_000),
        "---\n".repeat(2_500_000),
        "a\n---\n".repeat(1_500_000),
        "...\n".repeat(2_500_000),
    ] {
        let started = std::time::Instant::now();
        assert!(decide_all(source.as_bytes()).iter().all(|decision| decision.admitted().is_none()));
        let seconds = started.elapsed().as_secs();
        assert!(seconds < 60, "{seconds} s for {:?}…", source.chars().take(20).collect::<String>());
    }
}

/// Returns a document of exactly `bytes` bytes.
fn of_bytes(bytes: usize) -> String {
    let start = "name: x\nimage: busybox\ntenant: t\nargs: [";
    let mut source = start.to_owned();
    while source.len() + 1002 < bytes {
        source.push_str(&"a".repeat(1000));
        source.push(',');
    }
    let rest = bytes - source.len() - 1;
    source.push_str(&"b".repeat(rest));
    source.push(']');
    source
}

#[test]
fn document_above_the_byte_limit_is_refused() {
    let largest = of_bytes(MAX_DOCUMENT_BYTES);
    assert_eq!(largest.len(), MAX_DOCUMENT_BYTES);
    assert!(decide_all(largest.as_bytes())[0].admitted().is_some());
    assert_eq!(single_error(of_bytes(MAX_DOCUMENT_BYTES + 1).as_bytes()).0, Code::TooLarge);
    // Each document has its own limit. The first document does not reduce the limit of the second.
    let second = format!("name: first\n---\n{largest}");
    assert!(decide_all(second.as_bytes())[1].admitted().is_some());
}

#[test]
fn document_above_the_node_limit_is_refused() {
    // The mapping, the key and the list count as three values.
    let of_values = |n: usize| format!("args: [{}]", vec!["x"; n - 3].join(","));
    assert!(parse_all(of_values(MAX_DOCUMENT_NODES).as_bytes())[0].is_ok());
    assert_eq!(single_error(of_values(MAX_DOCUMENT_NODES + 1).as_bytes()).0, Code::TooLarge);
}

#[test]
fn document_above_the_depth_limit_is_refused() {
    let flow = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let block = |depth: usize| format!("{}x", "- ".repeat(depth));
    for of_depth in [flow as fn(usize) -> String, block] {
        assert!(parse_all(of_depth(MAX_DOCUMENT_DEPTH).as_bytes())[0].is_ok());
        assert!(parse_all(of_depth(MAX_DOCUMENT_DEPTH + 1).as_bytes())[0].is_err());
    }
    // In the source, no list contains another list. With all aliases expanded, 100 lists are nested, which
    // exceeds the depth limit.
    let mut tower = String::from("a0: &a0 [x]\n");
    for i in 1..100 {
        tower.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    assert_eq!(single_error(tower.as_bytes()).0, Code::TooLarge);
}

#[test]
fn violations_above_the_limit_are_not_reported() {
    use runway_core::violation::MAX_VIOLATIONS;
    let violations = |n: usize| {
        let source = format!("args: [{}]", vec!["1"; n].join(","));
        JobSpec::parse_all(source.as_bytes(), SecretLiterals::Refuse)[0].violations.clone()
    };
    assert!(violations(MAX_VIOLATIONS).iter().all(|violation| violation.code == Code::WrongType));
    let more = violations(MAX_VIOLATIONS + 1);
    assert_eq!(more.len(), MAX_VIOLATIONS + 1);
    assert_eq!(more.last().map(|violation| violation.code), Some(Code::TooLarge));
}

#[test]
fn file_above_the_document_limit_is_refused() {
    let of_documents = |n: usize| "--- {}\n".repeat(n);
    assert!(parse_all(of_documents(MAX_DOCUMENTS).as_bytes()).iter().all(Result::is_ok));
    let documents = parse_all(of_documents(MAX_DOCUMENTS + 1).as_bytes());
    assert_eq!(documents.len(), MAX_DOCUMENTS + 1);
    assert!(matches!(documents.last(), Some(Err(DocumentError::TooLarge { .. }))));
}

#[test]
fn documents_are_separated_only_by_markers() {
    for (source, names) in [
        ("name: a\n---\nname: b\n", &["a", "b"][..]),
        ("---\nname: a\n---\n---\nname: b\n...\n", &["a", "b"]),
        ("# comment\n%YAML 1.2\n---\nname: a\n...\n# between\n---\nname: b", &["a", "b"]),
        ("--- {name: a}\n--- {name: b}\n", &["a", "b"]),
        ("name: |\n  text\n  ---\n  more\n", &["text\n---\nmore\n"]),
        ("name: '---'\n", &["---"]),
        ("{\"name\":\n\t\"a\"\n}\n", &["a"]),
        ("\u{feff}name: a\n", &["a"]),
        ("name: a\r\n---\r\nname: b\r\n", &["a", "b"]),
        ("name: a\r---\rname: b\r", &["a", "b"]),
        ("name: a\n... # end\nname: b\n", &["a", "b"]),
        ("name: a\n--- # next\nname: b\n", &["a", "b"]),
    ] {
        let parsed = JobSpec::parse_all(source.as_bytes(), SecretLiterals::Refuse);
        let found: Vec<_> =
            parsed.iter().map(|reading| reading.spec.name.as_deref().unwrap_or("none")).collect();
        assert_eq!(found, names, "{source:?}: {:#?}", parsed[0].violations);
    }
}

#[test]
fn positions_in_later_documents_count_from_file_start() {
    let source = "# one\nname: a\n---\n# two\nname: [\n---\nname: b\ncpu: 1\n";
    let documents = parse_all(source.as_bytes());
    assert_eq!(documents[1].as_ref().unwrap_err().span().line, 5);
    let third = documents[2].as_ref().unwrap();
    let key = third.find_key("/cpu").unwrap().span;
    assert_eq!((key.line, key.column), (8, 1));
    assert_eq!(&source[key.start..key.end], "cpu");
}

fn codes(spec: JobSpec) -> Vec<Code> {
    let policy = crate::documents::policies().swap_remove(0);
    let gate = Gate::new(policy, HashSeed::default());
    let spec =
        JobSpec { name: Some("x".into()), tenant: Some("t".into()), image: Some("busybox".into()), ..spec };
    gate.preview(&spec.into(), Timestamp::EPOCH).violations().iter().map(|violation| violation.code).collect()
}

#[test]
fn variables_and_arguments_above_limits_are_refused() {
    let variables = |n: usize| (0..n).map(|i| (format!("V{i}"), String::new())).collect();
    assert_eq!(codes(JobSpec { env: variables(MAX_VARIABLES), ..JobSpec::default() }), []);
    assert_eq!(codes(JobSpec { env: variables(MAX_VARIABLES + 1), ..JobSpec::default() }), [Code::TooLarge]);
    let argument = |n: usize| JobSpec { args: vec!["x".repeat(n)], ..JobSpec::default() };
    assert_eq!(codes(argument(MAX_ARGUMENT_BYTES - 1)), []);
    assert_eq!(codes(argument(MAX_ARGUMENT_BYTES)), [Code::TooLarge]);
    let variable = |n: usize| {
        let env = [("V".to_owned(), "x".repeat(n - 2))].into();
        JobSpec { env, ..JobSpec::default() }
    };
    assert_eq!(codes(variable(MAX_ARGUMENT_BYTES - 1)), []);
    assert_eq!(codes(variable(MAX_ARGUMENT_BYTES)), [Code::TooLarge]);
    // A spec that was not parsed from a document has the same limit on its total size.
    let whole = |n: usize| JobSpec {
        args: vec!["x".repeat(100_000), "x".repeat(100_000), "x".repeat(n)],
        ..JobSpec::default()
    };
    let own = "x".len() + "t".len() + "busybox".len();
    assert_eq!(codes(whole(MAX_DOCUMENT_BYTES - 200_000 - own)), []);
    assert_eq!(codes(whole(MAX_DOCUMENT_BYTES - 200_000 - own + 1)), [Code::TooLarge]);
}

fn process_all(source: &[u8]) {
    for secrets in [SecretLiterals::Refuse, SecretLiterals::Accept] {
        for (i, reading) in JobSpec::parse_all(source, secrets).into_iter().enumerate() {
            let submission = Submission::from(reading);
            let policy = crate::documents::policies().swap_remove(i % 5);
            let gate = Gate::new(Arc::clone(&policy), HashSeed::default());
            let decision = gate.preview(&submission, Timestamp::EPOCH);
            let _ = serde_json::to_string(&decision).unwrap();
            let _ = format!("{submission:?}");
            if let Some(admitted) = decision.admitted() {
                let _ = runway_core::render::render_redacted(
                    admitted,
                    runway_core::JobId::from_random(1),
                    &policy,
                );
            }
        }
    }
    let _ = Policy::parse(source, PriceOverrides::default());
}

/// The fixtures, as a starting point for random edits.
fn fixtures() -> Vec<Vec<u8>> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures");
    ["jobs", "jobs/refused", "jobs/refused/strict", "policies", "policies/refused"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(format!("{root}/{folder}")).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        process_all(&bytes);
    }

    #[test]
    fn arbitrary_yaml_never_panics(text in "[-a-z0-9:{}\\[\\], \n\t\"'&*!|>#?%@.]{0,200}") {
        process_all(text.as_bytes());
    }

    #[test]
    fn damaged_fixtures_never_panic(
        fixture in prop::sample::select(fixtures()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, prop::collection::vec(any::<u8>(), 0..6)), 1..6),
    ) {
        let mut bytes = fixture;
        for (at, remove, insert) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + remove).min(bytes.len());
            bytes.splice(start..end, insert);
        }
        process_all(&bytes);
    }
}
