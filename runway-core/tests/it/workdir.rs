//! The field `workdir`: its validation, and the decisions and digests of jobs without it.

use crate::replay::replayed;
use runway_core::spec::SecretLiterals;
use runway_core::units::Timestamp;
use runway_core::{Code, Decision, Gate, HashSeed, JobSpec, Policy};
use serde_json::{Value, json};
use std::sync::Arc;

fn job(workdir: Option<&str>) -> JobSpec {
    JobSpec {
        name: Some("job".into()),
        tenant: Some("search".into()),
        image: Some("busybox".into()),
        workdir: workdir.map(str::to_owned),
        ..JobSpec::default()
    }
}

fn decide(spec: JobSpec) -> Decision {
    Gate::new(Arc::new(Policy::builtin()), HashSeed::default()).preview(&spec.into(), Timestamp::EPOCH)
}

#[test]
fn absolute_paths_without_dots_are_accepted() {
    let longest = format!("/{}", "x".repeat(4094));
    for path in ["/", "/workspace", "/a//b/", "/a/..b/.c/...", "/with space/é", "/$(HOME)", &longest] {
        let decision = decide(job(Some(path)));
        assert_eq!(decision.admitted().unwrap().job().workdir.as_deref(), Some(path));
        let normalised = serde_json::to_value(&decision).unwrap();
        assert_eq!(normalised.pointer("/job/workdir"), Some(&path.into()));
    }
}

#[test]
fn other_paths_are_refused_with_resolved_fix() {
    let too_long = format!("/{}", "x".repeat(4095));
    for (path, code, fix) in [
        ("", Code::InvalidWorkdir, Value::Null),
        ("src", Code::InvalidWorkdir, Value::Null),
        ("./src", Code::InvalidWorkdir, Value::Null),
        ("~", Code::InvalidWorkdir, Value::Null),
        ("/.", Code::InvalidWorkdir, "/".into()),
        ("/..", Code::InvalidWorkdir, "/".into()),
        ("/a/../../b/./c//", Code::InvalidWorkdir, "/b/c".into()),
        ("/a\0", Code::NulByte, Value::Null),
        (&too_long, Code::TooLarge, Value::Null),
    ] {
        let decision = decide(job(Some(path)));
        let [violation] = decision.violations() else { panic!("{path}: {:?}", decision.violations()) };
        assert_eq!(
            (violation.code, violation.path.as_str(), &violation.fix),
            (code, "/workdir", &fix),
            "{path}"
        );
        if let Some(fixed) = fix.as_str() {
            assert!(decide(job(Some(fixed))).admitted().is_some(), "{fixed}");
        }
        let (again, line) = replayed(&Policy::builtin(), &decision);
        assert_eq!(again, line);
    }
}

#[test]
fn workdir_of_the_wrong_type_is_reported_once() {
    let source = b"name: job\ntenant: search\nimage: busybox\nworkdir: [/a]\n";
    let reading = JobSpec::parse_all(source, SecretLiterals::Refuse).remove(0);
    let decision = Gate::new(Arc::new(Policy::builtin()), HashSeed::default())
        .preview(&reading.into(), Timestamp::EPOCH);
    let codes: Vec<_> = decision.violations().iter().map(|violation| violation.code).collect();
    assert_eq!(codes, [Code::WrongType]);
    assert!(decision.job().is_none());
}

#[test]
fn absent_workdir_leaves_no_trace() {
    let (without, with) = (decide(job(None)), decide(job(Some("/a"))));
    let line = serde_json::to_string(&without).unwrap();
    assert!(!line.contains("workdir"), "{line}");
    let recorded = serde_json::to_value(&with).unwrap();
    assert_eq!(recorded.pointer("/basis/spec/workdir"), Some(&json!("/a")));
    for decision in [&without, &with] {
        let (again, line) = replayed(&Policy::builtin(), decision);
        assert_eq!(again, line);
    }
    let digests = [None, Some("/a"), Some("/b")].map(|workdir| job(workdir).digest());
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
}
