//! Jobs that the command line or the server refuses, and command lines that are invalid.

use super::server::{Server, ServerConfig, policy_with_high_rate_limit};
use super::{HELLO, json, remote_command, runway_at, runway_at_with};
use crate::program::{fixtures, runway, to_program_output};
use runway_control::fake::Response;
use runway_testing::paths::TempDir;

#[test]
fn submit_renders_violations_as_check_does() {
    let server = Server::start(ServerConfig::default());
    let file = "fixtures/jobs/refused/unknown-class.yaml";
    let ran = runway_at(&server.url(), &["submit", file]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let checked = runway(&["check", file]).stdout;
    // `submit` does not know the file of the server's policy, so it shows only the policy path. The lines
    // below remove the file from the output of `check`.
    let expected: String = checked
        .lines()
        .filter(|line| !line.ends_with("refused"))
        .map(|line| format!("{}\n", line.split(" (the built-in policy").next().unwrap()))
        .collect();
    let rest = ran.stderr.strip_prefix(&expected).unwrap_or_else(|| panic!("{expected}---\n{}", ran.stderr));
    assert!(rest.starts_with(&format!("{file}: not submitted\n  request ")), "{rest}");
}

#[test]
fn submit_json_has_the_violations_of_check() {
    let dir = TempDir::new("policy");
    let policy = dir.write("policy.yaml", policy_with_high_rate_limit());
    let server = Server::start(ServerConfig::default());
    let (mut sent, mut refused_locally) = (0, 0);
    for file in fixtures("jobs/refused") {
        let checked = json(&runway(&["check", &file, "-o", "json", "--policy", policy.to_str().unwrap()]));
        let mut command = remote_command(&server.url(), &["submit", &file, "-o", "json"]);
        // Set the environment variables that the secrets in these files refer to.
        let ran = to_program_output(
            command.envs(["TOKEN", "DB_PASSWORD", "API_TOKEN"].map(|name| (name, "x"))).output().unwrap(),
        );
        assert_eq!(ran.code, 1, "{file}: {}", ran.stderr);
        let records = json(&ran);
        for (record, checked) in records.as_array().unwrap().iter().zip(checked.as_array().unwrap()) {
            let [reported, all] =
                [&record["violations"], &checked["violations"]].map(|list| list.as_array().unwrap());
            if record["error"] == "refused locally; nothing was sent" {
                // `submit` does not send a malformed job, because it may contain secrets in a wrong place. So
                // the policy is not applied, and `submit` reports only a part of the violations.
                assert!(!reported.is_empty() && reported.iter().all(|one| all.contains(one)), "{file}");
                refused_locally += 1;
            } else {
                assert_eq!(reported, all, "{file}");
                sent += 1;
            }
        }
    }
    assert!(sent > 15 && refused_locally > 3, "{sent} {refused_locally}");
    assert_eq!(server.created_jobs(), []);
}

#[test]
fn job_of_another_tenant_is_refused() {
    let server = Server::start(ServerConfig::default());
    let file = "fixtures/jobs/refused/as-search/tenant-mismatch.yaml";
    let checked = json(&runway(&["check", file, "--tenant", "search", "-o", "json"]));
    let records = json(&runway_at(&server.url(), &["submit", file, "--tenant", "search", "-o", "json"]));
    assert_eq!(records[0]["violations"], checked[0]["violations"]);
    assert_eq!(records[0]["violations"][0]["code"], "tenant-mismatch");
}

#[test]
fn job_with_a_missing_secret_is_not_sent() {
    let server = Server::start(ServerConfig::default());
    let file = "fixtures/jobs/embed-docs.yaml";
    let refused = runway_at(&server.url(), &["submit", file, HELLO]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.starts_with(
            "error: cannot read the secret `DB_PASSWORD`: the environment variable `DB_PASSWORD` is not set\n--> fixtures/jobs/embed-docs.yaml:9:"
        ),
        "{}",
        refused.stderr
    );
    // The second job of the command has no secrets, so it was submitted.
    assert_eq!(server.created_jobs().len(), 1);
    let mut command = remote_command(&server.url(), &["submit", file]);
    let set = to_program_output(command.env("DB_PASSWORD", "hunter2-xyzzy").output().unwrap());
    assert_eq!((set.code, set.stderr.as_str()), (0, ""));
    assert_eq!(server.created_jobs().len(), 2);
}

#[test]
fn secret_value_is_sent_but_never_printed() {
    let (url, requests) = super::scripted_server::serve_responses(vec![super::scripted_server::response(
        "422 Unprocessable",
        "",
        br#"{"title":"Refused","detail":"no","instance":"1"}"#,
    )]);
    let mut command = remote_command(&url, &["submit", "fixtures/jobs/embed-docs.yaml"]);
    let output = to_program_output(command.env("DB_PASSWORD", "hunter2-xyzzy").output().unwrap());
    assert!(requests.recv().unwrap().contains(r#""secrets":{"DB_PASSWORD":"hunter2-xyzzy"}"#));
    assert!(!format!("{}{}", output.stdout, output.stderr).contains("hunter2"), "{}", output.stderr);
}

#[test]
fn secret_value_in_a_file_is_never_printed() {
    let sources: Vec<String> =
        serde_json::from_str(include_str!("../../../../fixtures/secrets.json")).unwrap();
    let (url, requests) = super::scripted_server::serve_responses(vec![super::scripted_server::response(
        "500 No",
        "",
        b"{\"title\":\"t\"}",
    )]);
    for source in sources {
        let source = source.replace("SECRET-not", "plain").replace("SECRET", "hunter2-xyzzy");
        let ran = runway_at_with(&url, &["submit", "-"], &source);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("hunter2"), "{source}\n{}", ran.stderr);
        assert!(ran.code == 1 || source.contains("env"), "{source}\n{}", ran.stderr);
    }
    // `submit` sends only those documents that have their value in `env`, because `env` is not secret.
    for sent in requests.try_iter() {
        assert!(sent.contains("\"env\":{"), "{sent}");
    }
}

#[test]
fn rate_limit_and_quota_refusals_say_when_to_retry() {
    let policy = policy_with_high_rate_limit().replace(
        "per_minute: 6000, burst: 500}\nquota: {gpus: 4, concurrent_jobs: 10}",
        "per_minute: 1, burst: 2}\nquota: {gpus: 4, concurrent_jobs: 1}",
    );
    let server = Server::start(ServerConfig { policy, ..ServerConfig::default() });
    let url = &server.url();
    assert_eq!(runway_at(url, &["submit", HELLO]).code, 0);
    let full = runway_at(url, &["submit", HELLO]);
    assert_eq!(full.code, 1);
    assert!(full.stderr.contains("error[tenant-job-quota]"), "{}", full.stderr);
    assert!(full.stderr.contains("hello.yaml: not submitted\n  quota is available by 20"), "{}", full.stderr);
    let fast = runway_at(url, &["submit", HELLO, "-o", "json"]);
    let records = json(&fast);
    assert_eq!((fast.code, &records[0]["violations"][0]["code"]), (1, &"rate-limited".into()));
    assert!((1..=60).contains(&records[0]["retry_after"].as_u64().unwrap()));
}

#[test]
fn rejection_by_the_backend_shows_its_reason() {
    let server = Server::start(ServerConfig { response: Response::Rejected, ..ServerConfig::default() });
    let ran = runway_at(&server.url(), &["submit", HELLO]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("The backend rejected the job (422)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the fake cluster rejected the job"), "{}", ran.stderr);
}

#[test]
fn invalid_usage_is_reported_without_a_request() {
    let (url, requests) = super::scripted_server::serve_responses(vec![super::scripted_server::response(
        "500 No",
        "",
        b"{\"title\":\"t\"}",
    )]);
    for (arguments, message) in [
        (&["submit", HELLO, HELLO, "--follow"][..], "`--follow` accepts one job"),
        (&["submit", HELLO, "--follow", "-o", "json"], "leave out `--output`"),
        (&["submit", HELLO, "--idempotency-key", "a b"], "visible ASCII"),
        (&["submit", "-", "-"], "only once"),
        (&["submit"], "FILE"),
        (&["submit", "no-such-file.yaml"], "no-such-file.yaml"),
        (&["ls", "--phase", "done"], "expected one of pending, "),
        (&["ls", "--tenant", "NOT A NAME"], "--tenant"),
        (&["status", "short"], "ID"),
        (&["ls", "--server", "127.0.0.1:8080"], "https://"),
        (&["ls", "--ca", "x.pem"], "require an `https` URL"),
        (&["ls", "--cert", "x.pem"], "--key-file"),
        (&["ls", "--server", "https://127.0.0.1:1", "--ca", "no-such.pem"], "cannot use `no-such.pem`"),
        (&["ls", "--server", "https://127.0.0.1:1", "--ca", HELLO], "it contains no certificate"),
    ] {
        let ran = runway_at(&url, arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{arguments:?}: {}", ran.stderr);
    }
    let dir = TempDir::new("broken");
    let broken = dir.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let ran = runway_at("https://127.0.0.1:1", &["ls", "--ca", broken.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("cannot use `{}`", broken.display())), "{}", ran.stderr);
    let without_server = runway(&["ls"]);
    assert_eq!((without_server.code, without_server.stdout.as_str()), (2, ""));
    assert!(without_server.stderr.contains("RUNWAY_SERVER"), "{}", without_server.stderr);
    assert_eq!(requests.try_iter().count(), 0);
}
