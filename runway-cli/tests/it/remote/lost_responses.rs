//! Retries of `runway submit` after lost responses and other errors. A retry never creates a job twice.

use super::proxy::{Delivery, start_proxy};
use super::scripted_server::{header, job, response, serve_responses};
use super::server::{Server, ServerConfig};
use super::{HELLO, runway_at};

/// Returns the idempotency key from the hint that a failed `runway submit` prints.
fn key_in_hint(stderr: &str) -> &str {
    stderr.split_once("--idempotency-key ").unwrap().1.split('`').next().unwrap()
}

#[test]
fn submit_is_retried_after_a_lost_response() {
    let server = Server::start(ServerConfig::default());
    let url = start_proxy(server.address, vec![Delivery::Lost, Delivery::Truncated(20), Delivery::Complete]);
    let ran = runway_at(&url, &["submit", HELLO]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let created_jobs = server.created_jobs();
    assert_eq!(created_jobs.len(), 1);
    assert!(
        ran.stdout.starts_with(&format!("{}: already exists: hello ", created_jobs[0])),
        "{}",
        ran.stdout
    );
    assert!(ran.stderr.contains("retrying for up to 60 s"), "{}", ran.stderr);
}

#[test]
fn submit_resumes_with_the_key_after_lost_responses() {
    let server = Server::start(ServerConfig::default());
    let url = start_proxy(server.address, vec![Delivery::Lost]);
    let ran = runway_at(&url, &["submit", HELLO, "--retry-for", "1s"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
    assert!(ran.stderr.contains("the job may have been submitted"), "{}", ran.stderr);
    let again = runway_at(&server.url(), &["submit", HELLO, "--idempotency-key", key_in_hint(&ran.stderr)]);
    assert_eq!(again.code, 0);
    assert!(again.stdout.contains(": already exists: "), "{}", again.stdout);
    assert_eq!(server.created_jobs().len(), 1);
}

#[test]
fn unreachable_server_is_reported() {
    let unused_url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let ran =
        runway_at(&unused_url, &["submit", HELLO, "fixtures/jobs/smoke-test.yaml", "--retry-for", "1s"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
    assert!(ran.stderr.contains(&format!("no response from {unused_url}: ")), "{}", ran.stderr);
    assert!(ran.stderr.contains("smoke-test.yaml: not sent: the server is unreachable"), "{}", ran.stderr);
    assert_eq!(key_in_hint(&ran.stderr).len(), 32);
    for command in [&["ls"][..], &["usage"], &["status", "000000000000"], &["logs", "000000000000"]] {
        let ran = runway_at(&unused_url, command);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{command:?}");
        assert!(ran.stderr.starts_with(&format!("error: no response from {unused_url}: ")), "{}", ran.stderr);
    }
}

#[test]
fn submit_retries_an_unavailable_server_with_one_key() {
    let unavailable = br#"{"title":"Away","detail":"soon back","instance":"1"}"#;
    let in_progress = br#"{"title":"Conflict","detail":"at work","instance":"2"}"#;
    let (url, requests) = serve_responses(vec![
        response("503 Service Unavailable", "Retry-After: 1\r\n", unavailable),
        response("409 Conflict", "Retry-After: 1\r\n", in_progress),
        response("502 Bad Gateway", "", b"<html>"),
        response("201 Created", "", job("4d5c9fa91db4", "pending").as_bytes()),
    ]);
    let began = std::time::Instant::now();
    let ran = runway_at(&url, &["submit", HELLO, "--tenant", "search"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(began.elapsed().as_secs() >= 2);
    let requests: Vec<_> = (0..4).map(|_| requests.recv().unwrap()).collect();
    let keys: Vec<_> = requests.iter().map(|request| header(request, "Idempotency-Key").unwrap()).collect();
    assert!(keys.iter().all(|key| *key == keys[0] && key.len() == 32), "{keys:?}");
    assert_eq!(header(&requests[0], "X-Tenant-ID"), Some("search"));
    assert_eq!(header(&requests[0], "Content-Type"), Some("application/json"));
}

#[test]
fn refusal_is_not_retried() {
    let refused = br#"{"title":"Submitted too fast","detail":"slow down","instance":"1"}"#;
    for (status, code) in [("429 Too Many Requests", 1), ("422 Unprocessable", 1), ("500 Internal", 4)] {
        let (url, requests) = serve_responses(vec![response(status, "Retry-After: 7\r\n", refused)]);
        let ran = runway_at(&url, &["submit", HELLO]);
        assert_eq!(ran.code, code);
        assert!(ran.stderr.contains("retry in 7 s"), "{}", ran.stderr);
        assert_eq!(requests.try_iter().count(), 1);
    }
}
