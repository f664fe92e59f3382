//! The log with `--log-format json` has one JSON object per line. At no level does it contain a secret or the
//! value of a variable.

use crate::start_program;
use runway_testing::paths::TempDir;
use runway_testing::policies::UNLIMITED;
use runway_testing::wire::{RawConnection, exchange, get, post, request};
use rustix::process::Signal;

#[tokio::test]
async fn secret_and_env_values_are_never_logged() {
    let dir = TempDir::new("secrecy");
    dir.write("policy.yaml", UNLIMITED);
    let flags = [
        "--log",
        "trace,hyper=trace,kube=trace,kube_client=trace,tower=trace,h2=trace",
        "--shutdown-delay",
        "1s",
    ];
    let mut process = start_program(&dir, &flags).await;
    let address = process.address;
    let job = r#"{"name":"quiet","tenant":"search","image":"registry.internal/embed:1.8.0","env":{"A":"hush-env"},"secrets":{"B":"hush-secret"}}"#;
    let cut = &job[..job.len() - 3];
    let misplaced = job.replace("secrets", "secretz").replace("env", "enf");
    let refused = job.replace(r#""name""#, r#""resources":{"cpu":"99"},"name""#);
    let reserved = job.replace(r#""B""#, r#""RUNWAY_B""#);
    let yaml =
        "name: quiet\ntenant: search\nimage: registry.internal/embed:1.8.0\nsecrets: {B: \"hush-secret\n";
    for route in ["/v1/jobs", "/v1/quotes", "/v1/quotes?manifest=true"] {
        for body in [job, cut, &misplaced, &refused, &reserved] {
            let answer = exchange(address, post(route, "", body)).await;
            assert!(answer.status >= 200);
            // The manifest contains the values of variables, but no secrets.
            let hidden = if route.contains("manifest") { "hush-secret" } else { "hush" };
            assert!(!answer.text().contains(hidden), "{route} {body}: {}", answer.text());
        }
        let answer =
            exchange(address, request("POST", route, "Content-Type: application/yaml\r\n", yaml)).await;
        assert!(!answer.text().contains("hush"), "{}", answer.text());
    }
    // Send a truncated body, an oversized body, and a body after a malformed head.
    let mut wire = RawConnection::connect(address).await.unwrap();
    let whole = post("/v1/jobs", "", job);
    wire.send(&whole[..whole.len() - 2]).await.unwrap();
    wire.shut_down_write().await.unwrap();
    wire.response().await;
    exchange(address, post("/v1/jobs", "", &format!("{job}{}", "\"hush-large\"".repeat(30_000)))).await;
    exchange(address, post("/v1/jobs", "Bad Header: x\r\n", job)).await;
    exchange(address, get("/healthz")).await;
    process.signal(Signal::TERM);
    assert_eq!(process.wait_for_exit().await.code(), Some(0));
    let log = process.log();
    for line in &log {
        assert!(!line.contains("hush"), "{line}");
        assert!(!line.contains("the-secret-token"), "{line}");
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    // The log contains lines of the TRACE level and of hyper, and one audit line for each of 8 submissions.
    let has = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert!(has(r#""level":"TRACE""#) > 0 && has(r#""target":"hyper"#) > 0, "{log:#?}");
    assert_eq!(has(r#""target":"runway::audit""#), 8, "{log:#?}");
}

#[tokio::test]
async fn audit_line_has_request_and_trace_id() {
    let dir = TempDir::new("names");
    dir.write("policy.yaml", UNLIMITED);
    let mut process = start_program(&dir, &[]).await;
    let (id, trace) = ("nightly-7", "4bf92f3577b34da6a3ce929d0e0e4736");
    let headers = format!("X-Request-ID: {id}\r\nTraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    exchange(process.address, post("/v1/jobs", &headers, "{}")).await;
    exchange(process.address, post("/v1/jobs", "", "{}")).await;
    process.signal(Signal::TERM);
    assert_eq!(process.wait_for_exit().await.code(), Some(0));
    let lines: Vec<serde_json::Value> =
        process.log().iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let [from_client, generated] = lines
        .iter()
        .filter(|line| line["target"] == "runway::audit")
        .collect::<Vec<_>>()
        .try_into()
        .unwrap_or_else(|_| panic!("{lines:#?}"));
    assert_eq!(
        (&from_client["request"], &from_client["trace"]),
        (&id.into(), &trace.into()),
        "{from_client}"
    );
    assert_eq!(generated["request"], generated["trace"], "{generated}");
    assert_eq!(generated["trace"].as_str().map(str::len), Some(32), "{generated}");
}
