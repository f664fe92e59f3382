//! `runway diagnose`: accepted input, order of the records, escaped output, and errors.

use crate::program::{runway, runway_with};
use serde_json::{Value as Json, json};

fn job(name: &str) -> Json {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "uid": name}})
}

#[test]
fn records_keep_the_input_order_and_documented_fields() {
    let list = json!({"kind": "List", "items": [job("b"), {"kind": "Secret"}, job("a")]}).to_string();
    let ran = runway_with(&["diagnose", "-o", "json"], list.as_bytes());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let records: Vec<serde_json::Map<String, Json>> = serde_json::from_str(&ran.stdout).unwrap();
    let names: Vec<_> = records.iter().map(|record| record["job"].as_str().unwrap()).collect();
    assert_eq!(names, ["b", "a"]);
    let fields = ["job", "phase", "reason", "message", "hint", "exit_code", "attempts", "evidence"];
    let offsets: Vec<_> =
        fields.iter().map(|field| ran.stdout.find(&format!("\"{field}\": ")).unwrap()).collect();
    assert!(offsets.is_sorted() && records[0].len() == fields.len(), "{}", ran.stdout);
}

#[test]
fn input_without_jobs_succeeds() {
    let empty = br#"{"apiVersion": "v1", "kind": "List", "items": []}"#;
    let ran = runway_with(&["diagnose", "-", "-o", "json"], empty);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "[]\n"));
    let ran = runway_with(&["diagnose"], empty);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "no Jobs and no pods in `-`\n"));
}

#[test]
fn invalid_input_is_reported_with_its_position() {
    for (input, says) in [
        (
            "",
            "cannot parse `-` as JSON: EOF while parsing a value at line 1 column 0; pass the output of `kubectl get job,pod,event -o json`",
        ),
        ("{\"kind\": \"List\",\n oops", "as JSON: key must be a string at line 2 column 2"),
        ("[]", "the input is not a Kubernetes object"),
        ("{\"kind\": \"List\", \"items\": [7]}", "items[0] is not a Kubernetes object"),
        ("{\"kind\": \"Job\", \"spec\": \"hunter2\"}", "the input is not a valid Job: expected "),
    ] {
        let ran = runway_with(&["diagnose", "-o", "json"], input.as_bytes());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{input}");
        assert!(ran.stderr.contains(says) && !ran.stderr.contains("hunter2"), "{input}: {}", ran.stderr);
    }
    let deep = "[".repeat(1_000_000);
    assert_eq!(runway_with(&["diagnose"], deep.as_bytes()).code, 2);
    assert_eq!(runway_with(&["diagnose"], b"\xff\xfe").code, 2);
}

#[test]
fn malformed_pod_is_skipped_with_a_warning() {
    let list = json!({"kind": "List", "items": [job("a"), {"kind": "Pod", "status": 7}]}).to_string();
    let ran = runway_with(&["diagnose", "-o", "json"], list.as_bytes());
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.starts_with("warning: `-`: skipped: items[1] is not a valid Pod"), "{}", ran.stderr);
}

#[test]
fn control_characters_in_objects_are_escaped() {
    let mut hostile_job = job("\u{1b}[2J\u{202e}x");
    hostile_job["status"] = json!({"conditions": [{"type": "Failed", "status": "True", "reason": "\u{1b}]0;t\u{7}", "message": "\u{1b}[1m"}]});
    let ran = runway_with(&["diagnose"], hostile_job.to_string().as_bytes());
    assert_eq!(ran.code, 0);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{:?}", ran.stdout);
}

#[test]
fn c1_control_characters_are_escaped() {
    // Some terminals treat U+009B like the sequence `ESC [`, which starts a command to the terminal.
    let hostile_job = job("a\u{9b}2J\u{80}\u{9f}\u{a0}");
    let ran = runway_with(&["diagnose"], hostile_job.to_string().as_bytes());
    assert!(ran.stdout.starts_with("a\\u{9b}2J\\u{80}\\u{9f}\u{a0}: pending"), "{:?}", ran.stdout);
    let ran = runway_with(&["diagnose", "-o", "json"], hostile_job.to_string().as_bytes());
    assert!(ran.stdout.contains(r"a\u009b2J\u0080\u009f"), "{:?}", ran.stdout);
    let records: Json = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(records[0]["job"], "a\u{9b}2J\u{80}\u{9f}\u{a0}");
    for file in ["no/such/\u{9b}2J", "no/such/\u{1b}[2J"] {
        let ran = runway(&["diagnose", file]);
        assert!(!ran.stderr.contains(['\u{9b}', '\u{1b}']) && ran.stderr.contains("b}"), "{:?}", ran.stderr);
    }
}

#[test]
fn jobs_of_several_namespaces_show_their_namespace() {
    let of = |namespace: &str| {
        let mut job = job("train");
        job["metadata"]["namespace"] = json!(namespace);
        job["metadata"]["uid"] = json!(namespace);
        job
    };
    let printed_titles = |jobs: &[Json]| {
        let list = json!({"kind": "List", "items": jobs}).to_string();
        let stdout = runway_with(&["diagnose"], list.as_bytes()).stdout;
        let titles = stdout.lines().filter(|line| line.ends_with(": pending")).map(str::to_owned);
        titles.collect::<Vec<_>>()
    };
    assert_eq!(
        printed_titles(&[of("runway-a"), of("runway-b")]),
        ["runway-a/train: pending", "runway-b/train: pending"]
    );
    assert_eq!(printed_titles(&[of("runway-a")]), ["train: pending"]);
}

#[test]
fn unused_options_are_rejected() {
    let policy = "fixtures/policies/strict.yaml";
    for (arguments, option) in [
        (&["diagnose", "--policy", policy][..], "--policy"),
        (&["diagnose", "--tenant", "search"], "--tenant"),
        (&["policy", "render", "--policy", policy, "--tenant", "search"], "--tenant"),
    ] {
        let ran = runway_with(arguments, job("a").to_string().as_bytes());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}");
        let says = format!("error: unexpected argument '{option}' found");
        assert!(ran.stderr.starts_with(&says), "{}", ran.stderr);
    }
}

#[test]
fn thousands_of_jobs_are_diagnosed_in_bounded_time() {
    let pod = |n: usize| {
        let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": "a", "uid": format!("j{}", n % 2000), "controller": true});
        json!({"kind": "Pod", "metadata": {"name": format!("p{n}"), "uid": format!("p{n}"), "ownerReferences": [owner]}, "status": {"phase": "Failed"}})
    };
    let event = |n: usize| json!({"kind": "Event", "reason": "Killing", "involvedObject": {"kind": "Pod", "name": format!("p{n}")}});
    let mut items: Vec<_> = (0..2000).map(|n| job(&format!("j{n}"))).collect();
    // The Job `j0` owns about 10,000 of the pods. The other pods are distributed over all Jobs.
    items.extend((0..20_000).map(|n| pod(if n % 2 == 0 { n } else { n * 2000 })));
    items.extend((0..20_000).map(event));
    let started = std::time::Instant::now();
    let ran = runway_with(
        &["diagnose", "-o", "json"],
        json!({"kind": "List", "items": items}).to_string().as_bytes(),
    );
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
}

#[test]
fn diagnose_reads_standard_input_by_default() {
    let ran = runway(&["diagnose"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("`-`"), "{}", ran.stderr);
}
