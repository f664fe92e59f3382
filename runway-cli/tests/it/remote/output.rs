//! `runway logs` and `runway submit --follow`, which print the output of jobs.

use super::proxy::{Delivery, start_proxy};
use super::scripted_server::{job, response, serve_by_path, serve_responses};
use super::server::{Server, ServerConfig, long_timings, short_timings};
use super::{HELLO, remote_command, runway_at};
use bytes::Bytes;
use runway_control::backend::LogEvent;
use std::io::Read;
use std::process::Stdio;

fn bytes(text: &'static [u8]) -> LogEvent {
    LogEvent::Bytes(Bytes::from_static(text))
}

/// Returns the configuration of a server whose jobs print output in two attempts. One byte of the output is
/// not valid UTF-8.
fn two_attempts() -> ServerConfig {
    let now = vec![LogEvent::Attempt(1), bytes(b"one\n"), bytes(b"\xfftwo\n")];
    let later = vec![LogEvent::Attempt(2), bytes(b"three\n")];
    ServerConfig { timings: short_timings(true), output: (now, later), ..ServerConfig::default() }
}

const ALL: &[u8] = b"one\n\xfftwo\nthree\n";

#[test]
fn follow_prints_exactly_the_output_of_the_job() {
    let server = Server::start(two_attempts());
    let ran = remote_command(&server.url(), &["submit", HELLO, "--follow"]).output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), ALL), "{stderr}");
    let id = server.created_jobs()[0];
    // Standard error shows the submitted job, the job while it is pending, and the final status.
    for line in [
        format!("{id}: hello (tenant "),
        format!("{id} hello: pending: "),
        "class cpu_long): succeeded\n".to_owned(),
    ] {
        assert!(stderr.contains(&line), "{line}: {stderr}");
    }
    let again = remote_command(&server.url(), &["logs", "-f", &id.to_string()]).output().unwrap();
    assert_eq!((again.status.code(), again.stdout.as_slice()), (Some(0), ALL));
    let now = remote_command(&server.url(), &["logs", &id.to_string()]).output().unwrap();
    assert_eq!((now.status.code(), now.stdout.as_slice()), (Some(0), &b"one\n\xfftwo\n"[..]));
    assert_eq!(runway_at(&server.url(), &["logs", "--tail", "0", &id.to_string()]).stdout, "");
}

#[test]
fn follow_exits_with_3_if_the_job_fails() {
    let server = Server::start(ServerConfig { timings: short_timings(false), ..two_attempts() });
    let ran = remote_command(&server.url(), &["submit", HELLO, "--follow"]).output().unwrap();
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(3), ALL));
    // `logs -f` exits with 0 even if the job failed, because it only prints the output.
    let id = server.created_jobs()[0].to_string();
    assert_eq!(remote_command(&server.url(), &["logs", "-f", &id]).status().unwrap().code(), Some(0));
}

#[test]
fn follow_resumes_after_a_disconnect() {
    let server = Server::start(two_attempts());
    let id = runway_at(&server.url(), &["submit", HELLO, "--wait", "-o", "name"]).stdout;
    // The first request reads the job's status, and its response is complete. The response to the request for
    // the output is then truncated at different positions, once or several times.
    let once =
        (0..75).step_by(4).map(|cut| vec![Delivery::Complete, Delivery::Truncated(cut), Delivery::Complete]);
    let often = [20, 40].map(|cut| {
        vec![
            Delivery::Complete,
            Delivery::Truncated(cut),
            Delivery::Truncated(cut + 9),
            Delivery::Lost,
            Delivery::Complete,
        ]
    });
    for fates in once.chain(often) {
        let url = start_proxy(server.address, fates);
        let ran = remote_command(&url, &["logs", "-f", id.trim()]).output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), ALL), "{stderr}");
    }
}

#[test]
fn follow_fails_if_a_connection_never_makes_progress() {
    let server = Server::start(two_attempts());
    let id = runway_at(&server.url(), &["submit", HELLO, "--wait", "-o", "name"]).stdout;
    let url = start_proxy(server.address, vec![Delivery::Complete, Delivery::Truncated(40)]);
    let ran = remote_command(&url, &["logs", "-f", "--retry-for", "1s", id.trim()]).output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(4), "{stderr}");
    assert!(ALL.starts_with(&ran.stdout), "{:?}", ran.stdout);
}

#[test]
fn follow_with_tail_reports_missing_output() {
    let server = Server::start(two_attempts());
    let id = runway_at(&server.url(), &["submit", HELLO, "--wait", "-o", "name"]).stdout;
    // The connection breaks after the output of the first attempt, and before the end of the second one.
    let cut = "attempt 1\n".len() + 64;
    let url =
        start_proxy(server.address, vec![Delivery::Complete, Delivery::Truncated(cut), Delivery::Complete]);
    let ran = remote_command(&url, &["logs", "-f", "--tail", "2", id.trim()]).output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert!(
        stderr.contains("disconnected; output that the job prints before the reconnect is lost"),
        "{stderr}"
    );
    assert!(ran.stdout.starts_with(b"one\n"), "{:?}", ran.stdout);
}

#[test]
fn follow_prints_output_while_the_job_runs() {
    let server = Server::start(ServerConfig { timings: long_timings(), ..ServerConfig::default() });
    let id = runway_at(&server.url(), &["submit", HELLO, "-o", "name"]).stdout;
    let mut child = remote_command(&server.url(), &["logs", "-f", id.trim()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 6];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"hello\n");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn follow_waits_for_the_job_if_its_output_is_gone() {
    let gone = br#"{"title":"Gone","detail":"it has left","instance":"1"}"#;
    let url = serve_by_path(
        vec![response("410 Gone", "", gone)],
        vec![
            response("201 Created", "", job("4d5c9fa91db4", "pending").as_bytes()),
            response("200 OK", "", job("4d5c9fa91db4", "succeeded").as_bytes()),
        ],
    );
    let ran = runway_at(&url, &["submit", HELLO, "--follow"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: Gone (410): it has left"), "{}", ran.stderr);
}

#[test]
fn missing_output_is_reported() {
    let gone =
        br#"{"title":"Gone","detail":"the job has left the backend, and its output with it","instance":"1"}"#;
    let (url, _) = serve_responses(vec![response("410 Gone", "", gone)]);
    let ran = runway_at(&url, &["logs", "4d5c9fa91db4"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("its output with it"), "{}", ran.stderr);
    // `logs -f` prints each new status of a pending job. It exits when the job is cancelled before its start.
    let not_yet = br#"{"title":"Not yet","detail":"it has not started","instance":"1"}"#;
    let waiting = job("4d5c9fa91db4", "pending").replace(r#""hint":null"#, r#""hint":"ask for less""#);
    let url = serve_by_path(
        vec![response("409 Conflict", "Retry-After: 1\r\n", not_yet)],
        vec![
            response("200 OK", "", waiting.as_bytes()),
            response("200 OK", "", waiting.as_bytes()),
            response("200 OK", "", waiting.replace("\"m\"", "\"pulls\"").as_bytes()),
            response("200 OK", "", job("4d5c9fa91db4", "cancelled").as_bytes()),
        ],
    );
    let ran = runway_at(&url, &["logs", "-f", "4d5c9fa91db4"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let hello = "4d5c9fa91db4 hello: pending:";
    assert_eq!(ran.stderr, format!("{hello} m\n  hint: ask for less\n{hello} pulls\n  hint: ask for less\n"));
}
