//! The values of secrets and variables never appear in violations, decisions, debug output, digests or
//! messages.

use proptest::prelude::*;
use runway_core::spec::{Secret, SecretLiterals};
use runway_core::units::Timestamp;
use runway_core::{Gate, HashSeed, JobSpec, Submission};

const SECRET: &str = "hunter2-xyzzy";

fn all_output(source: &str, literals: SecretLiterals) -> String {
    let gate = Gate::new(crate::documents::policies().swap_remove(0), HashSeed::default());
    let mut output = String::new();
    output += &format!("{:?}\n", runway_core::document::parse_all(source.as_bytes()));
    for reading in JobSpec::parse_all(source.as_bytes(), literals) {
        let submission = Submission::from(reading);
        let decision = gate.preview(&submission, Timestamp::EPOCH);
        output += &format!("{submission:?}\n{decision:?}\n{}\n", serde_json::to_string(&decision).unwrap());
    }
    output
}

/// Returns documents with the word SECRET at every place where an author could write a secret, including by
/// mistake.
fn documents_with_secrets() -> Vec<String> {
    serde_json::from_str(include_str!("../../../fixtures/secrets.json")).unwrap()
}

#[test]
fn secret_values_are_never_shown() {
    for source in documents_with_secrets() {
        let source = source.replace("SECRET-not", "plain").replace("SECRET", SECRET);
        for literals in [SecretLiterals::Refuse, SecretLiterals::Accept] {
            let output = all_output(&source, literals);
            assert!(!output.contains(SECRET), "{source}\n{output}");
        }
    }
}

#[test]
fn aliases_within_env_and_secrets_are_accepted() {
    let spec = |source: &str| {
        let mut readings = JobSpec::parse_all(source.as_bytes(), SecretLiterals::Refuse);
        let reading = readings.remove(0);
        (reading.spec, reading.violations.into_iter().map(|v| v.path).collect::<Vec<_>>())
    };
    let (read, violations) = spec("env: {A: &x v, B: *x}\nsecrets: {S: &s {from_env: Q}, T: *s}\n");
    assert!(violations.is_empty(), "{violations:?}");
    assert_eq!(read.env["B"], "v");
    assert_eq!(read.secrets["T"], Secret::FromEnv("Q".into()));
    let (_, violations) = spec("env: {A: &x v}\nargs: [*x, b]\nretires: 1\n");
    assert_eq!(violations, ["/retires", "/args/0"]);
}

#[test]
fn digest_ignores_only_secret_values() {
    let with = |secret: &str, env: &str, name: &str| JobSpec {
        name: Some(name.to_owned()),
        env: [("E".to_owned(), env.to_owned())].into(),
        secrets: [("S".to_owned(), Secret::Value(secret.to_owned()))].into(),
        ..JobSpec::default()
    };
    assert_eq!(with("a", "x", "n").digest(), with("b", "x", "n").digest());
    assert_ne!(with("a", "x", "n").digest(), with("a", "y", "n").digest());
    assert_ne!(with("a", "x", "n").digest(), with("a", "x", "m").digest());
}

proptest! {
    #[test]
    fn debug_output_hides_values(value in "[a-z]{12,20}") {
        let spec = JobSpec {
            env: [("E".to_owned(), value.clone())].into(),
            secrets: [("S".to_owned(), Secret::Value(value.clone()))].into(),
            ..JobSpec::default()
        };
        let output = format!("{spec:?} {:?}", spec.secrets);
        prop_assert!(!output.contains(&value));
    }
}
