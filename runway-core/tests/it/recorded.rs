//! Recorded digests and decisions of an earlier version still match and replay. Only messages may differ.

use runway_core::gate::{ReplayResult, replay_line};
use runway_core::policy::PriceOverrides;
use runway_core::spec::SecretLiterals;
use runway_core::{JobSpec, Policy};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/recorded")
}

#[derive(serde::Deserialize)]
struct RecordedDigest {
    document: String,
    digest: String,
}

#[test]
fn recorded_digests_match() {
    let text = std::fs::read_to_string(recorded().join("digests.json")).unwrap();
    let digests: Vec<RecordedDigest> = serde_json::from_str(&text).unwrap();
    assert_eq!(digests.len(), 10);
    let different: BTreeSet<_> = digests.iter().map(|recorded| &recorded.digest).collect();
    assert_eq!(different.len(), digests.len());
    for RecordedDigest { document, digest } in &digests {
        let [reading] = &JobSpec::parse_all(document.as_bytes(), SecretLiterals::Accept)[..] else {
            panic!()
        };
        assert_eq!(reading.spec.digest().to_string(), *digest, "{document}");
    }
}

#[test]
fn recorded_decisions_replay() {
    let (mut identical, mut reworded) = (0, 0);
    for name in ["default", "strict", "in-sequence", "minimal"] {
        let directory = recorded().join(name);
        let source = std::fs::read(directory.join("policy.yaml")).unwrap();
        let policy = Policy::parse(&source, PriceOverrides::default()).unwrap();
        for line in std::fs::read_to_string(directory.join("decisions.jsonl")).unwrap().lines() {
            match replay_line(&policy, line) {
                Ok(ReplayResult::Identical) => identical += 1,
                Ok(ReplayResult::Reworded) => reworded += 1,
                Err(error) => panic!("{name}: {error:?}\n{line}"),
            }
        }
    }
    assert!(identical >= 5 && reworded >= 10, "{identical} identical, {reworded} reworded");
}
