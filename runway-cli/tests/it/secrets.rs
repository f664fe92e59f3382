//! No command prints a line of `env` or `secrets`, in any layout of the file.

use crate::run::runway_with;

const SECRET: &str = "hunter2-xyzzy";

/// Documents with `SECRET` in every place that can contain a secret, also by mistake.
fn leaks() -> Vec<String> {
    serde_json::from_str(include_str!("../../../fixtures/secrets.json")).unwrap()
}

#[test]
fn no_output_holds_the_value_of_a_secret() {
    for source in leaks() {
        let source = source.replace("SECRET-not", "plain").replace("SECRET", SECRET);
        for arguments in
            [&["check", "-"][..], &["check", "-", "-o", "json"], &["quote", "-"], &["render", "-"]]
        {
            let ran = runway_with(arguments, source.as_bytes());
            assert_eq!(ran.code, 1);
            let told = format!("{}{}", ran.stdout, ran.stderr);
            assert!(!told.contains(SECRET), "{arguments:?}\n{source}\n{told}");
        }
    }
}

#[test]
fn a_policy_file_shows_its_lines() {
    let ran = runway_with(&["policy", "check", "-"], b"version: 1\nlimits: {}\nrates: {}\nrate_limt: 5\n");
    assert!(ran.stderr.contains("rate_limt"), "{}", ran.stderr);
}
