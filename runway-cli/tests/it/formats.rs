//! The fields of the JSON output, policy digests, and checks of the features of a backend.

use crate::program::runway;
use runway_testing::paths::TempDir;
use serde_json::{Value, json};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

fn sorted<const N: usize>(mut names: [&str; N]) -> Vec<&str> {
    names.sort_unstable();
    names.to_vec()
}

#[test]
fn check_record_has_exactly_the_documented_fields() {
    let ran = runway(&["check", "fixtures/jobs/embed-docs.yaml", "-o", "json"]);
    let records: Value = serde_json::from_str(&ran.stdout).unwrap();
    let record = &records[0];
    assert_eq!(
        keys(record),
        sorted(["file", "document", "admitted", "backend", "job", "quote", "violations"])
    );
    assert_eq!(
        record["job"],
        json!({
            "name": "embed-docs",
            "tenant": "search",
            "class": "cpu_long",
            "image": "registry.internal/embed:1.8.0",
            "resources": {
                "cpu_millis": 2000,
                "memory_bytes": 4_294_967_296u64,
                "ephemeral_storage_bytes": 10_737_418_240u64,
                "gpu": 0,
            },
            "timeout_seconds": 900,
            "retries": 2,
            "network": "none",
        })
    );
    assert_eq!(
        record["quote"],
        json!({
            "ceiling_usd": "0.025847",
            "per_hour_usd": "0.100051",
            "lines": [
                {"resource": "cpu", "amount": "2", "seconds": 930, "rate_usd": "0.0000112444", "usd": "0.020915"},
                {"resource": "memory", "amount": "4.294967296", "seconds": 930, "rate_usd": "0.0000012347", "usd": "0.004932"},
            ],
        })
    );
    assert_eq!(record["violations"], json!([]));
    assert_eq!(record["backend"], Value::Null, "no backend was named, so none was checked");
}

#[test]
fn violation_has_exactly_the_documented_fields() {
    let ran = runway(&["check", "fixtures/jobs/refused/cpu-above-max.yaml", "-o", "json"]);
    let records: Value = serde_json::from_str(&ran.stdout).unwrap();
    let violation = &records[0]["violations"][0];
    let names = ["code", "path", "message", "requested", "allowed", "policy", "fix"];
    assert_eq!(keys(violation), sorted(names));
    assert_eq!(violation["code"], "cpu-above-max");
    assert_eq!(violation["path"], "/resources/cpu");
    assert_eq!(violation["requested"], "64");
    assert_eq!(violation["allowed"], json!({"min": "10m", "max": "4"}));
    assert_eq!(violation["policy"], "limits.cpu.max");
    assert_eq!(violation["fix"], "4");
    // The record of a refused job still has the requested resources and their price.
    assert_eq!(records[0]["job"]["resources"]["cpu_millis"], 64_000);
    assert!(records[0]["quote"]["ceiling_usd"].is_string());
}

#[test]
fn render_json_is_a_kubernetes_list() {
    let ran = runway(&["render", "fixtures/jobs/embed-docs.yaml", "-o", "json", "--id", "4d5c9fa91db4"]);
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")));
    let kinds: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Job", "Secret"]);
    assert_eq!(list["items"][1]["stringData"], json!({"DB_PASSWORD": "<redacted>"}));
}

#[test]
fn guardrails_json_is_a_kubernetes_list() {
    let ran = runway(&["policy", "render", "-o", "json"]);
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")));
    let kinds: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|item| item["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "Namespace",
            "ResourceQuota",
            "LimitRange",
            "NetworkPolicy",
            "NetworkPolicy",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
        ]
    );
}

#[test]
fn shown_policy_loads_with_the_same_digest() {
    let digest = |policy: &[&str]| {
        let ran = runway(&[&["policy", "check", "-o", "json"], policy].concat());
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["digest"].clone()
    };
    for format in ["text", "json"] {
        let shown = runway(&["policy", "show", "-o", format, "--policy", "fixtures/policies/strict.yaml"]);
        let dir = TempDir::new("shown");
        let file = dir.write("policy.yaml", shown.stdout);
        assert_eq!(digest(&[file.to_str().unwrap()]), digest(&["fixtures/policies/strict.yaml"]));
    }
}

#[test]
fn resolved_bounds_name_their_policy_path() {
    let ran = runway(&[
        "policy",
        "show",
        "-o",
        "json",
        "--policy",
        "fixtures/policies/strict.yaml",
        "--tenant",
        "vision",
        "--class",
        "gpu",
    ]);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        shown["limits"]["gpu"]["max"],
        json!({"value": 16, "policy": "tenants.vision.classes.gpu.gpu.max"})
    );
    assert_eq!(shown["terms"]["gpus"], json!({"value": 16, "policy": "tenants.vision.quota.gpus"}));
}

#[test]
fn every_code_is_explained() {
    let ran = runway(&["explain", "-o", "json"]);
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(all.as_array().unwrap().len(), runway_core::Code::ALL.len());
    for line in runway(&["explain"]).stdout.lines() {
        let summary = line.split_once(' ').unwrap().1.trim_start();
        assert!(summary.ends_with('.') && !summary.contains(". "), "{line}");
    }
    let one = runway(&["explain", "oom"]);
    assert_eq!(one.code, 2);
    assert!(one.stderr.contains("unknown code `oom`"), "{}", one.stderr);
}

#[test]
fn named_backend_is_checked_with_the_policy() {
    let file = "fixtures/jobs/refused/on-local/unsupported-by-backend.yaml";
    let ran = runway(&["check", file, "--backend", "local", "-o", "json"]);
    let records: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&records[0]["admitted"], &records[0]["backend"]), (&json!(false), &json!("local")));
    let violations = records[0]["violations"].as_array().unwrap();
    let found: Vec<_> = violations.iter().map(|found| (&found["code"], &found["capability"])).collect();
    let code = json!("unsupported-by-backend");
    assert_eq!(found, [(&code, &json!("image.entrypoint")), (&code, &json!("network.internal"))]);
    for (command, exit) in [("quote", 1), ("render", 1)] {
        assert_eq!(runway(&[command, file, "--backend", "local"]).code, exit, "{command}");
        assert_eq!(runway(&[command, file, "--backend", "kubernetes"]).code, 0, "{command}");
    }
    assert_eq!(runway(&["check", file, "--backend", "slurm"]).code, 2);
}

#[test]
fn features_that_a_backend_lacks_are_noted() {
    let file = "fixtures/jobs/refused/on-local/unsupported-by-backend.yaml";
    let note = "does not support `image.entrypoint`, `network.internal`; `--backend NAME` checks this\n";
    assert!(runway(&["check", file]).stdout.contains(&format!("note: {file}: the backend `local` {note}")));
    for command in ["quote", "render"] {
        assert!(runway(&[command, file]).stderr.contains(note), "{command}");
    }
    // The job has a command and needs no network, so every backend supports it.
    let plain = runway(&["check", "fixtures/jobs/embed-docs.yaml"]);
    assert!(!plain.stdout.contains("note: "), "{}", plain.stdout);
    assert!(!runway(&["check", file, "--backend", "kubernetes"]).stdout.contains("note: "));
}
