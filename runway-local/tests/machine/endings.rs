//! Tests of all ways in which a job can end.

use crate::harness::{FinishedJob, Harness, command, script, wait_finished, wait_until};
use crate::requests::create_request;
use runway_control::backend::CancelOutcome;
use runway_core::JobSpec;
use runway_core::status::{Phase, Reason, Status};
use runway_local::{Job, Supervision};
use runway_testing::policies;
use std::time::Duration;

fn outcome(ran: &FinishedJob) -> (Phase, Option<Reason>, Option<i32>) {
    (ran.snapshot.status.phase, ran.snapshot.status.reason, ran.snapshot.status.exit_code)
}

/// Returns the duration of a job in milliseconds. Uses the job's own timestamps, so that other load on the
/// machine matters less.
fn milliseconds(status: &Status) -> u64 {
    status.finished_at.unwrap().nanos_since(status.started_at.unwrap()) / 1_000_000
}

#[test]
fn successful_job_reports_exit_code_and_output() {
    let ran = Harness::new().run(script("echo hello; echo oh >&2"));
    assert_eq!(outcome(&ran), (Phase::Succeeded, None, Some(0)), "{:?}", ran.snapshot.status);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("hello\n", "oh\n"));
    assert_eq!(ran.snapshot.status.attempt_spans.len(), 1);
}

#[test]
fn exit_codes_and_signals_are_reported() {
    let harness = Harness::new();
    let failed = Phase::Failed;
    assert_eq!(outcome(&harness.run(script("exit 3"))), (failed, Some(Reason::NonZeroExit), Some(3)));
    assert_eq!(outcome(&harness.run(script("kill -SEGV $$"))), (failed, Some(Reason::Signaled), Some(139)));
    assert_eq!(outcome(&harness.run(script("kill -KILL $$"))), (failed, Some(Reason::Signaled), Some(137)));
}

#[test]
fn unstartable_programs_fail_with_start_error() {
    let harness = Harness::new();
    let ran = harness.run(command(&["no-such-program"]));
    assert_eq!(outcome(&ran), (Phase::Failed, Some(Reason::StartError), Some(127)));
    assert!(
        ran.snapshot.status.message.contains("no-such-program: No such file"),
        "{:?}",
        ran.snapshot.status
    );
    let ran = harness.run(command(&["/etc/passwd"]));
    assert_eq!(outcome(&ran), (Phase::Failed, Some(Reason::StartError), Some(126)));
}

#[test]
fn job_starts_in_its_workdir() {
    let harness = Harness::new();
    let at = |workdir: &str, spec: JobSpec| JobSpec { workdir: Some(workdir.to_owned()), ..spec };
    // `/bin` is a link to `/usr/bin` on most systems.
    let dir = std::fs::canonicalize("/bin").unwrap();
    let ran = harness.run(at("/bin", script("pwd -P; ls -d ./sh; cd /; pwd -P")));
    assert_eq!(outcome(&ran), (Phase::Succeeded, None, Some(0)), "{:?}", ran.snapshot.status);
    assert_eq!(ran.stdout, format!("{}\n./sh\n/\n", dir.display()));
    // The relative path of a program is resolved from the job's working directory.
    let ran = harness.run(at("/bin", command(&["./sh", "-c", "true"])));
    assert_eq!(outcome(&ran), (Phase::Succeeded, None, Some(0)), "{:?}", ran.snapshot.status);
    // The job has its own `/tmp`. It contains only the default working directory `work`.
    let ran = harness.run(at("/tmp", script("ls -A")));
    assert_eq!((outcome(&ran).0, ran.stdout.as_str()), (Phase::Succeeded, "work\n"));
}

#[test]
fn unusable_workdir_fails_the_job() {
    let harness = Harness::new();
    let outside = std::env::temp_dir().join(format!("runway-workdir-{}", std::process::id()));
    std::fs::create_dir_all(&outside).unwrap();
    for (workdir, why) in [
        ("/no/such/directory", "No such file or directory"),
        ("/etc/passwd", "Not a directory"),
        // This directory exists on the machine, but the job does not see it.
        (outside.to_str().unwrap(), "No such file or directory"),
    ] {
        let ran = harness.run(JobSpec { workdir: Some(workdir.to_owned()), ..script("echo started") });
        assert_eq!(outcome(&ran), (Phase::Failed, Some(Reason::StartError), Some(126)), "{workdir}");
        let message = format!("working directory {workdir}: {why}");
        assert!(ran.snapshot.status.message.contains(&message), "{:?}", ran.snapshot.status);
        assert_eq!(ran.stdout, "");
    }
    std::fs::remove_dir(&outside).unwrap();
}

#[test]
fn oom_kills_of_job_and_child_are_distinguished() {
    let harness = Harness::new();
    let ran = harness.run(command(&["tail", "/dev/zero"]));
    assert_eq!(
        outcome(&ran),
        (Phase::Failed, Some(Reason::OOMKilled), Some(137)),
        "{:?}",
        ran.snapshot.status
    );
    let ran = harness.run(script("tail /dev/zero; exit 0"));
    assert_eq!(outcome(&ran), (Phase::Succeeded, Some(Reason::ChildOOMKilled), Some(0)));
    let ran = harness.run(script("tail /dev/zero; exit 1"));
    assert_eq!(outcome(&ran), (Phase::Failed, Some(Reason::OOMKilled), Some(1)));
}

#[test]
fn deadline_covers_all_attempts() {
    let harness = Harness::new();
    let spec =
        JobSpec { timeout: Some("1s".into()), retries: Some(3u64.into()), ..script("sleep 0.4; exit 1") };
    let ran = harness.run(spec);
    let status = &ran.snapshot.status;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)));
    assert!((1..=3).contains(&status.attempts), "{status:?}");
    assert!((1_000..2_900).contains(&milliseconds(status)), "{status:?}");
}

#[test]
fn job_that_ignores_sigterm_is_killed_after_its_grace() {
    let harness = Harness::new();
    let spec = JobSpec { timeout: Some("2s".into()), ..script("trap '' TERM; while :; do sleep 0.1; done") };
    let ran = harness.run(spec);
    assert_eq!(ran.snapshot.status.reason, Some(Reason::DeadlineExceeded));
    // The timeout and the grace period are two seconds each, so the job lasts at least four seconds.
    assert!((4_000..6_500).contains(&milliseconds(&ran.snapshot.status)), "{:?}", ran.snapshot.status);
}

#[test]
fn cancelled_job_can_clean_up_during_its_grace() {
    let harness = Harness::new();
    let job =
        harness.start(script("trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done"));
    let mut reader = job.reader().unwrap();
    assert_eq!(&*reader.next_blocking().unwrap().unwrap().bytes, b"ready\n");
    assert_eq!(job.cancel().unwrap(), CancelOutcome::Started);
    let ran = wait_finished(&job);
    assert_eq!(outcome(&ran), (Phase::Cancelled, None, None));
    assert_eq!(ran.stdout, "ready\ncleaned\n");
    assert_eq!(job.cancel().unwrap(), CancelOutcome::AlreadyFinished);
}

#[test]
fn kill_skips_the_grace_period() {
    let harness = Harness::new();
    let patient = policies::MACHINE.replace("termination_grace: 2s", "termination_grace: 10m");
    let request = create_request(&patient, script("trap '' TERM; while :; do sleep 0.05; done"));
    let job = Job::start(&harness.machine, &request, Supervision::Detached).unwrap();
    assert_eq!(job.cancel().unwrap(), CancelOutcome::Started);
    assert_eq!(job.kill().unwrap(), CancelOutcome::Started);
    assert_eq!(wait_finished(&job).snapshot.status.phase, Phase::Cancelled);
}

#[test]
fn retries_start_clean_and_the_last_attempt_counts() {
    let harness = Harness::new();
    let spec = JobSpec { retries: Some(3u64.into()), ..script("ls; touch seen; exit 1") };
    let ran = harness.run(spec);
    assert_eq!(outcome(&ran), (Phase::Failed, Some(Reason::NonZeroExit), Some(1)));
    assert_eq!(
        (ran.snapshot.status.attempts, ran.stdout.as_str()),
        (4, ""),
        "each attempt starts with an empty directory"
    );
    // `BEGAN` is the uptime before the start, in hundredths of a second. The first attempt finds that at most
    // three seconds have passed, so it sleeps for three seconds and fails. The second attempt succeeds.
    let second =
        "read up idle </proc/uptime; [ $(( ${up%.*}${up#*.} - BEGAN )) -gt 300 ] || { sleep 3; exit 1; }";
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let mut spec = JobSpec { retries: Some(3u64.into()), ..script(second) };
    spec.env.insert("BEGAN".into(), uptime.split(' ').next().unwrap().replace('.', ""));
    let ran = harness.run(spec);
    assert_eq!(
        (ran.snapshot.status.phase, ran.snapshot.status.attempts),
        (Phase::Succeeded, 2),
        "{:?}",
        ran.snapshot.status
    );
}

#[test]
fn daemon_in_another_session_ends_with_the_job() {
    let harness = Harness::new();
    let ran = harness.run(script(
        "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000' >/dev/null 2>&1 & echo done",
    ));
    assert_eq!((ran.snapshot.status.phase, ran.stdout.as_str()), (Phase::Succeeded, "done\n"));
}

#[test]
fn grandchild_with_the_pipe_does_not_delay_the_end() {
    let harness = Harness::new();
    let ran = harness.run(script("(setsid sleep 1000; echo never) & echo done"));
    assert_eq!((ran.snapshot.status.phase, ran.stdout.as_str()), (Phase::Succeeded, "done\n"));
}

#[test]
fn usage_is_measured_and_the_record_can_be_removed() {
    let harness = Harness::new();
    let job = harness.start(script(
        "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; head -c 20000000 /dev/zero | tail -c 20000000 >/dev/null",
    ));
    let ran = wait_finished(&job);
    assert_eq!(ran.snapshot.status.phase, Phase::Succeeded);
    let usage = job.usage().unwrap();
    assert!(usage.cpu.unwrap() > Duration::from_millis(10), "{usage:?}");
    assert!((20_000_000..64 << 20).contains(&usage.peak_memory.unwrap().units()), "{usage:?}");
    assert!(usage.wall >= usage.cpu.unwrap() / 4, "{usage:?}");
    // The record of a finished job can be deleted.
    let folder = harness.job_dir(job.id());
    assert!(folder.exists() && job.remove().unwrap());
    wait_until("the directory to be deleted", || !folder.exists());
}
