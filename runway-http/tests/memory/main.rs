//! The memory of the server does not grow with the number of tenants. This test runs in its own process, so
//! that it measures nothing else.

#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![allow(clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

use runway_testing::policies;
use runway_testing::server::{Harness, ServerSetup};
use runway_testing::wire::{get, metric, post};
use std::io::{Read, Write};

/// Returns the resident memory of this process in KiB.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Sends one submission for each tenant in the range, over eight connections. All submissions are refused.
async fn submit_as_each(harness: &Harness, tenants: std::ops::Range<u32>) {
    let request = |n: u32| {
        post("/v1/jobs", &format!("X-Tenant-ID: a-tenant-whose-name-is-fairly-long-{n:06}\r\n"), "{}")
    };
    let lanes = 8;
    let all = (0..lanes).map(|lane| {
        let (address, tenants) = (harness.address, tenants.clone());
        tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            let mut answer = vec![0; 16 * 1024];
            for n in tenants.filter(|n| n % lanes == lane) {
                stream.write_all(request(n).as_bytes()).unwrap();
                // The test does not parse the response, because parsing takes longer than creating it. The
                // response ends with the list of violations, so `]}` marks its end.
                let mut length = 0;
                while !answer[..length].ends_with(b"]}") {
                    let more = stream.read(&mut answer[length..]).unwrap();
                    assert!(more > 0);
                    length += more;
                }
                assert!(answer.starts_with(b"HTTP/1.1 400 "));
            }
        })
    });
    for lane in all.collect::<Vec<_>>() {
        lane.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_tenants() {
    // Under this policy, each tenant has its own rate limit, and all tenants together can hold ten jobs.
    let policy =
        policies::UNLIMITED.replace("concurrent_jobs: 100000, rate_limit", "concurrent_jobs: 10, rate_limit");
    let harness =
        Harness::start(ServerSetup { policy, ..ServerSetup::default() }, |_, backend| backend).await;
    submit_as_each(&harness, 0..20_000).await;
    let before = resident_kib();
    submit_as_each(&harness, 20_000..100_000).await;
    let after = resident_kib();
    println!("{before} KiB after 20,000 tenants, {after} KiB after 100,000");
    // The second step adds 80,000 tenants. 60 bytes per tenant would already exceed the limit of 4 MiB.
    assert!(after < before + 4 * 1024, "{before} KiB grew to {after} KiB");
    let metrics = harness.metrics().await;
    let refused = metric(&metrics, r#"runway_submissions_total{outcome="refused",code="missing-field"}"#);
    assert_eq!(refused, 100_000, "{metrics}");
    assert!(metrics.len() < 64 * 1024, "{}", metrics.len());
    assert_eq!(harness.exchange(get("/v1/tenants/another")).await.status, 200);
}
