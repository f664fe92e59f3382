//! `check`, `quote` and `render` never print a secret value, in any layout of the job file.

use crate::program::runway_with;

const SECRET: &str = "hunter2-xyzzy";

/// Returns job documents that contain the word `SECRET` in each place where a secret value can be. Some of
/// the documents are malformed, and contain the value in a wrong place.
fn documents_with_secrets() -> Vec<String> {
    serde_json::from_str(include_str!("../../../fixtures/secrets.json")).unwrap()
}

#[test]
fn secret_values_are_never_printed() {
    for source in documents_with_secrets() {
        let source = source.replace("SECRET-not", "plain").replace("SECRET", SECRET);
        for arguments in
            [&["check", "-"][..], &["check", "-", "-o", "json"], &["quote", "-"], &["render", "-"]]
        {
            let ran = runway_with(arguments, source.as_bytes());
            assert_eq!(ran.code, 1);
            let printed = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!printed.contains(SECRET), "{arguments:?}\n{source}\n{printed}");
        }
    }
}

#[test]
fn policy_violations_show_their_line() {
    let ran = runway_with(&["policy", "check", "-"], b"version: 1\nlimits: {}\nrates: {}\nrate_limt: 5\n");
    assert!(ran.stderr.contains("rate_limt"), "{}", ran.stderr);
}
