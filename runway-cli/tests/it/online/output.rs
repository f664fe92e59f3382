//! The output of jobs.

use super::proxy::{Fate, before};
use super::script::{answer, job, serve, serve_apart};
use super::server::{Plan, Server, long_life, short_life};
use super::{HELLO, online, runway_at};
use bytes::Bytes;
use runway_control::backend::LogEvent;
use std::io::Read;
use std::process::Stdio;

fn bytes(text: &'static [u8]) -> LogEvent {
    LogEvent::Bytes(Bytes::from_static(text))
}

/// A job with two attempts. One byte of its output is not valid UTF-8.
fn printing() -> Plan {
    let now = vec![LogEvent::Attempt(1), bytes(b"one\n"), bytes(b"\xfftwo\n")];
    let later = vec![LogEvent::Attempt(2), bytes(b"three\n")];
    Plan { life: short_life(true), output: (now, later), ..Plan::default() }
}

const ALL: &[u8] = b"one\n\xfftwo\nthree\n";

#[test]
fn a_job_that_is_followed_prints_what_it_prints_and_nothing_else() {
    let server = Server::start(printing());
    let ran = online(&server.url(), &["submit", HELLO, "--follow"]).output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), ALL), "{told}");
    let id = server.landed()[0];
    // Standard error shows the submission, the waiting and the end.
    for line in [
        format!("{id}: hello (tenant "),
        format!("{id} hello: pending: "),
        "class cpu_long): succeeded\n".to_owned(),
    ] {
        assert!(told.contains(&line), "{line}: {told}");
    }
    let again = online(&server.url(), &["logs", "-f", &id.to_string()]).output().unwrap();
    assert_eq!((again.status.code(), again.stdout.as_slice()), (Some(0), ALL));
    let now = online(&server.url(), &["logs", &id.to_string()]).output().unwrap();
    assert_eq!((now.status.code(), now.stdout.as_slice()), (Some(0), &b"one\n\xfftwo\n"[..]));
    assert_eq!(runway_at(&server.url(), &["logs", "--tail", "0", &id.to_string()]).stdout, "");
}

#[test]
fn a_job_that_fails_while_it_is_followed_is_a_failed_one() {
    let server = Server::start(Plan { life: short_life(false), ..printing() });
    let ran = online(&server.url(), &["submit", HELLO, "--follow"]).output().unwrap();
    assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(3), ALL));
    // `logs -f` does not report the result of the job.
    let id = server.landed()[0].to_string();
    assert_eq!(online(&server.url(), &["logs", "-f", &id]).status().unwrap().code(), Some(0));
}

#[test]
fn output_that_breaks_off_goes_on_where_it_was() {
    let server = Server::start(printing());
    let id = runway_at(&server.url(), &["submit", HELLO, "--wait", "-o", "name"]).stdout;
    // The first request reads the job's status. The output is then truncated at different positions, once or
    // several times.
    let once = (0..75).step_by(4).map(|cut| vec![Fate::Passes, Fate::Cut(cut), Fate::Passes]);
    let often =
        [20, 40].map(|cut| vec![Fate::Passes, Fate::Cut(cut), Fate::Cut(cut + 9), Fate::Lost, Fate::Passes]);
    for fates in once.chain(often) {
        let url = before(server.address, fates);
        let ran = online(&url, &["logs", "-f", id.trim()]).output().unwrap();
        let told = String::from_utf8(ran.stderr).unwrap();
        assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(0), ALL), "{told}");
    }
}

#[test]
fn output_that_breaks_off_at_the_same_place_for_ever_is_given_up() {
    let server = Server::start(printing());
    let id = runway_at(&server.url(), &["submit", HELLO, "--wait", "-o", "name"]).stdout;
    let url = before(server.address, vec![Fate::Passes, Fate::Cut(40)]);
    let ran = online(&url, &["logs", "-f", "--retry-for", "1s", id.trim()]).output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(4), "{told}");
    assert!(ALL.starts_with(&ran.stdout), "{:?}", ran.stdout);
}

#[test]
fn with_the_last_lines_alone_it_says_what_is_missing() {
    let server = Server::start(printing());
    let id = runway_at(&server.url(), &["submit", HELLO, "--wait", "-o", "name"]).stdout;
    // Both frames of the first attempt arrive, and nothing more.
    let cut = "attempt 1\n".len() + 64;
    let url = before(server.address, vec![Fate::Passes, Fate::Cut(cut), Fate::Passes]);
    let ran = online(&url, &["logs", "-f", "--tail", "2", id.trim()]).output().unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    assert!(told.contains("disconnected; output that the job prints before the reconnect is lost"), "{told}");
    assert!(ran.stdout.starts_with(b"one\n"), "{:?}", ran.stdout);
}

#[test]
fn a_reader_that_goes_away_ends_the_following() {
    let server = Server::start(Plan { life: long_life(), ..Plan::default() });
    let id = runway_at(&server.url(), &["submit", HELLO, "-o", "name"]).stdout;
    let mut child = online(&server.url(), &["logs", "-f", id.trim()])
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
fn a_job_whose_output_cannot_be_had_is_waited_for_all_the_same() {
    let gone = br#"{"title":"Gone","detail":"it has left","instance":"1"}"#;
    let url = serve_apart(
        vec![answer("410 Gone", "", gone)],
        vec![
            answer("201 Created", "", job("4d5c9fa91db4", "pending").as_bytes()),
            answer("200 OK", "", job("4d5c9fa91db4", "succeeded").as_bytes()),
        ],
    );
    let ran = runway_at(&url, &["submit", HELLO, "--follow"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("error: Gone (410): it has left"), "{}", ran.stderr);
}

#[test]
fn output_that_is_gone_or_yet_to_come_is_told_of() {
    let gone =
        br#"{"title":"Gone","detail":"the job has left the backend, and its output with it","instance":"1"}"#;
    let (url, _) = serve(vec![answer("410 Gone", "", gone)]);
    let ran = runway_at(&url, &["logs", "4d5c9fa91db4"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("its output with it"), "{}", ran.stderr);
    // For a pending job, the command reports the reason until the job ends.
    let not_yet = br#"{"title":"Not yet","detail":"it has not started","instance":"1"}"#;
    let waiting = job("4d5c9fa91db4", "pending").replace(r#""hint":null"#, r#""hint":"ask for less""#);
    let url = serve_apart(
        vec![answer("409 Conflict", "Retry-After: 1\r\n", not_yet)],
        vec![
            answer("200 OK", "", waiting.as_bytes()),
            answer("200 OK", "", waiting.as_bytes()),
            answer("200 OK", "", waiting.replace("\"m\"", "\"pulls\"").as_bytes()),
            answer("200 OK", "", job("4d5c9fa91db4", "cancelled").as_bytes()),
        ],
    );
    let ran = runway_at(&url, &["logs", "-f", "4d5c9fa91db4"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    let hello = "4d5c9fa91db4 hello: pending:";
    assert_eq!(ran.stderr, format!("{hello} m\n  hint: ask for less\n{hello} pulls\n  hint: ask for less\n"));
}
