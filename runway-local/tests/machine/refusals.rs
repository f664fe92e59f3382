//! Tests of jobs and settings that the machine refuses.

use crate::bed::{Bed, command, order, script};
use runway_core::JobSpec;
use runway_core::spec::Secret;
use runway_core::status::Phase;
use runway_local::{Job, Machine, NotEnforced, OpenError, StartError, Supervision};
use std::path::PathBuf;

#[test]
fn a_limit_that_cannot_be_enforced_is_refused_or_told_of() {
    // No control group can have this name.
    let nowhere = PathBuf::from("/two\nlines");
    let strict = Bed::with(|settings| settings.cgroup_parent = Some(nowhere.clone()));
    let refused = strict.try_start(script("echo hi"));
    let Err(StartError::NotEnforced(NotEnforced { missing, .. })) = refused else { panic!("{refused:?}") };
    assert_eq!(strict.machine.try_limits().unwrap_err().missing.len(), 3);
    assert!(missing.iter().any(|limit| limit.starts_with("memory: ")), "{missing:?}");
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(
        std::fs::read_dir(strict.state().join("jobs")).unwrap().next().is_none(),
        "the failed start left a directory"
    );

    let lenient = Bed::with(|settings| {
        settings.cgroup_parent = Some(nowhere);
        settings.best_effort = true;
    });
    assert!(Bed::new().machine.try_limits().is_ok());
    let job = lenient.start(script("setsid sleep 1000 & echo hi"));
    let ran = crate::bed::ended(&job);
    assert_eq!((ran.seen.status.phase, ran.out.as_str()), (Phase::Succeeded, "hi\n"));
    assert_eq!(job.not_enforced().len(), 3);
    assert_eq!(job.usage().unwrap().peak_memory, None);
}

#[test]
fn a_control_group_outside_of_the_hierarchies_is_refused() {
    let bed = Bed::new();
    let mut settings = bed.machine.settings().clone();
    settings.cgroup_parent = Some(PathBuf::from("/runway/../../../tmp"));
    let refused = Machine::open(settings);
    assert!(matches!(refused, Err(OpenError::Parent { .. })), "{refused:?}");
}

#[test]
fn a_network_that_cannot_be_made_and_a_job_without_a_command() {
    let bed = Bed::new();
    let internal = JobSpec { network: Some("internal".into()), ..script("true") };
    assert!(matches!(bed.try_start(internal), Err(StartError::Network)));
    assert!(matches!(bed.try_start(command(&[])), Err(StartError::NoCommand)));
    let mut unresolved = script("true");
    unresolved.secrets.insert("A".into(), Secret::FromEnv("B".into()));
    assert!(matches!(bed.try_start(unresolved), Err(StartError::UnresolvedSecret { .. })));
    assert!(std::fs::read_dir(bed.state().join("jobs")).unwrap().next().is_none());
}

#[test]
fn an_id_is_one_jobs() {
    let bed = Bed::new();
    let order = order(script("true"));
    let job = Job::start(&bed.machine, &order, Supervision::Detached).unwrap();
    let Err(StartError::Taken(seen)) = Job::start(&bed.machine, &order, Supervision::Detached) else {
        panic!()
    };
    assert_eq!(seen.id, job.id());
    job.wait(None).unwrap();
}

#[test]
fn what_was_broken_off_is_taken_away_and_made() {
    let bed = Bed::new();
    let order = order(script("echo made"));
    let folder = bed.state().join("jobs").join(order.id.as_str());
    std::fs::create_dir(&folder).unwrap();
    let job = Job::start(&bed.machine, &order, Supervision::Detached).unwrap();
    assert_eq!(crate::bed::ended(&job).out, "made\n");
}
