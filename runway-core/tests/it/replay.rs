//! A decision can be replayed from its log line: byte for byte, or with other messages if another version
//! wrote the line. A preview equals the decision on a submission at the same time.

use crate::documents::{document, policy, submission};
use proptest::prelude::*;
use runway_core::gate::{DecisionInputs, ReplayLineError, ReplayResult, replay, replay_line};
use runway_core::policy::PriceOverrides;
use runway_core::spec::Secret;
use runway_core::units::Timestamp;
use runway_core::{Code, Decision, Gate, HashSeed, JobId, JobSpec, Policy, Submission};
use std::sync::Arc;

/// Replays a decision from its line. Returns the replayed line and the line.
pub fn replayed(policy: &Policy, decision: &Decision) -> (String, String) {
    let line = serde_json::to_string(decision).unwrap();
    assert_eq!(replay_line(policy, &line).unwrap(), ReplayResult::Identical);
    let logged: serde_json::Value = serde_json::from_str(&line).unwrap();
    let basis: DecisionInputs = serde_json::from_value(logged["basis"].clone()).unwrap();
    (serde_json::to_string(&replay(policy, &basis).unwrap()).unwrap(), line)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn decisions_replay_byte_for_byte(
        policy in policy(),
        documents in prop::collection::vec((document(), prop::option::of("[a-z]{1,3}"), 0u64..2_000_000_000), 1..30),
    ) {
        let mut gate = Gate::new(Arc::clone(&policy), HashSeed(9, 9));
        let mut now = 1_700_000_000_000_000_000;
        for (i, (document, header, gap)) in documents.iter().enumerate() {
            now += gap;
            let at = Timestamp::from_nanos(now);
            let id = JobId::from_random(i as u128);
            let submission = submission(document).with_tenant(header.clone());
            let preview = gate.preview(&submission, at);
            let snapshot = gate.snapshot(&submission, at);
            let decision = gate.submit(id, &submission, at).unwrap();
            prop_assert_eq!(&preview, &decision);
            // The snapshot contains all inputs of the decision, so later changes do not affect it.
            let late = snapshot.decide(&submission, |tenant, shortage| gate.ledger().blocking_holds(tenant, shortage));
            prop_assert_eq!(&late, &decision);
            let (again, line) = replayed(&policy, &decision);
            prop_assert_eq!(again, line);
            prop_assert_eq!(decision.admitted().is_some(), gate.ledger().hold(id).is_some());
            if decision.admitted().is_some() && i % 3 == 0 {
                gate.confirm(id, at).unwrap();
            }
        }
    }

    #[test]
    fn hash_seed_does_not_change_decisions(seed: (u64, u64), documents in prop::collection::vec(document(), 1..10)) {
        let policy = crate::documents::policies().swap_remove(0);
        let decide = |seed| {
            let mut gate = Gate::new(Arc::clone(&policy), seed);
            let decisions: Vec<_> = documents
                .iter()
                .enumerate()
                .map(|(i, d)| gate.submit(JobId::from_random(i as u128), &submission(d), Timestamp::EPOCH).unwrap())
                .collect();
            serde_json::to_string(&decisions).unwrap()
        };
        prop_assert_eq!(decide(HashSeed(seed.0, seed.1)), decide(HashSeed::default()));
    }
}

#[test]
fn refusals_for_redacted_values_replay() {
    let policy = &crate::documents::policies()[0];
    let gate = Gate::new(Arc::clone(policy), HashSeed::default());
    for value in ["x".repeat(200_000), "x".repeat(400_000), "a\0b".to_owned()] {
        for spec in [
            JobSpec { env: [("V".to_owned(), value.clone())].into(), ..JobSpec::default() },
            JobSpec {
                secrets: [("V".to_owned(), Secret::Value(value.clone()))].into(),
                ..JobSpec::default()
            },
        ] {
            let decision = gate.preview(&spec.into(), Timestamp::EPOCH);
            assert!(decision.violations().iter().any(|v| matches!(v.code, Code::TooLarge | Code::NulByte)));
            let (again, line) = replayed(policy, &decision);
            assert_eq!(again, line);
            assert!(!line.contains(&value));
        }
    }
}

/// Returns the built-in policy and the line of a refusal for too much CPU.
fn refused_line() -> (Policy, String) {
    let mut spec = JobSpec {
        name: Some("a".into()),
        tenant: Some("search".into()),
        image: Some("busybox".into()),
        ..JobSpec::default()
    };
    spec.resources.cpu = Some("64".into());
    let gate = Gate::new(Arc::new(Policy::builtin()), HashSeed::default());
    let decision = gate.preview(&Submission::from(spec), Timestamp::EPOCH);
    (Policy::builtin(), serde_json::to_string(&decision).unwrap())
}

#[test]
fn line_with_other_messages_replays_as_reworded() {
    let (policy, line) = refused_line();
    let reworded = line.replace(r#""message":"cpu 64 is above"#, r#""message":"64 \"CPUs\" are above"#);
    assert_ne!(reworded, line);
    assert_eq!(replay_line(&policy, &reworded).unwrap(), ReplayResult::Reworded);
    assert_eq!(replay_line(&policy, &line).unwrap(), ReplayResult::Identical);
}

#[test]
fn line_with_another_decision_is_an_error() {
    let (policy, line) = refused_line();
    for (original, other) in [
        (r#""admitted":false"#, r#""admitted":true"#),
        (r#""code":"cpu-above-max""#, r#""code":"cpu-below-min""#),
        (r#""path":"/resources/cpu""#, r#""path":"/resources/memory""#),
        (r#""fix":"4""#, r#""fix":"3""#),
        (r#""max":"4""#, r#""max":"5""#),
        (r#""retry_at":null"#, r#""retry_at":"1970-01-01T00:00:01Z""#),
        (r#""violations":[{"#, r#""violations":[{"message":"first"},{"#),
        (r#""free_by":null"#, r#""free_by": null"#),
    ] {
        let different = line.replace(original, other);
        assert_ne!(different, line, "{original}");
        // Another message does not hide another decision.
        for line in [different.clone(), different.replace("cpu 64 is above", "64 CPUs are above")] {
            let error = replay_line(&policy, &line).unwrap_err();
            assert!(matches!(error, ReplayLineError::Different { .. }), "{original}: {error:?}");
        }
    }
    for line in ["", "{}", "null", line.split_at(line.len() / 2).0] {
        let error = replay_line(&policy, line).unwrap_err();
        assert!(matches!(error, ReplayLineError::Malformed(_)), "{line}: {error:?}");
    }
}

#[test]
fn replay_with_another_policy_fails() {
    let [one, other, ..] = &crate::documents::policies()[..] else { panic!() };
    let gate = Gate::new(Arc::clone(one), HashSeed::default());
    let decision = gate.preview(&submission(&serde_json::json!({})), Timestamp::EPOCH);
    let error = replay(other, &decision.inputs).unwrap_err();
    assert_eq!((error.expected, error.found), (one.digest(), other.digest()));
    let error = replay_line(other, &serde_json::to_string(&decision).unwrap()).unwrap_err();
    assert!(matches!(error, ReplayLineError::OtherPolicy(_)), "{error:?}");
}

#[test]
fn canonical_policy_keeps_its_digest() {
    for policy in crate::documents::policies() {
        let text = serde_json::to_string(&policy.canonical()).unwrap();
        let again = Policy::parse(text.as_bytes(), PriceOverrides::default()).unwrap();
        assert_eq!(again.digest(), policy.digest());
    }
}

#[test]
fn price_overrides_change_the_policy_digest() {
    let source = include_bytes!("../../../fixtures/policies/default.yaml");
    let plain = Policy::parse(source, PriceOverrides::default()).unwrap();
    let rate = Some("0.5".parse().unwrap());
    let with_override =
        Policy::parse(source, PriceOverrides { usd_per_gpu_second: rate, ..PriceOverrides::default() })
            .unwrap();
    assert_ne!(plain.digest(), with_override.digest());
    assert_eq!(with_override.gpu_price(None).to_string(), "0.5");
    assert_eq!(with_override.gpu_price(Some("a100")).to_string(), "0.00102");
}
