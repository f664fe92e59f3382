//! `runway submit --wait`: status reports, exit codes, lost servers, and Ctrl-C.

use super::scripted_server::{header, job, response, serve_responses};
use super::server::{Server, ServerConfig, long_timings, short_timings};
use super::{HELLO, json, remote_command, runway_at, runway_at_with};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

#[test]
fn wait_exits_with_0_or_3_depending_on_the_job() {
    for (succeeds, code, end) in [(true, 0, "succeeded"), (false, 3, "failed, NonZeroExit")] {
        let server =
            Server::start(ServerConfig { timings: short_timings(succeeds), ..ServerConfig::default() });
        let ran = runway_at(&server.url(), &["submit", HELLO, "--wait"]);
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let id = server.created_jobs()[0];
        let end = format!("{id} hello (tenant search, class cpu_long): {end}\n");
        assert!(ran.stdout.contains(&end) && !ran.stderr.contains(&end), "{}", ran.stdout);
        let exit_code = format!("  attempts  1, exit code {}\n", i32::from(!succeeds));
        assert!(ran.stdout.contains(&exit_code), "{}", ran.stdout);
    }
}

#[test]
fn wait_reports_each_change_once() {
    let job_response = |status, phase: &str, message: &str| {
        let job =
            job("4d5c9fa91db4", phase).replace(r#""message":"m""#, &format!(r#""message":"{message}""#));
        response(status, "", job.as_bytes())
    };
    let (url, _) = serve_responses(vec![
        job_response("201 Created", "pending", "waits"),
        job_response("200 OK", "pending", "waits"),
        job_response("200 OK", "pending", "pulls"),
        // One request fails, and the command retries it without a status report.
        response("502 Bad Gateway", "", b""),
        job_response("200 OK", "running", "runs"),
        job_response("200 OK", "succeeded", "ran"),
    ]);
    let ran = runway_at(&url, &["submit", HELLO, "--wait"]);
    assert_eq!(ran.code, 0);
    let lines: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with("4d5c9fa91db4")).collect();
    let of = |state: &str| format!("4d5c9fa91db4 hello: {state}");
    assert_eq!(lines, [of("pending: waits"), of("pending: pulls"), of("running: runs")]);
    assert!(ran.stdout.contains("): succeeded\n  ran\n"), "{}", ran.stdout);
}

#[test]
fn failed_job_shows_its_reason_and_hint() {
    let failed = job("4d5c9fa91db4", "failed")
        .replace(r#""reason":null"#, r#""reason":"OOMKilled""#)
        .replace(r#""hint":null"#, r#""hint":"raise `resources.memory`""#)
        .replace(r#""exit_code":null"#, r#""exit_code":137"#)
        .replace(r#""finished_at":null"#, r#""finished_at":"2026-11-21T08:00:09.5Z""#);
    let (url, _) = serve_responses(vec![
        response("201 Created", "", job("4d5c9fa91db4", "pending").as_bytes()),
        response("200 OK", "", failed.as_bytes()),
    ]);
    let ran = runway_at(&url, &["submit", HELLO, "--wait"]);
    assert_eq!(ran.code, 3);
    let lines: Vec<_> = ran.stdout.lines().skip(1).map(|line| line.split(", ").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "4d5c9fa91db4 hello (tenant search",
            "  m",
            "  hint: raise `resources.memory`",
            "  attempts  1",
            "  created   2026-11-21T08:00:00Z",
            "  finished  2026-11-21T08:00:09Z",
            "  cost      0.000001 USD",
        ]
    );
    assert!(ran.stdout.contains("class cpu_long): failed, OOMKilled\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("1, exit code 137\n"), "{}", ran.stdout);
}

#[test]
fn hint_to_check_the_logs_names_the_command() {
    let failed = job("4d5c9fa91db4", "failed").replace(r#""hint":null"#, r#""hint":"check the logs""#);
    let (url, _) = serve_responses(vec![response("200 OK", "", failed.as_bytes())]);
    let ran = runway_at(&url, &["status", "4d5c9fa91db4"]);
    assert!(ran.stdout.contains("hint: check its output: `runway logs 4d5c9fa91db4`\n"), "{}", ran.stdout);
}

#[test]
fn unreachable_server_during_wait_keeps_the_job_id() {
    let (url, _) = serve_responses(vec![
        response("201 Created", "", job("4d5c9fa91db4", "pending").as_bytes()),
        response("503 Away", "", br#"{"title":"Away"}"#),
    ]);
    let ran = runway_at(&url, &["submit", HELLO, "--wait", "-o", "json", "--retry-for", "1s"]);
    assert_eq!((ran.code, &json(&ran)[0]["job"]["id"]), (4, &"4d5c9fa91db4".into()));
    assert!(ran.stderr.contains("`runway status 4d5c9fa91db4`"), "{}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn interrupt_before_the_response_prints_the_key() {
    let (url, requests) = serve_responses(vec![response("503 Away", "", br#"{"title":"Away"}"#)]);
    let mut child = remote_command(&url, &["submit", HELLO]).stderr(Stdio::piped()).spawn().unwrap();
    let key = header(&requests.recv().unwrap(), "Idempotency-Key").unwrap().to_owned();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut stderr_text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr_text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        stderr_text.contains(&format!("repeat the command with `--idempotency-key {key}`")),
        "{stderr_text}"
    );
}

#[test]
fn job_that_the_server_forgot_exits_with_3() {
    let gone = br#"{"title":"Not found","detail":"no such job","instance":"1"}"#;
    let (url, _) = serve_responses(vec![
        response("201 Created", "", job("4d5c9fa91db4", "pending").as_bytes()),
        response("404 Not Found", "", gone),
    ]);
    let ran = runway_at(&url, &["submit", HELLO, "--wait"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stdout.contains("): unknown\n  the server no longer knows the job\n"), "{}", ran.stdout);
}

#[test]
fn exit_code_is_that_of_the_worst_job() {
    let server = Server::start(ServerConfig { timings: short_timings(false), ..ServerConfig::default() });
    let jobs = "name: a\nimage: x\ntenant: t\n---\nname: B\nimage: x\ntenant: t\n";
    let ran = runway_at_with(&server.url(), &["submit", "-", "--wait", "-o", "json"], jobs);
    assert_eq!(ran.code, 3);
    let records = json(&ran);
    assert_eq!(
        (&records[0]["job"]["phase"], &records[0]["error"]),
        (&"failed".into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (&records[1]["job"], &records[1]["violations"][0]["code"]),
        (&serde_json::Value::Null, &"invalid-name".into())
    );
}

#[cfg(unix)]
#[test]
fn interrupt_during_wait_prints_follow_up_commands() {
    let server = Server::start(ServerConfig { timings: long_timings(), ..ServerConfig::default() });
    let mut child = remote_command(&server.url(), &["submit", HELLO, "--wait"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    // The first line on standard error is the status of the job. After it, the command waits for the job.
    stderr.read_line(&mut String::new()).unwrap();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut stderr_text = String::new();
    stderr.read_to_string(&mut stderr_text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let id = line.split(':').next().unwrap();
    for advice in [format!("`runway status {id}`"), format!("`runway cancel {id}`")] {
        assert!(stderr_text.contains(&advice), "{stderr_text}");
    }
    assert_eq!(json(&runway_at(&server.url(), &["ls", "-o", "json"]))[0]["phase"], "running");
}
