//! The JSON Schemas agree with the parser: they accept admitted jobs and reject malformed ones.

use crate::run::{fixtures, root, runway};
use runway_core::document::parse_all;
use serde_json::Value;

fn schema(arguments: &[&str]) -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&runway(arguments).stdout).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    jsonschema::draft202012::new(&schema).unwrap()
}

/// Returns the documents of a file as an editor sees them, with floating-point values as numbers.
fn documents(file: &str) -> Vec<Value> {
    parse_all(&std::fs::read(root().join(file)).unwrap())
        .into_iter()
        .filter_map(Result::ok)
        .map(|document| document.root.to_json())
        .collect()
}

#[test]
fn admitted_jobs_fit_the_schema_of_jobs() {
    let schema = schema(&["schema"]);
    for file in fixtures("jobs") {
        for document in documents(&file) {
            assert!(schema.is_valid(&document), "{file}: {:?}", schema.validate(&document).err());
        }
    }
}

#[test]
fn jobs_of_the_wrong_shape_do_not_fit() {
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
fn policies_fit_their_schema_and_faulty_ones_do_not() {
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
fn the_schema_knows_the_classes_of_the_policy() {
    let ran = runway(&["schema", "--policy", "fixtures/policies/strict.yaml"]);
    let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["properties"]["class"]["enum"], serde_json::json!(["batch", "gpu", null]));
    assert_eq!(schema["properties"]["gpu_type"]["enum"], serde_json::json!(["a100", "l4", null]));
}
