//! Tests of jobs and settings that the machine rejects.

use crate::harness::{Harness, command, create_request, script};
use runway_core::JobSpec;
use runway_core::spec::Secret;
use runway_core::status::Phase;
use runway_local::{Job, Machine, NotEnforced, OpenError, StartError, Supervision};
use std::path::PathBuf;

#[test]
fn unenforceable_limit_fails_without_best_effort() {
    // The kernel rejects a newline in the name of a control group, so no limit can be set.
    let nowhere = PathBuf::from("/two\nlines");
    let strict = Harness::with_settings(|settings| settings.cgroup_parent = Some(nowhere.clone()));
    let refused = strict.try_start(script("echo hi"));
    let Err(StartError::NotEnforced(NotEnforced { limits: missing, .. })) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(strict.machine.try_limits().unwrap_err().limits.len(), 3);
    assert!(missing.iter().any(|limit| limit.starts_with("memory: ")), "{missing:?}");
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(
        std::fs::read_dir(strict.state_dir().join("jobs")).unwrap().next().is_none(),
        "the failed start left a directory"
    );

    let lenient = Harness::with_settings(|settings| {
        settings.cgroup_parent = Some(nowhere);
        settings.best_effort = true;
    });
    assert!(Harness::new().machine.try_limits().is_ok());
    let job = lenient.start(script("setsid sleep 1000 & echo hi"));
    let ran = crate::harness::wait_finished(&job);
    assert_eq!((ran.snapshot.status.phase, ran.stdout.as_str()), (Phase::Succeeded, "hi\n"));
    assert_eq!(job.not_enforced().len(), 3);
    assert_eq!(job.usage().unwrap().peak_memory, None);
}

#[test]
fn cgroup_parent_with_parent_component_is_rejected() {
    let harness = Harness::new();
    let mut settings = harness.machine.settings().clone();
    settings.cgroup_parent = Some(PathBuf::from("/runway/../../../tmp"));
    let refused = Machine::open(settings);
    assert!(matches!(refused, Err(OpenError::InvalidCgroupParent { .. })), "{refused:?}");
}

#[test]
fn unsupported_network_command_or_secret_fails() {
    let harness = Harness::new();
    let internal = JobSpec { network: Some("internal".into()), ..script("true") };
    assert!(matches!(harness.try_start(internal), Err(StartError::UnsupportedNetwork)));
    assert!(matches!(harness.try_start(command(&[])), Err(StartError::NoCommand)));
    let mut unresolved = script("true");
    unresolved.secrets.insert("A".into(), Secret::FromEnv("B".into()));
    assert!(matches!(harness.try_start(unresolved), Err(StartError::UnresolvedSecret { .. })));
    assert!(std::fs::read_dir(harness.state_dir().join("jobs")).unwrap().next().is_none());
}

#[test]
fn start_with_a_used_id_returns_id_conflict() {
    let harness = Harness::new();
    let request = create_request(script("true"));
    let job = Job::start(&harness.machine, &request, Supervision::Detached).unwrap();
    let Err(StartError::IdConflict(existing)) = Job::start(&harness.machine, &request, Supervision::Detached)
    else {
        panic!()
    };
    assert_eq!(existing.id, job.id());
    job.wait(None).unwrap();
}

#[test]
fn start_replaces_an_interrupted_start() {
    let harness = Harness::new();
    let request = create_request(script("echo made"));
    let job_dir = harness.job_dir(request.id);
    std::fs::create_dir(&job_dir).unwrap();
    let job = Job::start(&harness.machine, &request, Supervision::Detached).unwrap();
    assert_eq!(crate::harness::wait_finished(&job).stdout, "made\n");
}
