//! Submitting, listing, watching, showing and cancelling jobs on a server.

use super::server::{Server, ServerConfig, short_timings};
use super::{HELLO, json, remote_command, runway_at, runway_at_with};
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

/// Submits one job and returns the job in the JSON output.
fn submit_job(url: &str, arguments: &[&str]) -> serde_json::Value {
    let ran = runway_at(url, &[&["submit", HELLO, "-o", "json"], arguments].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    json(&ran)[0]["job"].clone()
}

#[test]
fn job_is_submitted_listed_shown_and_cancelled() {
    let server = Server::start(ServerConfig::default());
    let url = &server.url();
    let ran = runway_at(url, &["submit", HELLO, "--idempotency-key", "once"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let id = server.created_jobs()[0].to_string();
    let price = "hello (tenant search, class cpu_long): at most 0.003960 USD, 0.022627 USD an hour";
    assert_eq!(ran.stdout, format!("{id}: {price}\n"));

    let listed = runway_at(url, &["ls"]).stdout;
    let lines: Vec<Vec<_>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "NAME", "TENANT", "CLASS", "PHASE", "REASON", "AGE", "COST"]);
    assert_eq!(lines[1][..3], [id.as_str(), "hello", "search"]);
    let wide = runway_at(url, &["ls", "-o", "wide"]).stdout;
    assert!(
        wide.lines().next().unwrap().ends_with("COST      CEILING   ATTEMPTS  STARTED               MESSAGE"),
        "{wide}"
    );
    assert!(wide.contains("0.003960"), "{wide}");

    let status = runway_at(url, &["status", &id]).stdout;
    assert!(status.starts_with(&format!("{id} hello (tenant search, class cpu_long): ")), "{status}");
    for expected in
        ["\n  attempts  ", "\n  created   20", "\n  cost      0.", " USD so far, of at most 0.003960 USD\n"]
    {
        assert!(status.contains(expected), "{expected}: {status}");
    }

    let usage = runway_at(url, &["usage"]).stdout;
    assert_eq!(usage.lines().count(), 2, "{usage}");
    assert!(usage.contains("search  0 of 4  1 of 10  "), "{usage}");
    assert_eq!(json(&runway_at(url, &["usage", "vision", "-o", "json"]))[0]["tenant"], "vision");

    let cancelled = runway_at(url, &["cancel", &id]);
    assert_eq!((cancelled.code, cancelled.stderr.as_str()), (0, ""));
    let resubmitted =
        json(&runway_at(url, &["submit", HELLO, "--idempotency-key", "once", "--wait", "-o", "json"]));
    assert_eq!(resubmitted[0]["job"]["phase"], "cancelled");
    let again = runway_at(url, &["submit", HELLO, "--idempotency-key", "once", "--wait"]);
    assert_eq!(again.code, 3);
    assert!(
        again.stdout.starts_with(&format!("{id}: already exists: {price}\n{id} hello ")),
        "{}",
        again.stdout
    );
    assert_eq!(server.created_jobs().len(), 1);
}

#[test]
fn machine_formats_print_ids_json_and_yaml() {
    let server = Server::start(ServerConfig::default());
    let url = &server.url();
    let job = submit_job(url, &[]);
    let id = job["id"].as_str().unwrap();
    assert_eq!(json(&runway_at(url, &["status", id, "-o", "json"]))["id"], id);
    assert_eq!(json(&runway_at(url, &["ls", "-o", "json"]))[0]["id"], id);
    assert!(runway_at(url, &["ls", "-o", "yaml"]).stdout.contains("tenant: search\n"));
    for arguments in [&["ls", "-o", "name"][..], &["status", id, "-o", "name"]] {
        assert_eq!(runway_at(url, arguments).stdout, format!("{id}\n"));
    }
    assert_eq!(runway_at(url, &["usage", "-o", "name"]).stdout, "search\n");
    let ran = runway_at(url, &["submit", HELLO, "-o", "name"]);
    assert_eq!(ran.stdout, format!("{}\n", server.created_jobs()[1]));
    assert_eq!(runway_at(url, &["ls", "--phase", "failed", "-o", "name"]).stdout, "");
    assert_eq!(runway_at(url, &["ls", "--tenant", "vision", "-o", "name"]).stdout, "");
    assert_eq!(runway_at(url, &["ls", "--tenant", "search", "-o", "name"]).stdout.lines().count(), 2);
}

#[test]
fn job_of_another_tenant_is_not_found() {
    let server = Server::start(ServerConfig::default());
    let url = &server.url();
    let id = submit_job(url, &[])["id"].as_str().unwrap().to_owned();
    for command in ["status", "cancel", "logs"] {
        let ran = runway_at(url, &[command, &id, "--tenant", "vision"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{command}");
        assert!(ran.stderr.starts_with("error: Not found (404): "), "{}", ran.stderr);
        assert!(ran.stderr.contains("\n  request "), "{}", ran.stderr);
    }
}

#[test]
fn several_jobs_share_one_idempotency_key() {
    let server = Server::start(ServerConfig::default());
    let url = &server.url();
    let jobs = "name: a\nimage: x\ntenant: t\n---\nname: b\nimage: x\ntenant: t\n";
    let arguments = ["submit", "-", "--idempotency-key", "night", "-o", "json"];
    let first = json(&runway_at_with(url, &arguments, jobs));
    assert_eq!((&first[0]["key"], &first[1]["key"]), (&"night-1".into(), &"night-2".into()));
    let second = json(&runway_at_with(url, &arguments, jobs));
    for i in 0..2 {
        assert_eq!(first[i]["job"]["id"], second[i]["job"]["id"]);
    }
    assert_eq!(server.created_jobs().len(), 2);
    // Without `--idempotency-key`, each command creates new jobs.
    assert_eq!(runway_at_with(url, &["submit", "-"], jobs).code, 0);
    assert_eq!(server.created_jobs().len(), 4);
}

/// The program `script` runs the command in a pseudo-terminal.
#[cfg(target_os = "linux")]
#[test]
fn watch_redraws_the_list_on_a_terminal() {
    let server = Server::start(ServerConfig::default());
    let id = submit_job(&server.url(), &[])["id"].as_str().unwrap().to_owned();
    let runway = format!("{} ls --watch --server {}", env!("CARGO_BIN_EXE_runway"), server.url());
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &runway, "/dev/null"]).env("TERM", "xterm").stdin(Stdio::null());
    let mut script = script.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let head = lines.next().unwrap().unwrap();
        assert!(head.starts_with("\u{1b}[H\u{1b}[JID  "), "{head:?}");
        let job = lines.next().unwrap().unwrap();
        assert!(job.starts_with(&format!("{id}  hello  search  cpu_long")), "{job:?}");
    }
    script.kill().unwrap();
    script.wait().unwrap();
}

/// Starts `runway ls --watch`. Returns the process and the lines that it prints.
fn watch(url: &str, format: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut command = remote_command(url, &["ls", "--watch", "-o", format]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

#[test]
fn watch_prints_each_change() {
    let server = Server::start(ServerConfig { timings: short_timings(true), ..ServerConfig::default() });
    let url = &server.url();
    let (mut watching, mut lines) = watch(url, "json");
    let id = submit_job(url, &[])["id"].as_str().unwrap().to_owned();
    loop {
        let job: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(job["id"], id.as_str());
        if job["phase"] == "succeeded" {
            break;
        }
    }
    watching.kill().unwrap();
    watching.wait().unwrap();
}

#[test]
fn watch_separates_cells_with_one_space() {
    let server = Server::start(ServerConfig::default());
    let url = &server.url();
    let id = submit_job(url, &[])["id"].as_str().unwrap().to_owned();
    let (mut watching, mut lines) = watch(url, "wide");
    let line = lines.next().unwrap().unwrap();
    watching.kill().unwrap();
    watching.wait().unwrap();
    assert!(line.starts_with(&format!("{id} hello search cpu_long ")), "{line:?}");
    assert!(!line.contains("  "), "{line:?}");
}
