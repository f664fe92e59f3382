//! Tests of jobs whose launcher or supervisor was killed, or whose files were damaged or deleted.

use crate::harness::{Harness, launcher, script, supervisor, wait_until};
use runway_control::backend::CancelOutcome;
use runway_core::JobId;
use runway_core::status::{Phase, Reason};
use runway_local::{Job, JobError, Supervision};
use runway_testing::{machine, policies};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Starts a launcher process that runs a script as a job. Returns the process and the job's id.
fn launch(harness: &Harness, text: &str, supervision: Supervision) -> (Child, JobId) {
    let supervision = match supervision {
        Supervision::Attached => "attached",
        Supervision::Detached => "detached",
    };
    let mut server = Command::new(launcher());
    server.arg(harness.state_dir()).arg(harness.machine.settings().cgroup_parent.clone().unwrap());
    server.arg(supervisor()).args([supervision, policies::MACHINE, text]);
    let mut server = server.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let id = lines.next().unwrap().unwrap().parse().unwrap();
    (server, id)
}

fn kill(mut process: Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn job_of_a_killed_server_is_found_again() {
    let harness = Harness::new();
    let wait = "echo begun; while [ ! -e /tmp/never ] && [ $((n=n+1)) -lt 10 ]; do sleep 0.1; done; echo ended; exit 3";
    let (server, id) = launch(&harness, wait, Supervision::Detached);
    kill(server);
    let reopened = harness.reopen();
    let job = Job::find(&reopened, id).unwrap().unwrap();
    assert_eq!(job.status().unwrap().status.phase, Phase::Running);
    let ran = crate::harness::wait_finished(&job);
    assert_eq!((ran.snapshot.status.exit_code, ran.stdout.as_str()), (Some(3), "begun\nended\n"));
}

#[test]
fn next_server_can_cancel_a_running_job() {
    let harness = Harness::new();
    let (server, id) = launch(&harness, "sleep 1000", Supervision::Detached);
    kill(server);
    let reopened = harness.reopen();
    let job = Job::find(&reopened, id).unwrap().unwrap();
    job.cancel().unwrap();
    assert_eq!(crate::harness::wait_finished(&job).snapshot.status.phase, Phase::Cancelled);
}

fn supervisor_pid(harness: &Harness, id: JobId) -> i32 {
    machine::pid_of(&harness.job_dir(id), "supervisor")
}

fn kill_pid(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn job_of_a_killed_supervisor_fails_as_disrupted() {
    let harness = Harness::new();
    let job = harness.start(script("echo begun; setsid sleep 1000 & sleep 1000"));
    let mut reader = job.reader().unwrap();
    assert_eq!(&*reader.next_blocking().unwrap().unwrap().bytes, b"begun\n");
    kill_pid(supervisor_pid(&harness, job.id()));
    // The supervisor is dead, so it cannot write the end of the output. The recovery writes it, and the
    // reader reaches it.
    assert_eq!(reader.next_blocking().unwrap(), None);
    let status = crate::harness::wait_finished(&job).snapshot.status;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::Disrupted)), "{status:?}");
    // The last attempt ends when the job finishes. The bill therefore covers the time until then.
    assert_eq!(status.attempt_spans.last().unwrap().ended, status.finished_at);
}

#[test]
fn job_with_a_truncated_record_is_removed() {
    let harness = Harness::new();
    let (server, id) = launch(&harness, "setsid sleep 1000 & sleep 1000", Supervision::Detached);
    kill(server);
    let job_dir = harness.job_dir(id);
    let supervisor = supervisor_pid(&harness, id);
    std::fs::write(job_dir.join("job.json"), "").unwrap();
    assert_eq!(Job::find(&harness.reopen(), id).unwrap().map(|job| job.id()), None);
    assert!(!job_dir.exists());
    wait_until("the supervisor to exit", || !std::path::Path::new(&format!("/proc/{supervisor}")).exists());
}

#[test]
fn job_with_a_truncated_status_is_disrupted() {
    let harness = Harness::new();
    let (server, id) = launch(&harness, "sleep 1000", Supervision::Detached);
    kill(server);
    kill_pid(supervisor_pid(&harness, id));
    std::fs::write(harness.job_dir(id).join("status.json"), "{").unwrap();
    wait_until("the outcome", || {
        let job = Job::find(&harness.reopen(), id).unwrap().unwrap();
        job.status().unwrap().status.reason == Some(Reason::Disrupted)
    });
}

#[test]
fn unknown_record_format_is_left_unchanged() {
    let harness = Harness::new();
    let (server, id) = launch(&harness, "sleep 1000", Supervision::Detached);
    kill(server);
    let record = harness.job_dir(id).join("job.json");
    let original = std::fs::read(&record).unwrap();
    std::fs::write(&record, r#"{"of": "another version"}"#).unwrap();
    let reopened = harness.reopen();
    assert!(Job::find(&reopened, id).is_err());
    std::fs::write(&record, original).unwrap();
    let job = Job::find(&reopened, id).unwrap().unwrap();
    job.kill().unwrap();
    assert_eq!(crate::harness::wait_finished(&job).snapshot.status.phase, Phase::Cancelled);
}

#[test]
fn job_without_server_and_supervisor_is_recovered() {
    let harness = Harness::new();
    let (server, id) = launch(&harness, "setsid sleep 1000 & sleep 1000", Supervision::Detached);
    kill(server);
    kill_pid(supervisor_pid(&harness, id));
    wait_until("the outcome", || {
        let job = Job::find(&harness.reopen(), id).unwrap().unwrap();
        let status = job.status().unwrap().status;
        (status.phase, status.reason) == (Phase::Failed, Some(Reason::Disrupted))
    });
}

#[test]
fn deleting_the_job_directory_ends_the_job() {
    let harness = Harness::new();
    let (server, id) =
        launch(&harness, "trap '' TERM; setsid sleep 1000 & sleep 1000", Supervision::Detached);
    kill(server);
    let job = Job::find(&harness.reopen(), id).unwrap().unwrap();
    let supervisor = supervisor_pid(&harness, id);
    std::fs::remove_dir_all(harness.job_dir(id)).unwrap();
    // Each method of the existing handle reports that the job is gone.
    assert!(matches!(job.status(), Err(JobError::Removed { .. })));
    assert!(matches!(job.usage(), Err(JobError::Removed { .. })));
    assert!(matches!(job.wait(None), Err(JobError::Removed { .. })));
    assert_eq!(job.cancel().unwrap(), CancelOutcome::NotFound);
    assert_eq!(job.kill().unwrap(), CancelOutcome::NotFound);
    assert!(!job.remove().unwrap());
    wait_until("the supervisor to exit", || !std::path::Path::new(&format!("/proc/{supervisor}")).exists());
}

#[test]
fn attached_job_ends_with_its_launcher_and_is_removed() {
    let harness = Harness::new();
    let (server, id) =
        launch(&harness, "trap 'sleep 0.2; exit 0' TERM; while :; do sleep 0.1; done", Supervision::Attached);
    let job_dir = harness.job_dir(id);
    assert!(job_dir.exists());
    kill(server);
    wait_until("the job directory to be deleted", || !job_dir.exists());
}
