//! Tests of the output of jobs and of its readers.

use crate::harness::{Harness, command, script, wait_finished};
use runway_core::JobSpec;
use runway_core::spec::ResourceSpec;
use runway_core::status::Phase;
use runway_core::units::MemoryBytes;
use runway_local::Stream;
use runway_testing::machine;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

#[test]
fn output_bytes_are_unchanged() {
    let harness = Harness::new();
    let job = harness.start(script(r"printf '\377\000\200abc'; printf '\303' >&2"));
    wait_finished(&job);
    let mut all = Vec::new();
    job.reader().unwrap().read_to_end(&mut all).unwrap();
    all.sort_unstable();
    assert_eq!(all, [0, b'a', b'b', b'c', 0x80, 0xc3, 0xff]);
}

#[test]
fn reader_resumes_at_any_offset() {
    let harness = Harness::new();
    let job = harness.start(script("seq 1000"));
    wait_finished(&job);
    let mut all = String::new();
    job.reader().unwrap().read_to_string(&mut all).unwrap();
    for offset in [0, 1, 1000, all.len() - 1, all.len()] {
        let mut rest = String::new();
        job.reader_at(u64::try_from(offset).unwrap()).unwrap().read_to_string(&mut rest).unwrap();
        assert_eq!(Some(rest.as_str()), all.get(offset..));
    }
}

#[test]
fn fifty_readers_read_everything_despite_stalls() {
    let harness = Harness::new();
    let lines: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    let job = harness.start(script("for i in 1 2 3 4; do seq $((i*5000-4999)) $((i*5000)); sleep 0.1; done"));
    let stalled: Vec<_> = (0..10)
        .map(|_| {
            let mut reader = job.reader().unwrap();
            reader.next_blocking().unwrap();
            reader
        })
        .collect();
    thread::scope(|scope| {
        for i in 0..40u64 {
            let (job, lines) = (&job, &lines);
            scope.spawn(move || {
                let mut reader = job.reader().unwrap();
                let mut text = Vec::new();
                while let Some(chunk) = reader.next_blocking().unwrap() {
                    assert_eq!(chunk.offset, u64::try_from(text.len()).unwrap());
                    text.extend_from_slice(&chunk.bytes);
                    if i % 4 == 0 {
                        thread::yield_now();
                    }
                }
                assert_eq!(text, lines.as_bytes());
            });
        }
    });
    assert_eq!(wait_finished(&job).snapshot.status.phase, Phase::Succeeded);
    for mut reader in stalled {
        // A stalled reader receives all output after its first chunk.
        let mut rest = Vec::new();
        let read = usize::try_from(reader.offset()).unwrap();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, &lines.as_bytes()[read..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn async_readers_read_both_streams() {
    let harness = Harness::new();
    let job = harness.start(script("for i in 1 2 3; do echo $i; sleep 0.05; done; echo oh >&2"));
    let mut readers: Vec<_> = (0..20).map(|_| job.reader().unwrap()).collect();
    let tasks: Vec<_> = readers
        .drain(..)
        .map(|mut reader| {
            tokio::spawn(async move {
                let mut text = String::new();
                while let Some(chunk) = reader.next().await.unwrap() {
                    let mark = if chunk.stream == Stream::Stderr { "!" } else { "" };
                    text.push_str(mark);
                    text.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
                }
                text
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), "1\n2\n3\n!oh\n");
    }
    wait_finished(&job);
}

#[test]
fn try_next_returns_none_without_output() {
    let harness = Harness::new();
    let job = harness.start(script("echo one; sleep 60"));
    let mut reader = job.reader().unwrap();
    assert_eq!(&*reader.next_blocking().unwrap().unwrap().bytes, b"one\n");
    while reader.try_next().unwrap().is_some() {}
    assert_eq!(reader.try_next().unwrap(), None);
    job.kill().unwrap();
    wait_finished(&job);
}

/// Returns the peak memory of a process, in bytes.
fn peak_memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024)
}

#[test]
fn two_gibibytes_of_output_use_little_memory() {
    let harness = Harness::with_settings(|settings| settings.max_log_bytes = MemoryBytes::new(4 << 30));
    let storage = ResourceSpec { ephemeral_storage: Some("8Gi".into()), ..ResourceSpec::default() };
    let job = harness.start(JobSpec { resources: storage, ..command(&["head", "-c", "2G", "/dev/zero"]) });
    let supervisor = machine::pid_of(&harness.job_dir(job.id()), "supervisor");
    let (most, read) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut reader = job.reader().unwrap();
    while let Some(chunk) = reader.next_blocking().unwrap() {
        assert!(chunk.bytes.len() <= 64 * 1024);
        read.fetch_add(u64::try_from(chunk.bytes.len()).unwrap(), Ordering::Relaxed);
        if chunk.offset % (64 << 20) == 0 {
            most.fetch_max(peak_memory(supervisor), Ordering::Relaxed);
        }
    }
    assert_eq!(read.into_inner(), 2 << 30);
    let most = most.into_inner();
    assert!((1..16 << 20).contains(&most), "{most}");
    let snapshot = job.wait(None).unwrap();
    assert_eq!(snapshot.status.phase, Phase::Succeeded, "{:?}", snapshot.status);
}

#[test]
fn output_is_cut_at_its_limit_and_the_job_continues() {
    let harness = Harness::new();
    // Half of the 2 MiB of storage is available for output.
    let storage = ResourceSpec { ephemeral_storage: Some("2Mi".into()), ..ResourceSpec::default() };
    let spec = JobSpec {
        resources: storage,
        ..script("head -c 3M /dev/zero; echo ok >/tmp/x; cat /tmp/x >&2; exit 4")
    };
    let job = harness.start(spec);
    let ran = wait_finished(&job);
    assert_eq!(ran.snapshot.status.exit_code, Some(4));
    assert_eq!(ran.stdout.len(), (1 << 20) - 16, "the index counts towards the limit");
    assert!(ran.stderr.contains("[runway: output limit reached"), "{}", ran.stderr);
    let dropped = (3 << 20) - ran.stdout.len() + "ok\n".len();
    assert!(ran.stderr.contains(&format!("{dropped} bytes of output were discarded")), "{}", ran.stderr);
}
