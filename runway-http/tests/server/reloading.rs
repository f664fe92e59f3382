//! Reloads of the policy and the TLS files.

use crate::start_program;
use runway_testing::paths::TempDir;
use runway_testing::policies::UNLIMITED;
use runway_testing::process::ServerProcess;
use runway_testing::tls::{Authority, TlsClient, write_tls_files};
use runway_testing::wire::{exchange, get, metric, wait_until};
use rustix::process::Signal;
use std::os::unix::fs::symlink;
use std::time::Duration;

async fn cpu_max(process: &ServerProcess) -> String {
    let answer = exchange(process.address, get("/v1/policy")).await;
    answer.json()["limits"]["cpu"]["max"].as_str().unwrap().to_owned()
}

fn with_cpu(max: &str) -> String {
    UNLIMITED.replace("max: \"4\"", &format!("max: \"{max}\""))
}

async fn reloads(process: &ServerProcess, result: &str) -> u64 {
    let metrics = exchange(process.address, get("/metrics")).await.text();
    metric(&metrics, &format!(r#"runway_policy_reloads_total{{result="{result}"}}"#))
}

async fn is_current(process: &ServerProcess) -> bool {
    let metrics = exchange(process.address, get("/metrics")).await.text();
    metric(&metrics, "runway_policy_last_reload_successful") == 1
}

/// An alert uses the metric `runway_policy_last_reload_successful`. The metric must be 0 exactly while the
/// file is not the active policy.
#[tokio::test]
async fn reload_metric_is_0_while_the_policy_file_is_bad() {
    let dir = TempDir::new("policy-current");
    let policy = dir.write("policy.yaml", with_cpu("4"));
    let process = start_program(&dir, &[]).await;
    assert!(is_current(&process).await);
    dir.write("policy.yaml", "version: 1");
    wait_until("the bad policy to be rejected", async || !is_current(&process).await).await;
    // Delete the file, and restore its bad content. The metric must stay 0.
    std::fs::remove_file(&policy).unwrap();
    wait_until("the missing file to be counted", async || reloads(&process, "failed").await == 2).await;
    dir.write("policy.yaml", "version: 1");
    process.signal(Signal::HUP);
    wait_until("the reload to be counted", async || reloads(&process, "failed").await == 3).await;
    assert!(!is_current(&process).await);
    dir.write("policy.yaml", with_cpu("4"));
    wait_until("the good policy to be active", async || is_current(&process).await).await;
    std::fs::remove_file(&policy).unwrap();
    wait_until("the missing file to be noticed", async || !is_current(&process).await).await;
    dir.write("policy.yaml", with_cpu("4"));
    wait_until("the policy to be active again", async || is_current(&process).await).await;
    assert_eq!(reloads(&process, "applied").await, 1, "an unchanged policy is not activated again");
}

/// The second half of a policy. The first half is a valid policy as well, and accepts every tenant.
const SECOND_HALF: &str = "unknown_tenants: deny\ntenants: {search: {}}\n";

/// Returns the status for a tenant that only the first half of the policy accepts.
async fn status_of_stranger(process: &ServerProcess) -> u16 {
    exchange(process.address, get("/v1/tenants/stranger")).await.status
}

#[tokio::test]
async fn half_written_policy_is_not_activated() {
    let dir = TempDir::new("policy-half");
    let policy = dir.write("policy.yaml", with_cpu("4") + SECOND_HALF);
    let process = start_program(&dir, &[]).await;
    assert_eq!(status_of_stranger(&process).await, 404);
    // The file is written in place, with a pause in the middle.
    std::fs::write(&policy, with_cpu("8")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    std::fs::write(&policy, with_cpu("8") + SECOND_HALF).unwrap();
    wait_until("the whole policy to be active", async || {
        assert_eq!(status_of_stranger(&process).await, 404);
        cpu_max(&process).await == "8"
    })
    .await;
    assert_eq!((reloads(&process, "applied").await, reloads(&process, "failed").await), (1, 0));
}

#[tokio::test]
async fn end_marker_keeps_out_a_half_written_policy() {
    let dir = TempDir::new("policy-marker");
    let whole = |max: &str| with_cpu(max) + SECOND_HALF + "...\n";
    let policy = dir.write("policy.yaml", whole("4"));
    let mut process = start_program(&dir, &[]).await;
    std::fs::write(&policy, with_cpu("8")).unwrap();
    wait_until("the half to be rejected", async || reloads(&process, "failed").await == 1).await;
    assert!(!is_current(&process).await);
    // SIGHUP does not activate the half either.
    process.signal(Signal::HUP);
    wait_until("the half to be rejected again", async || reloads(&process, "failed").await == 2).await;
    assert_eq!((status_of_stranger(&process).await, cpu_max(&process).await.as_str()), (404, "4"));
    process
        .wait_for_log("the cause", |line| line["error"].as_str()?.contains("half-written").then_some(()))
        .await;
    std::fs::write(&policy, whole("8")).unwrap();
    wait_until("the whole policy to be active", async || cpu_max(&process).await == "8").await;
    assert_eq!(status_of_stranger(&process).await, 404);
    wait_until("the file to be current", async || is_current(&process).await).await;
}

#[tokio::test]
async fn sighup_reloads_policy_and_rejects_bad_ones() {
    let dir = TempDir::new("policy-hangup");
    let policy = dir.write("policy.yaml", with_cpu("4"));
    let mut process = start_program(&dir, &[]).await;
    assert_eq!(cpu_max(&process).await, "4");
    assert_eq!((reloads(&process, "applied").await, reloads(&process, "failed").await), (0, 0));
    let first = exchange(process.address, get("/v1/policy")).await;
    let etag = first.header("etag").unwrap().to_owned();

    dir.write("policy.yaml", with_cpu("8"));
    process.signal(Signal::HUP);
    process
        .wait_for_log("the changed bound", |line| {
            (line["at"] == "limits.cpu.max" && line["after"] == "\"8\"").then_some(())
        })
        .await;
    wait_until("the new policy to be active", async || cpu_max(&process).await == "8").await;
    let second = exchange(process.address, get("/v1/policy")).await;
    assert_ne!(second.header("etag").unwrap(), etag);

    // These policies are invalid YAML, a maximum below the minimum, an empty file, and a NUL byte. For each,
    // the active policy stays.
    for (n, bad) in ["version: 1\nlimits: [", &with_cpu("1m"), "", "\0"].iter().enumerate() {
        let before = reloads(&process, "failed").await;
        dir.write("policy.yaml", bad);
        process.signal(Signal::HUP);
        wait_until("the error to be logged", async || reloads(&process, "failed").await > before).await;
        assert_eq!(cpu_max(&process).await, "8", "{n}");
    }
    std::fs::remove_file(&policy).unwrap();
    let before = reloads(&process, "failed").await;
    process.signal(Signal::HUP);
    wait_until("the error to be logged", async || reloads(&process, "failed").await > before).await;
    assert_eq!(cpu_max(&process).await, "8");
    let reload_error = |line: &serde_json::Value| {
        let is_reload_error =
            line["message"] == "policy reload failed; the active policy stays" && line["level"] == "ERROR";
        is_reload_error.then(|| line["error"].as_str().unwrap().to_owned())
    };
    assert!(process.wait_for_log("the reload error", reload_error).await.contains("is invalid"));

    // A changed namespace requires a restart, so the reload fails.
    let applied = reloads(&process, "applied").await;
    dir.write("policy.yaml", format!("{}run: {{namespace: elsewhere}}\n", with_cpu("2")));
    process.signal(Signal::HUP);
    process
        .wait_for_log("the namespace", |line| line["error"].as_str()?.contains("namespace").then_some(()))
        .await;
    assert_eq!((cpu_max(&process).await.as_str(), reloads(&process, "applied").await), ("8", applied));
}

/// The kubelet updates a mounted ConfigMap by replacing a symbolic link. This test does the same.
#[tokio::test]
async fn symlinked_policy_reloads_when_the_link_changes() {
    let dir = TempDir::new("policy-link");
    for (version, max) in [("..1", "4"), ("..2", "6")] {
        std::fs::create_dir(dir.path(version)).unwrap();
        dir.write(&format!("{version}/policy.yaml"), with_cpu(max));
    }
    symlink("..1", dir.path("..data")).unwrap();
    symlink("..data/policy.yaml", dir.path("policy.yaml")).unwrap();
    let process = start_program(&dir, &[]).await;
    assert_eq!(cpu_max(&process).await, "4");
    symlink("..2", dir.path("..data.new")).unwrap();
    std::fs::rename(dir.path("..data.new"), dir.path("..data")).unwrap();
    wait_until("the new policy to be active", async || cpu_max(&process).await == "6").await;
    // A bad policy is logged and counted once, although it is polled repeatedly.
    dir.write("..2/policy.yaml", "version: 2");
    wait_until("the error to be logged", async || reloads(&process, "failed").await == 1).await;
    std::fs::remove_dir_all(dir.path("..1")).unwrap();
    dir.write("..2/policy.yaml", with_cpu("7"));
    wait_until("the next policy to be active", async || cpu_max(&process).await == "7").await;
    wait_until("the reload to be counted", async || reloads(&process, "applied").await == 2).await;
    assert_eq!(reloads(&process, "failed").await, 1);
}

#[tokio::test]
async fn sighup_reloads_tls_and_ops_needs_no_certificate() {
    let dir = TempDir::new("tls");
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = write_tls_files(&dir, &servers.server(), Some(&clients));
    dir.write("policy.yaml", UNLIMITED);
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (certificate, key, ca) =
        (text(&files.certificate), text(&files.key), text(&files.client_ca.unwrap()));
    let flags =
        ["--listen-ops", "127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key, "--client-ca", &ca];
    let mut process = start_program(&dir, &flags).await;
    let (address, ops) = (process.address, process.ops.unwrap());

    // The address of `--listen-ops` requires no certificate. It serves only the probes and the metrics.
    assert_eq!(exchange(ops, get("/healthz")).await.status, 200);
    assert_eq!(exchange(ops, get("/metrics")).await.status, 200);
    assert_eq!(exchange(ops, get("/readyz")).await.problem(), "not-ready");
    for path in ["/v1/jobs", "/v1/policy", "/docs", "/openapi.json"] {
        assert_eq!(exchange(ops, get(path)).await.problem(), "not-found", "{path}");
    }
    let admin = clients.client(&["admin"]);
    let before = TlsClient::new(&servers, Some(&admin));
    assert_eq!(before.status(address, &get("/v1/policy")).await.unwrap(), 200);
    let mut open = before.connect(address).await.unwrap();
    assert_eq!(open.exchange(get("/v1/policy")).await.status, 200);

    // Invalid files do not replace the active configuration.
    dir.write("server.key", "no key");
    process.signal(Signal::HUP);
    process
        .wait_for_log("the bad key", |line| line["message"].as_str()?.contains("stay").then_some(()))
        .await;
    assert_eq!(before.status(address, &get("/v1/policy")).await.unwrap(), 200);

    // Replace both authorities. Open connections stay open, and new connections use the new authorities.
    let (servers, clients) = (Authority::new("new servers"), Authority::new("new clients"));
    write_tls_files(&dir, &servers.server(), Some(&clients));
    process.signal(Signal::HUP);
    let reloaded = |line: &serde_json::Value| (line["message"] == "TLS files reloaded").then_some(());
    process.wait_for_log("the TLS reload", reloaded).await;
    assert_eq!(open.exchange(get("/v1/policy")).await.status, 200);
    assert!(before.status(address, &get("/v1/policy")).await.is_err());
    assert!(TlsClient::new(&servers, Some(&admin)).status(address, &get("/v1/policy")).await.is_err());
    let admin = clients.client(&["admin"]);
    let now = TlsClient::new(&servers, Some(&admin));
    assert_eq!(now.status(address, &get("/v1/policy")).await.unwrap(), 200);
}
