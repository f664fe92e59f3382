//! Tests of all ways in which a job can end.

use crate::bed::{Bed, POLICY, Ran, command, ended, order_by, script, wait_until};
use runway_control::backend::Cancelled;
use runway_core::JobSpec;
use runway_core::status::{Phase, Reason, Status};
use runway_local::{Job, Supervision};
use std::time::Duration;

fn verdict(ran: &Ran) -> (Phase, Option<Reason>, Option<i32>) {
    (ran.seen.status.phase, ran.seen.status.reason, ran.seen.status.exit_code)
}

/// Returns the duration of a job by its own timestamps, so that other load on the machine counts less.
fn milliseconds(status: &Status) -> u64 {
    status.finished_at.unwrap().nanos_since(status.started_at.unwrap()) / 1_000_000
}

#[test]
fn a_job_that_does_well() {
    let ran = Bed::new().run(script("echo hello; echo oh >&2"));
    assert_eq!(verdict(&ran), (Phase::Succeeded, None, Some(0)), "{:?}", ran.seen.status);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("hello\n", "oh\n"));
    assert_eq!(ran.seen.status.runs.len(), 1);
}

#[test]
fn exit_codes_and_signals() {
    let bed = Bed::new();
    let failed = Phase::Failed;
    assert_eq!(verdict(&bed.run(script("exit 3"))), (failed, Some(Reason::NonZeroExit), Some(3)));
    assert_eq!(verdict(&bed.run(script("kill -SEGV $$"))), (failed, Some(Reason::Signaled), Some(139)));
    assert_eq!(verdict(&bed.run(script("kill -KILL $$"))), (failed, Some(Reason::Signaled), Some(137)));
}

#[test]
fn programs_that_cannot_be_started() {
    let bed = Bed::new();
    let ran = bed.run(command(&["no-such-program"]));
    assert_eq!(verdict(&ran), (Phase::Failed, Some(Reason::StartError), Some(127)));
    assert!(ran.seen.status.message.contains("no-such-program: No such file"), "{:?}", ran.seen.status);
    let ran = bed.run(command(&["/etc/passwd"]));
    assert_eq!(verdict(&ran), (Phase::Failed, Some(Reason::StartError), Some(126)));
}

#[test]
fn a_job_starts_in_its_workdir() {
    let bed = Bed::new();
    let at = |workdir: &str, spec: JobSpec| JobSpec { workdir: Some(workdir.to_owned()), ..spec };
    // `/bin` is a link to `/usr/bin` on most systems.
    let folder = std::fs::canonicalize("/bin").unwrap();
    let ran = bed.run(at("/bin", script("pwd -P; ls -d ./sh; cd /; pwd -P")));
    assert_eq!(verdict(&ran), (Phase::Succeeded, None, Some(0)), "{:?}", ran.seen.status);
    assert_eq!(ran.out, format!("{}\n./sh\n/\n", folder.display()));
    // The path of a relative program starts at the working directory.
    let ran = bed.run(at("/bin", command(&["./sh", "-c", "true"])));
    assert_eq!(verdict(&ran), (Phase::Succeeded, None, Some(0)), "{:?}", ran.seen.status);
    // This is the job's own `/tmp`, not the one of the machine.
    let ran = bed.run(at("/tmp", script("ls -A")));
    assert_eq!((verdict(&ran).0, ran.out.as_str()), (Phase::Succeeded, "work\n"));
}

#[test]
fn workdirs_that_cannot_be_entered_fail_the_job() {
    let bed = Bed::new();
    let outside = std::env::temp_dir().join(format!("runway-workdir-{}", std::process::id()));
    std::fs::create_dir_all(&outside).unwrap();
    for (workdir, why) in [
        ("/no/such/directory", "No such file or directory"),
        ("/etc/passwd", "Not a directory"),
        // This directory exists on the machine, but the job does not see it.
        (outside.to_str().unwrap(), "No such file or directory"),
    ] {
        let ran = bed.run(JobSpec { workdir: Some(workdir.to_owned()), ..script("echo started") });
        assert_eq!(verdict(&ran), (Phase::Failed, Some(Reason::StartError), Some(126)), "{workdir}");
        let message = format!("working directory {workdir}: {why}");
        assert!(ran.seen.status.message.contains(&message), "{:?}", ran.seen.status);
        assert_eq!(ran.out, "");
    }
    std::fs::remove_dir(&outside).unwrap();
}

#[test]
fn memory_that_runs_out_in_the_job_and_in_a_child() {
    let bed = Bed::new();
    let ran = bed.run(command(&["tail", "/dev/zero"]));
    assert_eq!(verdict(&ran), (Phase::Failed, Some(Reason::OOMKilled), Some(137)), "{:?}", ran.seen.status);
    let ran = bed.run(script("tail /dev/zero; exit 0"));
    assert_eq!(verdict(&ran), (Phase::Succeeded, Some(Reason::ChildOOMKilled), Some(0)));
    let ran = bed.run(script("tail /dev/zero; exit 1"));
    assert_eq!(verdict(&ran), (Phase::Failed, Some(Reason::OOMKilled), Some(1)));
}

#[test]
fn a_deadline_over_all_attempts() {
    let bed = Bed::new();
    let spec =
        JobSpec { timeout: Some("1s".into()), retries: Some(3u64.into()), ..script("sleep 0.4; exit 1") };
    let ran = bed.run(spec);
    let status = &ran.seen.status;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)));
    assert!((1..=3).contains(&status.attempts), "{status:?}");
    assert!((1_000..2_900).contains(&milliseconds(status)), "{status:?}");
}

#[test]
fn a_job_that_does_not_listen_is_killed_after_its_grace() {
    let bed = Bed::new();
    let spec = JobSpec { timeout: Some("2s".into()), ..script("trap '' TERM; while :; do sleep 0.1; done") };
    let ran = bed.run(spec);
    assert_eq!(ran.seen.status.reason, Some(Reason::DeadlineExceeded));
    // The grace period is two seconds.
    assert!((4_000..6_500).contains(&milliseconds(&ran.seen.status)), "{:?}", ran.seen.status);
}

#[test]
fn a_job_that_is_stopped_has_its_grace_to_clean_up() {
    let bed = Bed::new();
    let job = bed.start(script("trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done"));
    let mut reader = job.reader().unwrap();
    assert_eq!(&*reader.next_blocking().unwrap().unwrap().bytes, b"ready\n");
    assert_eq!(job.stop().unwrap(), Cancelled::Begun);
    let ran = ended(&job);
    assert_eq!(verdict(&ran), (Phase::Cancelled, None, None));
    assert_eq!(ran.out, "ready\ncleaned\n");
    assert_eq!(job.stop().unwrap(), Cancelled::Finished);
}

#[test]
fn a_job_that_is_killed_has_none() {
    let bed = Bed::new();
    let patient = POLICY.replace("termination_grace: 2s", "termination_grace: 10m");
    let order = order_by(&patient, script("trap '' TERM; while :; do sleep 0.05; done"));
    let job = Job::start(&bed.machine, &order, Supervision::Detached).unwrap();
    assert_eq!(job.stop().unwrap(), Cancelled::Begun);
    assert_eq!(job.kill().unwrap(), Cancelled::Begun);
    assert_eq!(ended(&job).seen.status.phase, Phase::Cancelled);
}

#[test]
fn attempts_begin_anew_and_the_last_one_counts() {
    let bed = Bed::new();
    let spec = JobSpec { retries: Some(3u64.into()), ..script("ls; touch seen; exit 1") };
    let ran = bed.run(spec);
    assert_eq!(verdict(&ran), (Phase::Failed, Some(Reason::NonZeroExit), Some(1)));
    assert_eq!(
        (ran.seen.status.attempts, ran.out.as_str()),
        (4, ""),
        "each attempt starts with an empty directory"
    );
    // The job compares the uptime, in hundredths of a second, to detect whether this is the first attempt.
    let second =
        "read up idle </proc/uptime; [ $(( ${up%.*}${up#*.} - BEGAN )) -gt 300 ] || { sleep 3; exit 1; }";
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let mut spec = JobSpec { retries: Some(3u64.into()), ..script(second) };
    spec.env.insert("BEGAN".into(), uptime.split(' ').next().unwrap().replace('.', ""));
    let ran = bed.run(spec);
    assert_eq!(
        (ran.seen.status.phase, ran.seen.status.attempts),
        (Phase::Succeeded, 2),
        "{:?}",
        ran.seen.status
    );
}

#[test]
fn a_daemon_in_a_session_of_its_own_ends_with_the_job() {
    let bed = Bed::new();
    let ran = bed.run(script(
        "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' >/dev/null 2>&1 & echo done",
    ));
    assert_eq!((ran.seen.status.phase, ran.out.as_str()), (Phase::Succeeded, "done\n"));
}

#[test]
fn a_grandchild_with_the_pipe_does_not_hold_up_the_end() {
    let bed = Bed::new();
    let ran = bed.run(script("(setsid sleep 1000; echo never) & echo done"));
    assert_eq!((ran.seen.status.phase, ran.out.as_str()), (Phase::Succeeded, "done\n"));
}

#[test]
fn what_was_used_is_told() {
    let bed = Bed::new();
    let job = bed.start(script(
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; head -c 20000000 /dev/zero | tail -c 20000000 >/dev/null",
    ));
    let ran = ended(&job);
    assert_eq!(ran.seen.status.phase, Phase::Succeeded);
    let usage = job.usage().unwrap();
    assert!(usage.cpu.unwrap() > Duration::from_millis(10), "{usage:?}");
    assert!((20_000_000..64 << 20).contains(&usage.peak_memory.unwrap().units()), "{usage:?}");
    assert!(usage.wall >= usage.cpu.unwrap() / 4, "{usage:?}");
    // The record of a finished job can be deleted.
    let folder = bed.state().join("jobs").join(job.id().as_str());
    assert!(folder.exists() && job.remove().unwrap());
    wait_until("the directory to be deleted", || !folder.exists());
}
