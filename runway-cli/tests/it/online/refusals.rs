//! Refusals by the command line and by the server.

use super::server::{Plan, Server, generous};
use super::{HELLO, json, online, runway_at, runway_at_with};
use crate::run::{fixtures, ran, runway};
use runway_control::fake::{Answer, Fault};

#[test]
fn a_refused_job_looks_as_check_shows_it() {
    let server = Server::start(Plan::default());
    let file = "fixtures/jobs/refused/unknown-class.yaml";
    let ran = runway_at(&server.url(), &["submit", file]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let checked = runway(&["check", file]).stdout;
    // The server's policy is not a local file, so only the policy path is shown.
    let drawn: String = checked
        .lines()
        .filter(|line| !line.ends_with("refused"))
        .map(|line| format!("{}\n", line.split(" (the built-in policy").next().unwrap()))
        .collect();
    let rest = ran.stderr.strip_prefix(&drawn).unwrap_or_else(|| panic!("{drawn}---\n{}", ran.stderr));
    assert!(rest.starts_with(&format!("{file}: not submitted\n  request ")), "{rest}");
}

#[test]
fn programs_are_told_of_the_violations_that_check_tells() {
    let policy = std::env::temp_dir().join(format!("runway-policy-{}.yaml", std::process::id()));
    std::fs::write(&policy, generous()).unwrap();
    let server = Server::start(Plan::default());
    let (mut sent, mut kept) = (0, 0);
    for file in fixtures("jobs/refused") {
        let checked = json(&runway(&["check", &file, "-o", "json", "--policy", policy.to_str().unwrap()]));
        let mut command = online(&server.url(), &["submit", &file, "-o", "json"]);
        // The variables of the secrets in these files.
        let ran = ran(command
            .envs(["TOKEN", "DB_PASSWORD", "API_TOKEN"].map(|name| (name, "x")))
            .output()
            .unwrap());
        assert_eq!(ran.code, 1, "{file}: {}", ran.stderr);
        let told = json(&ran);
        for (told, checked) in told.as_array().unwrap().iter().zip(checked.as_array().unwrap()) {
            let [told_of, all] =
                [&told["violations"], &checked["violations"]].map(|list| list.as_array().unwrap());
            if told["error"] == "refused locally; nothing was sent" {
                // The server would report more violations, but a file that does not parse may contain
                // secrets.
                assert!(!told_of.is_empty() && told_of.iter().all(|one| all.contains(one)), "{file}");
                kept += 1;
            } else {
                assert_eq!(told_of, all, "{file}");
                sent += 1;
            }
        }
    }
    std::fs::remove_file(&policy).unwrap();
    assert!(sent > 15 && kept > 3, "{sent} {kept}");
    assert_eq!(server.landed(), []);
}

#[test]
fn a_job_of_another_tenant_than_the_one_that_submits_is_refused() {
    let server = Server::start(Plan::default());
    let file = "fixtures/jobs/refused/as-search/tenant-mismatch.yaml";
    let checked = json(&runway(&["check", file, "--tenant", "search", "-o", "json"]));
    let told = json(&runway_at(&server.url(), &["submit", file, "--tenant", "search", "-o", "json"]));
    assert_eq!(told[0]["violations"], checked[0]["violations"]);
    assert_eq!(told[0]["violations"][0]["code"], "tenant-mismatch");
}

#[test]
fn a_secret_without_a_value_keeps_its_job_here() {
    let server = Server::start(Plan::default());
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
    // The other job was submitted.
    assert_eq!(server.landed().len(), 1);
    let mut command = online(&server.url(), &["submit", file]);
    let set = ran(command.env("DB_PASSWORD", "hunter2-xyzzy").output().unwrap());
    assert_eq!((set.code, set.stderr.as_str()), (0, ""));
    assert_eq!(server.landed().len(), 2);
}

#[test]
fn the_value_of_a_secret_is_sent_and_never_told() {
    let (url, requests) = super::script::serve(vec![super::script::answer(
        "422 Unprocessable",
        "",
        br#"{"title":"Refused","detail":"no","instance":"1"}"#,
    )]);
    let mut command = online(&url, &["submit", "fixtures/jobs/embed-docs.yaml"]);
    let told = ran(command.env("DB_PASSWORD", "hunter2-xyzzy").output().unwrap());
    assert!(requests.recv().unwrap().contains(r#""secrets":{"DB_PASSWORD":"hunter2-xyzzy"}"#));
    assert!(!format!("{}{}", told.stdout, told.stderr).contains("hunter2"), "{}", told.stderr);
}

#[test]
fn the_value_of_a_secret_in_a_file_is_never_told() {
    let sources: Vec<String> =
        serde_json::from_str(include_str!("../../../../fixtures/secrets.json")).unwrap();
    let (url, requests) =
        super::script::serve(vec![super::script::answer("500 No", "", b"{\"title\":\"t\"}")]);
    for source in sources {
        let source = source.replace("SECRET-not", "plain").replace("SECRET", "hunter2-xyzzy");
        let ran = runway_at_with(&url, &["submit", "-"], &source);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("hunter2"), "{source}\n{}", ran.stderr);
        assert!(ran.code == 1 || source.contains("env"), "{source}\n{}", ran.stderr);
    }
    // Only `env` values are sent, as intended.
    for sent in requests.try_iter() {
        assert!(sent.contains("\"env\":{"), "{sent}");
    }
}

#[test]
fn a_rate_and_a_quota_say_when_to_come_again() {
    let policy = generous().replace(
        "per_minute: 6000, burst: 500}\nquota: {gpus: 4, concurrent_jobs: 10}",
        "per_minute: 1, burst: 2}\nquota: {gpus: 4, concurrent_jobs: 1}",
    );
    let server = Server::start(Plan { policy, ..Plan::default() });
    let url = &server.url();
    assert_eq!(runway_at(url, &["submit", HELLO]).code, 0);
    let full = runway_at(url, &["submit", HELLO]);
    assert_eq!(full.code, 1);
    assert!(full.stderr.contains("error[tenant-job-quota]"), "{}", full.stderr);
    assert!(full.stderr.contains("hello.yaml: not submitted\n  quota is available by 20"), "{}", full.stderr);
    let fast = runway_at(url, &["submit", HELLO, "-o", "json"]);
    let told = json(&fast);
    assert_eq!((fast.code, &told[0]["violations"][0]["code"]), (1, &"rate-limited".into()));
    assert!((1..=60).contains(&told[0]["retry_after"].as_u64().unwrap()));
}

#[test]
fn what_the_backend_refuses_is_told_with_its_reason() {
    let fault = Fault { answer: Answer::Rejected, ..Fault::default() };
    let server = Server::start(Plan { fault, ..Plan::default() });
    let ran = runway_at(&server.url(), &["submit", HELLO]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("The backend rejected the job (422)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the fake cluster rejected the job"), "{}", ran.stderr);
}

#[test]
fn wrong_usage_is_told_before_anything_is_sent() {
    let (url, requests) =
        super::script::serve(vec![super::script::answer("500 No", "", b"{\"title\":\"t\"}")]);
    for (arguments, told) in [
        (&["submit", HELLO, HELLO, "--follow"][..], "`--follow` accepts one job"),
        (&["submit", HELLO, "--follow", "-o", "json"], "leave out `--output`"),
        (&["submit", HELLO, "--key", "a b"], "visible ASCII"),
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
        assert!(ran.stderr.contains(told), "{arguments:?}: {}", ran.stderr);
    }
    let broken = std::env::temp_dir().join(format!("runway-broken-{}.pem", std::process::id()));
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    let ran = runway_at("https://127.0.0.1:1", &["ls", "--ca", broken.to_str().unwrap()]);
    std::fs::remove_file(&broken).unwrap();
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("cannot use `{}`", broken.display())), "{}", ran.stderr);
    let nowhere = runway(&["ls"]);
    assert_eq!((nowhere.code, nowhere.stdout.as_str()), (2, ""));
    assert!(nowhere.stderr.contains("RUNWAY_SERVER"), "{}", nowhere.stderr);
    assert_eq!(requests.try_iter().count(), 0);
}
