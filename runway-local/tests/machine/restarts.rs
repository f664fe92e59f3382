//! Tests of recovery after a launcher or a supervisor was killed.

use crate::bed::{Bed, launcher, script, supervisor, wait_until};
use runway_control::backend::Cancelled;
use runway_core::JobId;
use runway_core::status::{Phase, Reason};
use runway_local::{Job, JobError, Supervision};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Starts a launcher process with a job.
fn serve(bed: &Bed, text: &str, supervision: Supervision) -> (Child, JobId) {
    let supervision = match supervision {
        Supervision::Attached => "attached",
        Supervision::Detached => "detached",
    };
    let mut server = Command::new(launcher());
    server.arg(bed.state()).arg(bed.machine.settings().cgroup_parent.clone().unwrap());
    server.arg(supervisor()).args([supervision, text]);
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
fn a_server_that_is_killed_finds_its_jobs_again() {
    let bed = Bed::new();
    let wait = "echo begun; while [ ! -e /tmp/never ] && [ $((n=n+1)) -lt 10 ]; do sleep 0.1; done; echo ended; exit 3";
    let (server, id) = serve(&bed, wait, Supervision::Detached);
    kill(server);
    let again = bed.again();
    let job = Job::find(&again, id).unwrap().unwrap();
    assert_eq!(job.status().unwrap().status.phase, Phase::Running);
    let ran = crate::bed::ended(&job);
    assert_eq!((ran.seen.status.exit_code, ran.out.as_str()), (Some(3), "begun\nended\n"));
}

#[test]
fn a_job_whose_server_was_killed_can_be_stopped_by_the_next() {
    let bed = Bed::new();
    let (server, id) = serve(&bed, "sleep 1000", Supervision::Detached);
    kill(server);
    let again = bed.again();
    let job = Job::find(&again, id).unwrap().unwrap();
    job.stop().unwrap();
    assert_eq!(crate::bed::ended(&job).seen.status.phase, Phase::Cancelled);
}

fn supervisor_of(bed: &Bed, id: JobId) -> i32 {
    let status = std::fs::read(bed.state().join("jobs").join(id.as_str()).join("status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
    i32::try_from(status["supervisor"]["pid"].as_u64().unwrap()).unwrap()
}

fn kill_number(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_job_whose_supervisor_is_killed_ends_and_is_told_of() {
    let bed = Bed::new();
    let job = bed.start(script("echo begun; setsid sleep 1000 & sleep 1000"));
    let mut reader = job.reader().unwrap();
    assert_eq!(&*reader.next_blocking().unwrap().unwrap().bytes, b"begun\n");
    kill_number(supervisor_of(&bed, job.id()));
    // The output ends, and the job has an outcome.
    assert_eq!(reader.next_blocking().unwrap(), None);
    let status = crate::bed::ended(&job).seen.status;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::Disrupted)), "{status:?}");
    // The bill covers the time until the end.
    assert_eq!(status.runs.last().unwrap().ended, status.finished_at);
}

#[test]
fn a_job_whose_record_is_cut_off_is_ended_and_forgotten() {
    let bed = Bed::new();
    let (server, id) = serve(&bed, "setsid sleep 1000 & sleep 1000", Supervision::Detached);
    kill(server);
    let folder = bed.state().join("jobs").join(id.as_str());
    let supervisor = supervisor_of(&bed, id);
    std::fs::write(folder.join("job.json"), "").unwrap();
    assert_eq!(Job::find(&bed.again(), id).unwrap().map(|job| job.id()), None);
    assert!(!folder.exists());
    wait_until("the supervisor to exit", || !std::path::Path::new(&format!("/proc/{supervisor}")).exists());
}

#[test]
fn a_job_whose_status_is_cut_off_is_told_of_as_lost() {
    let bed = Bed::new();
    let (server, id) = serve(&bed, "sleep 1000", Supervision::Detached);
    kill(server);
    kill_number(supervisor_of(&bed, id));
    std::fs::write(bed.state().join("jobs").join(id.as_str()).join("status.json"), "{").unwrap();
    wait_until("the outcome", || {
        let job = Job::find(&bed.again(), id).unwrap().unwrap();
        job.status().unwrap().status.reason == Some(Reason::Disrupted)
    });
}

#[test]
fn a_record_that_is_not_understood_is_left_alone() {
    let bed = Bed::new();
    let (server, id) = serve(&bed, "sleep 1000", Supervision::Detached);
    kill(server);
    let record = bed.state().join("jobs").join(id.as_str()).join("job.json");
    let written = std::fs::read(&record).unwrap();
    std::fs::write(&record, r#"{"of": "another version"}"#).unwrap();
    let again = bed.again();
    assert!(Job::find(&again, id).is_err());
    std::fs::write(&record, written).unwrap();
    let job = Job::find(&again, id).unwrap().unwrap();
    job.kill().unwrap();
    assert_eq!(crate::bed::ended(&job).seen.status.phase, Phase::Cancelled);
}

#[test]
fn a_job_that_lost_both_is_settled_by_whoever_comes() {
    let bed = Bed::new();
    let (server, id) = serve(&bed, "setsid sleep 1000 & sleep 1000", Supervision::Detached);
    kill(server);
    kill_number(supervisor_of(&bed, id));
    wait_until("the outcome", || {
        let job = Job::find(&bed.again(), id).unwrap().unwrap();
        let status = job.status().unwrap().status;
        (status.phase, status.reason) == (Phase::Failed, Some(Reason::Disrupted))
    });
}

#[test]
fn a_job_whose_folder_is_taken_away_is_ended() {
    let bed = Bed::new();
    let (server, id) = serve(&bed, "trap '' TERM; setsid sleep 1000 & sleep 1000", Supervision::Detached);
    kill(server);
    let job = Job::find(&bed.again(), id).unwrap().unwrap();
    let supervisor = supervisor_of(&bed, id);
    std::fs::remove_dir_all(bed.state().join("jobs").join(id.as_str())).unwrap();
    // The handles to the job report that it no longer exists.
    assert!(matches!(job.status(), Err(JobError::Removed { .. })));
    assert!(matches!(job.usage(), Err(JobError::Removed { .. })));
    assert!(matches!(job.wait(None), Err(JobError::Removed { .. })));
    assert_eq!(job.stop().unwrap(), Cancelled::Gone);
    assert_eq!(job.kill().unwrap(), Cancelled::Gone);
    assert!(!job.remove().unwrap());
    wait_until("the supervisor to exit", || !std::path::Path::new(&format!("/proc/{supervisor}")).exists());
}

#[test]
fn an_attached_job_ends_with_who_started_it_and_leaves_nothing() {
    let bed = Bed::new();
    let (server, id) =
        serve(&bed, "trap 'sleep 0.2; exit 0' TERM; while :; do sleep 0.1; done", Supervision::Attached);
    let folder = bed.state().join("jobs").join(id.as_str());
    assert!(folder.exists());
    kill(server);
    wait_until("the job directory to be deleted", || !folder.exists());
}
