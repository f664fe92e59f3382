//! Tests that measure whether limits are enforced.

use crate::bed::{Bed, ended, script};
use runway_core::JobSpec;
use runway_core::spec::ResourceSpec;
use runway_core::status::{Phase, Reason};
use std::time::Duration;

fn with(resources: ResourceSpec, spec: JobSpec) -> JobSpec {
    JobSpec { resources, ..spec }
}

#[test]
fn a_cpu_hog_is_held_at_its_share() {
    let bed = Bed::new();
    let resources = ResourceSpec { cpu: Some("200m".into()), ..ResourceSpec::default() };
    let hog = "timeout 2 sh -c 'while :; do :; done'; true";
    let job = bed.start(with(resources, script(hog)));
    assert_eq!(ended(&job).seen.status.phase, Phase::Succeeded);
    let usage = job.usage().unwrap();
    let share = usage.cpu.unwrap().as_secs_f64() / usage.wall.as_secs_f64();
    // A partial period at each end is tolerated.
    assert!((0.12..0.24).contains(&share), "{share}: {usage:?}");
    assert!(usage.throttled.unwrap() > Duration::from_millis(500), "{usage:?}");
}

#[test]
fn a_fork_bomb_is_held_at_the_limit() {
    let bed = Bed::with(|settings| settings.pids = 20);
    // `sh` exits if it cannot fork. The processes that it started continue.
    let ran = bed.run(script("for i in $(seq 100); do sleep 1000 & done; wait"));
    assert!(ran.err.contains("fork"), "{}", ran.err);
    assert_eq!(ran.seen.status.phase, Phase::Failed);
    // Exactly the allowed number, `sh` included.
    let exact = Bed::with(|settings| settings.pids = 20);
    let count = "n=0; while sleep 1000 & do n=$((n+1)); echo $n; [ $n -lt 19 ] || exit 0; done";
    assert_eq!(exact.run(script(count)).out.lines().last(), Some("19"));
    let more = count.replace("-lt 19", "-lt 20");
    assert_eq!(exact.run(script(&more)).out.lines().last(), Some("19"));
}

#[test]
fn memory_is_enough_up_to_the_limit_and_not_beyond() {
    let bed = Bed::new();
    let limited = || ResourceSpec { memory: Some("32Mi".into()), ..ResourceSpec::default() };
    let hold = |size: u64| script(&format!("head -c {size} /dev/zero | tail -c {size} >/dev/null"));
    assert_eq!(bed.run(with(limited(), hold(20_000_000))).seen.status.phase, Phase::Succeeded);
    let ran = bed.run(with(limited(), hold(40_000_000)));
    assert_eq!(ran.seen.status.reason, Some(Reason::OOMKilled), "{:?}", ran.seen.status);
}

#[test]
fn shared_memory_is_bounded_and_counts() {
    let bed = Bed::new();
    let resources =
        ResourceSpec { memory: Some("64Mi".into()), shm: Some("8Mi".into()), ..ResourceSpec::default() };
    let ran = bed.run(with(
        resources,
        script("head -c 8388608 /dev/zero >/dev/shm/a && echo fits; echo x >/dev/shm/b; cat /dev/shm/b"),
    ));
    assert_eq!(ran.out, "fits\n");
}

#[test]
fn a_disk_that_is_filled_up_ends_the_job() {
    let bed = Bed::new();
    let limited = || ResourceSpec { ephemeral_storage: Some("16Mi".into()), ..ResourceSpec::default() };
    let ran = bed.run(with(
        limited(),
        script("head -c 15728640 /dev/zero >/tmp/a; head -c 102400 /dev/zero >b; sleep 0.5; echo ok"),
    ));
    assert_eq!((ran.seen.status.phase, ran.out.as_str()), (Phase::Succeeded, "ok\n"));
    let ran = bed.run(with(
        limited(),
        script("head -c 9437184 /dev/zero >/tmp/a; head -c 9437184 /dev/zero >/var/tmp/b; sleep 20; echo no"),
    ));
    let status = &ran.seen.status;
    assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::Evicted)), "{status:?}");
    assert_eq!(ran.out, "");
    let hidden = "exec 3>/tmp/a; rm /tmp/a; head -c 41943040 /dev/zero >&3; sleep 20; echo no";
    let ran = bed.run(with(limited(), script(hidden)));
    assert_eq!(ran.seen.status.reason, Some(Reason::Evicted), "an unlinked file");
    // The job is evicted before it has written much more than its limit.
    let ran = bed.run(with(limited(), script("head -c 4294967296 /dev/zero >/tmp/a; sleep 20; echo no")));
    assert_eq!(ran.seen.status.reason, Some(Reason::Evicted));
}

/// Asserts that a script that writes more than one mebibyte is evicted.
fn is_thrown_out(text: &str) {
    let limited = ResourceSpec { ephemeral_storage: Some("1Mi".into()), ..ResourceSpec::default() };
    let ran = Bed::new().run(with(limited, script(text)));
    assert_eq!(ran.seen.status.reason, Some(Reason::Evicted), "{:?}", ran.seen.status);
}

#[test]
fn files_count_though_nothing_is_in_them() {
    is_thrown_out("cd /tmp; seq 1 8000 | xargs touch; sleep 20");
}

#[test]
fn whoever_closes_their_tmp_has_not_filled_it() {
    let bed = Bed::new();
    assert_eq!(bed.run(script("chmod 000 /tmp")).seen.status.phase, Phase::Succeeded);
    let ran = bed.run(script("chmod 000 /tmp; sleep 1; echo finished"));
    assert_eq!(
        (ran.seen.status.phase, ran.out.as_str()),
        (Phase::Succeeded, "finished\n"),
        "{:?}",
        ran.seen.status
    );
}

#[test]
fn many_small_files_are_as_bad_as_one() {
    is_thrown_out("for i in $(seq 400); do echo x >f$i; done; sleep 20");
}
