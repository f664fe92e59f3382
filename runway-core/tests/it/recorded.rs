//! Recorded digests and decisions of an earlier version still match and replay.

use runway_core::gate::{DecisionInputs, replay};
use runway_core::policy::PriceOverrides;
use runway_core::spec::SecretLiterals;
use runway_core::{JobSpec, Policy};
use serde_json::Value;
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
    let mut lines = 0;
    for name in ["default", "strict", "in-sequence", "minimal"] {
        let directory = recorded().join(name);
        let source = std::fs::read(directory.join("policy.yaml")).unwrap();
        let policy = Policy::parse(&source, PriceOverrides::default()).unwrap();
        for line in std::fs::read_to_string(directory.join("decisions.jsonl")).unwrap().lines() {
            let logged: Value = serde_json::from_str(line).unwrap();
            let basis: DecisionInputs = serde_json::from_value(logged["basis"].clone()).unwrap();
            let replayed = serde_json::to_string(&replay(&policy, &basis).unwrap()).unwrap();
            assert_eq!(replayed, line, "{name}");
            lines += 1;
        }
    }
    assert!(lines >= 10, "{lines}");
}
