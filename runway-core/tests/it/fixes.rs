//! Fixes are exact. The job with all fixes applied is admitted, and one unit beyond any fix is refused.

use crate::documents::{nearly_good_document, policy, submission};
use proptest::prelude::*;
use runway_core::spec::SecretLiterals;
use runway_core::units::{CpuMillis, MemoryBytes, Seconds, Timestamp};
use runway_core::{Code, Decision, Gate, HashSeed, JobSpec, Policy, Violation};
use serde_json::Value;
use std::sync::Arc;

fn decide(policy: &Arc<Policy>, document: &Value) -> Decision {
    Gate::new(Arc::clone(policy), HashSeed::default())
        .preview(&submission(document), Timestamp::from_seconds(1))
}

/// Sets the value at a JSON pointer and creates the missing mappings.
fn set_at(document: &mut Value, path: &str, value: Value) {
    let (parent, last) = path.rsplit_once('/').unwrap();
    let mut node = document;
    for segment in parent.split('/').skip(1) {
        node =
            node.as_object_mut().unwrap().entry(segment).or_insert_with(|| Value::Object(Default::default()));
    }
    match node {
        Value::Object(fields) => drop(fields.insert(last.to_owned(), value)),
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
        _ => panic!("{path} leads nowhere"),
    }
}

/// Returns the value one unit beyond a fix, outside the accepted range.
fn one_unit_beyond(violation: &Violation) -> Option<Value> {
    use Code::*;
    let text = violation.fix.as_str().unwrap_or_default();
    let below = matches!(
        violation.code,
        CpuBelowMin | MemoryBelowMin | EphemeralStorageBelowMin | GpuBelowMin | TimeoutBelowMin
    );
    let step = |units: u64| if below { units - 1 } else { units + 1 };
    Some(match violation.code {
        CpuBelowMin | CpuAboveMax => {
            CpuMillis::new(step(text.parse::<CpuMillis>().unwrap().units())).to_string().into()
        }
        MemoryBelowMin
        | MemoryAboveMax
        | EphemeralStorageBelowMin
        | EphemeralStorageAboveMax
        | ShmAboveMemory => step(text.parse::<MemoryBytes>().unwrap().units()).into(),
        TimeoutBelowMin | TimeoutAboveMax => step(text.parse::<Seconds>().unwrap().get()).into(),
        GpuBelowMin | GpuAboveMax | RetriesAboveMax => step(violation.fix.as_u64().unwrap()).into(),
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn fixed_job_is_admitted_and_one_unit_beyond_is_refused(
        policy in policy(),
        document in nearly_good_document(),
    ) {
        let decision = decide(&policy, &document);
        let violations = decision.violations();
        if violations.iter().any(|violation| violation.fix.is_null()) {
            return Ok(()); // no fix is known
        }
        let mut fixed = document.clone();
        for violation in violations {
            set_at(&mut fixed, &violation.path, violation.fix.clone());
        }
        let after = decide(&policy, &fixed);
        prop_assert!(after.admitted().is_some(), "{document}\nfixed: {fixed}\n{:#?}", after.violations());
        for violation in violations {
            let Some(value) = one_unit_beyond(violation) else { continue };
            let mut too_far = fixed.clone();
            set_at(&mut too_far, &violation.path, value);
            let codes: Vec<_> = decide(&policy, &too_far).violations().iter().map(|v| v.code).collect();
            prop_assert!(codes.contains(&violation.code), "{too_far}: {codes:?} without {}", violation.code);
        }
    }
}

#[test]
fn generated_documents_cover_every_kind_of_fix() {
    // The property test above skips a decision if one of its violations has no fix. This test shows that
    // enough decisions remain for each code.
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut codes = std::collections::BTreeMap::new();
    for _ in 0..3000 {
        let (policy, document) = (policy(), nearly_good_document()).new_tree(&mut runner).unwrap().current();
        let decision = decide(&policy, &document);
        if decision.violations().iter().all(|violation| !violation.fix.is_null()) {
            decision.violations().iter().for_each(|violation| *codes.entry(violation.code).or_insert(0) += 1);
        }
    }
    for code in [
        Code::CpuBelowMin,
        Code::CpuAboveMax,
        Code::MemoryBelowMin,
        Code::MemoryAboveMax,
        Code::GpuBelowMin,
        Code::GpuAboveMax,
        Code::TimeoutBelowMin,
        Code::TimeoutAboveMax,
        Code::RetriesAboveMax,
        Code::ShmAboveMemory,
        Code::EphemeralStorageBelowMin,
        Code::EphemeralStorageAboveMax,
        Code::InvalidQuantity,
        Code::UnknownClass,
        Code::InvalidName,
    ] {
        assert!(codes.get(&code).is_some_and(|n| *n >= 3), "{code} is hardly seen: {codes:?}");
    }
}

#[test]
fn unique_readings_become_fixes() {
    let policy = Arc::new(Policy::builtin());
    let good = serde_json::json!({"name": "a", "tenant": "t", "image": "busybox", "command": ["true"]});
    for (path, written, fix) in [
        ("/timeout", "5 minutes", serde_json::json!("5m")),
        ("/timeout", "1h30", serde_json::json!("1h")),
        ("/timeout", "soon", Value::Null),
        ("/command", "python train.py --epochs=3", serde_json::json!(["python", "train.py", "--epochs=3"])),
        ("/args", "-v", serde_json::json!(["-v"])),
        ("/command", "echo $HOME", Value::Null),
        ("/command", "sh -c 'a b'", Value::Null),
        ("/command", "", Value::Null),
    ] {
        let mut document = good.clone();
        set_at(&mut document, path, written.into());
        let decision = decide(&policy, &document);
        let [violation] = decision.violations() else { panic!("{:?}", decision.violations()) };
        assert_eq!((violation.path.as_str(), &violation.fix), (path, &fix), "{written}");
    }
}

#[test]
fn misplaced_resource_is_sent_to_its_section() {
    let policy = Arc::new(Policy::builtin());
    for field in ["cpu", "memory", "gpu", "shm"] {
        let mut document = serde_json::json!({"name": "a", "tenant": "t", "image": "busybox"});
        document[field] = "1Gi".into();
        let decision = decide(&policy, &document);
        let [violation] = decision.violations() else { panic!("{:?}", decision.violations()) };
        assert_eq!(violation.code, Code::UnknownField);
        assert!(violation.message.contains("it belongs under `resources`"), "{}", violation.message);
        assert!(!violation.message.contains("1Gi"));
    }
}

#[test]
fn section_is_suggested_at_the_root_only() {
    let policy = Arc::new(Policy::builtin());
    let secret = serde_json::json!({"from_env": "TOKEN", "cpu": 1});
    let document =
        serde_json::json!({"name": "a", "tenant": "t", "image": "busybox", "secrets": {"TOKEN": secret}});
    let decision = decide(&policy, &document);
    let [violation] = decision.violations() else { panic!("{:?}", decision.violations()) };
    assert_eq!(violation.code, Code::UnknownField);
    assert!(!violation.message.contains("belongs"), "{}", violation.message);
}

#[test]
fn alias_to_a_secret_is_not_split_into_words() {
    let text = "name: a\ntenant: t\nimage: busybox\nenv: {X: &x 'run hunter2'}\ncommand: *x\n";
    let mut parsed = JobSpec::parse_all(text.as_bytes(), SecretLiterals::Refuse);
    let violations = parsed.remove(0).violations;
    assert!(violations.iter().any(|violation| violation.path == "/command"), "{violations:?}");
    assert!(!format!("{violations:?}").contains("hunter2"), "{violations:?}");
}
