//! Lost responses: a retry never creates a job twice.

use super::proxy::{Fate, before};
use super::script::{answer, header, job, serve};
use super::server::{Plan, Server};
use super::{HELLO, runway_at};

/// Returns the idempotency key in the hint of a failed submission.
fn key(stderr: &str) -> &str {
    stderr.split_once("--key ").unwrap().1.split('`').next().unwrap()
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let server = Server::start(Plan::default());
    let url = before(server.address, vec![Fate::Lost, Fate::Cut(20), Fate::Passes]);
    let ran = runway_at(&url, &["submit", HELLO]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let landed = server.landed();
    assert_eq!(landed.len(), 1);
    assert!(ran.stdout.starts_with(&format!("{}: already exists: hello ", landed[0])), "{}", ran.stdout);
    assert!(ran.stderr.contains("retrying for up to 60 s"), "{}", ran.stderr);
}

#[test]
fn where_the_answer_stays_away_the_key_goes_on() {
    let server = Server::start(Plan::default());
    let url = before(server.address, vec![Fate::Lost]);
    let ran = runway_at(&url, &["submit", HELLO, "--retry-for", "1s"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
    assert!(ran.stderr.contains("the job may have been submitted"), "{}", ran.stderr);
    let again = runway_at(&server.url(), &["submit", HELLO, "--key", key(&ran.stderr)]);
    assert_eq!(again.code, 0);
    assert!(again.stdout.contains(": already exists: "), "{}", again.stdout);
    assert_eq!(server.landed().len(), 1);
}

#[test]
fn a_server_that_is_not_there_is_told_of() {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let ran = runway_at(&nobody, &["submit", HELLO, "fixtures/jobs/smoke-test.yaml", "--retry-for", "1s"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (4, ""));
    assert!(ran.stderr.contains(&format!("no response from {nobody}: ")), "{}", ran.stderr);
    assert!(ran.stderr.contains("smoke-test.yaml: not sent: the server is unreachable"), "{}", ran.stderr);
    assert_eq!(key(&ran.stderr).len(), 32);
    for command in [&["ls"][..], &["usage"], &["status", "000000000000"], &["logs", "000000000000"]] {
        let ran = runway_at(&nobody, command);
        assert_eq!((ran.code, ran.stdout.as_str()), (4, ""), "{command:?}");
        assert!(ran.stderr.starts_with(&format!("error: no response from {nobody}: ")), "{}", ran.stderr);
    }
}

#[test]
fn a_server_that_is_away_is_tried_again_under_the_same_key() {
    let away = br#"{"title":"Away","detail":"soon back","instance":"1"}"#;
    let at_work = br#"{"title":"Conflict","detail":"at work","instance":"2"}"#;
    let (url, requests) = serve(vec![
        answer("503 Service Unavailable", "Retry-After: 1\r\n", away),
        answer("409 Conflict", "Retry-After: 1\r\n", at_work),
        answer("502 Bad Gateway", "", b"<html>"),
        answer("201 Created", "", job("4d5c9fa91db4", "pending").as_bytes()),
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
fn a_refusal_is_not_tried_again() {
    let refused = br#"{"title":"Submitted too fast","detail":"slow down","instance":"1"}"#;
    for (status, code) in [("429 Too Many Requests", 1), ("422 Unprocessable", 1), ("500 Internal", 4)] {
        let (url, requests) = serve(vec![answer(status, "Retry-After: 7\r\n", refused)]);
        let ran = runway_at(&url, &["submit", HELLO]);
        assert_eq!(ran.code, code);
        assert!(ran.stderr.contains("retry in 7 s"), "{}", ran.stderr);
        assert_eq!(requests.try_iter().count(), 1);
    }
}
