//! The JSON Schemas agree with the parser: they accept valid jobs and policies, and reject malformed ones.

use crate::program::{fixtures, root, runway};
use runway_core::document::parse_all;
use serde_json::Value;

fn schema(arguments: &[&str]) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&runway(arguments).stdout).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Returns the documents of a file as JSON. Documents that do not parse are omitted. Floating-point numbers
/// become strings, and integers become numbers if JSON can represent them exactly.
fn documents(file: &str) -> Vec<Value> {
    parse_all(&std::fs::read(root().join(file)).unwrap())
        .into_iter()
        .filter_map(Result::ok)
        .map(|document| document.root.to_json())
        .collect()
}

#[test]
fn admitted_jobs_match_the_job_schema() {
    let schema = schema(&["schema"]);
    for file in fixtures("jobs") {
        for document in documents(&file) {
            assert!(schema.is_valid(&document), "{file}: {:?}", schema.validate(&document).err());
        }
    }
}

#[test]
fn malformed_jobs_do_not_match_the_job_schema() {
    let schema = schema(&["schema"]);
    for code in [
        "unknown-field",
        "wrong-type",
        "missing-field",
        "invalid-name",
        "invalid-tenant",
        "unknown-class",
        "unknown-gpu-type",
        "invalid-quantity",
        "invalid-env-name",
        "secret-literal",
    ] {
        let file = format!("fixtures/jobs/refused/{code}.yaml");
        assert!(documents(&file).iter().all(|document| !schema.is_valid(document)), "{file}");
    }
}

#[test]
fn only_valid_policies_match_the_policy_schema() {
    let schema = schema(&["policy", "schema"]);
    for file in fixtures("policies") {
        for document in documents(&file) {
            assert!(schema.is_valid(&document), "{file}: {:?}", schema.validate(&document).err());
        }
    }
    for code in [
        "unsupported-version",
        "missing-field",
        "unknown-field",
        "invalid-quantity",
        "wrong-type",
        "invalid-name",
    ] {
        let file = format!("fixtures/policies/refused/{code}.yaml");
        assert!(documents(&file).iter().all(|document| !schema.is_valid(document)), "{file}");
    }
}

#[test]
fn job_schema_lists_the_classes_of_the_policy() {
    let ran = runway(&["schema", "--policy", "fixtures/policies/strict.yaml"]);
    let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["properties"]["class"]["enum"], serde_json::json!(["batch", "gpu", null]));
    assert_eq!(schema["properties"]["gpu_type"]["enum"], serde_json::json!(["a100", "l4", null]));
}
