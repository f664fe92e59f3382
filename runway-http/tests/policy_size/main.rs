//! A large policy loads quickly and needs little memory. This test runs in its own process, so that it
//! measures nothing else.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use runway_http::reload::{LoadError, PolicySource};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const TENANTS: usize = 10_000;
const CLASSES: usize = 20;

/// Returns a value in KiB from the memory statistics of this process.
fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Returns a policy in which every tenant has a quota, a rate limit and bounds.
fn large_policy() -> String {
    let mut text = "version: 1
limits:
  cpu: {max: '4', default: 500m}
  memory: {max: 8Gi, default: 512Mi}
  gpu: {max: 8}
  timeout: {max: 1h, default: 10m}
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
classes:
"
    .to_owned();
    for n in 1..=CLASSES {
        writeln!(
            text,
            "  class_{n}: {{cpu: {{max: '{n}'}}, memory: {{max: {n}Gi}}, timeout: {{max: {n}h}}}}"
        )
        .unwrap();
    }
    text += "unknown_tenants: deny\ntenants:\n";
    for n in 0..TENANTS {
        writeln!(
            text,
            "  team-{n:05}: {{cpu: {{max: '2'}}, quota: {{gpus: 4, concurrent_jobs: 20}}, rate_limit: {{per_minute: 120, burst: 20}}}}"
        )
        .unwrap();
    }
    text + "...\n"
}

fn write(name: &str, text: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn policy_with_10000_tenants_loads_in_100_mib() {
    let path = write("large-policy.yaml", &large_policy());
    let mut source = PolicySource::new(path).unwrap();
    let (before, began) = (memory_kib("VmRSS:"), Instant::now());
    let policy = source.load().await.unwrap();
    let (took, peak, after) = (began.elapsed(), memory_kib("VmHWM:"), memory_kib("VmRSS:"));
    println!("{took:?}, {before} KiB before, {peak} KiB at most, {after} KiB after");
    assert!(peak < before + 100 * 1024, "{before} KiB grew to {peak} KiB");
    // A debug build is slower than the program.
    if !cfg!(debug_assertions) {
        assert!(took <= Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(policy.listed_tenants().count(), TENANTS);
    let last = policy.limits(Some("team-09999"), Some("class_20")).unwrap();
    assert_eq!(
        (last.cpu.max.value.to_string().as_str(), &*last.cpu.max.source),
        ("2", "tenants.team-09999.cpu.max")
    );
    assert_eq!(last.memory.max.value.to_string(), "20Gi");
    // A file above the size limit is not read, even if it is sparse.
    let path = write("huge-policy.yaml", "");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(1 << 30).unwrap();
    let error = PolicySource::new(path.clone()).unwrap().load().await.unwrap_err();
    std::fs::remove_file(path).unwrap();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
    // An endless file has no size, so only a part of it is read.
    let error = PolicySource::new("/dev/zero".into()).unwrap().load().await.unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
}
