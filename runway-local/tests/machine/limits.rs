//! Tests that measure whether limits are enforced.

use crate::harness::{Harness, script, wait_finished};
use runway_core::JobSpec;
use runway_core::spec::ResourceSpec;
use runway_core::status::{Phase, Reason};
use std::time::Duration;

fn with_resources(resources: ResourceSpec, spec: JobSpec) -> JobSpec {
    JobSpec { resources, ..spec }
}

#[test]
fn cpu_usage_is_throttled_to_the_limit() {
    let harness = Harness::new();
    let resources = ResourceSpec { cpu: Some("200m".into()), ..ResourceSpec::default() };
    let hog = "timeout 2 sh -c 'while :; do :; done'; true";
    let job = harness.start(with_resources(resources, script(hog)));
    assert_eq!(wait_finished(&job).snapshot.status.phase, Phase::Succeeded);
    let usage = job.usage().unwrap();
    let share = usage.cpu.unwrap().as_secs_f64() / usage.wall.as_secs_f64();
    // The limit is 0.2 CPUs. The range is wider, because a period of the limit can be incomplete at each end
    // of the job.
    assert!((0.12..0.24).contains(&share), "{share}: {usage:?}");
    assert!(usage.throttled.unwrap() > Duration::from_millis(500), "{usage:?}");
}

#[test]
fn fork_bomb_stops_at_the_process_limit() {
    let harness = Harness::with_settings(|settings| settings.max_pids = 20);
    // `sh` exits if it cannot fork, so the job fails although the started processes continue.
    let ran = harness.run(script("for i in $(seq 100); do sleep 1000 & done; wait"));
    assert!(ran.stderr.contains("fork"), "{}", ran.stderr);
    assert_eq!(ran.snapshot.status.phase, Phase::Failed);
    // The job can have exactly 20 processes: `sh` and 19 others.
    let exact = Harness::with_settings(|settings| settings.max_pids = 20);
    let count = "n=0; while sleep 1000 & do n=$((n+1)); echo $n; [ $n -lt 19 ] || exit 0; done";
    assert_eq!(exact.run(script(count)).stdout.lines().last(), Some("19"));
    let more = count.replace("-lt 19", "-lt 20");
    assert_eq!(exact.run(script(&more)).stdout.lines().last(), Some("19"));
}

#[test]
fn memory_above_the_limit_is_oom_killed() {
    let harness = Harness::new();
    let limited = || ResourceSpec { memory: Some("32Mi".into()), ..ResourceSpec::default() };
    let hold = |size: u64| script(&format!("head -c {size} /dev/zero | tail -c {size} >/dev/null"));
    assert_eq!(
        harness.run(with_resources(limited(), hold(20_000_000))).snapshot.status.phase,
        Phase::Succeeded
    );
    let ran = harness.run(with_resources(limited(), hold(40_000_000)));
    assert_eq!(ran.snapshot.status.reason, Some(Reason::OOMKilled), "{:?}", ran.snapshot.status);
}

#[test]
fn shared_memory_is_limited_to_its_size() {
    let harness = Harness::new();
    let resources =
        ResourceSpec { memory: Some("64Mi".into()), shm: Some("8Mi".into()), ..ResourceSpec::default() };
    let ran = harness.run(with_resources(
        resources,
        script("head -c 8388608 /dev/zero >/dev/shm/a && echo fits; echo x >/dev/shm/b; cat /dev/shm/b"),
    ));
    assert_eq!(ran.stdout, "fits\n");
}

#[test]
fn job_above_its_storage_limit_is_evicted() {
    let harness = Harness::new();
    let limited = || ResourceSpec { ephemeral_storage: Some("16Mi".into()), ..ResourceSpec::default() };
    let ran = harness.run(with_resources(
        limited(),
        script("head -c 15728640 /dev/zero >/tmp/a; head -c 102400 /dev/zero >b; sleep 0.5; echo ok"),
    ));
    assert_eq!((ran.snapshot.status.phase, ran.stdout.as_str()), (Phase::Succeeded, "ok\n"));
    let ran = harness.run(with_resources(
        limited(),
        script("head -c 9437184 /dev/zero >/tmp/a; head -c 9437184 /dev/zero >/var/tmp/b; sleep 20; echo no"),
    ));
    let status = &ran.snapshot.status;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::Evicted)), "{status:?}");
    assert_eq!(ran.stdout, "");
    let hidden = "exec 3>/tmp/a; rm /tmp/a; head -c 41943040 /dev/zero >&3; sleep 20; echo no";
    let ran = harness.run(with_resources(limited(), script(hidden)));
    assert_eq!(ran.snapshot.status.reason, Some(Reason::Evicted), "an unlinked file");
    // A job that writes 4 GiB as fast as possible is evicted too.
    let ran = harness
        .run(with_resources(limited(), script("head -c 4294967296 /dev/zero >/tmp/a; sleep 20; echo no")));
    assert_eq!(ran.snapshot.status.reason, Some(Reason::Evicted));
}

/// Asserts that a job with a storage limit of 1 MiB is evicted when it runs this script.
fn assert_evicted(text: &str) {
    let limited = ResourceSpec { ephemeral_storage: Some("1Mi".into()), ..ResourceSpec::default() };
    let ran = Harness::new().run(with_resources(limited, script(text)));
    assert_eq!(ran.snapshot.status.reason, Some(Reason::Evicted), "{:?}", ran.snapshot.status);
}

#[test]
fn empty_files_count_towards_the_storage_limit() {
    assert_evicted("cd /tmp; seq 1 8000 | xargs touch; sleep 20");
}

#[test]
fn unreadable_tmp_does_not_evict_the_job() {
    let harness = Harness::new();
    assert_eq!(harness.run(script("chmod 000 /tmp")).snapshot.status.phase, Phase::Succeeded);
    let ran = harness.run(script("chmod 000 /tmp; sleep 1; echo finished"));
    assert_eq!(
        (ran.snapshot.status.phase, ran.stdout.as_str()),
        (Phase::Succeeded, "finished\n"),
        "{:?}",
        ran.snapshot.status
    );
}

#[test]
fn small_files_count_towards_the_storage_limit() {
    assert_evicted("for i in $(seq 400); do echo x >f$i; done; sleep 20");
}
