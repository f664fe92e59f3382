//! JSON Schema fragments that the job and policy fields share.

use serde_json::{Value as Json, json};

pub(crate) const LABEL_PATTERN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
pub(crate) const CLASS_PATTERN: &str = "^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const QUANTITY_PATTERN: &str = r"^[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?$";
const DURATION_PATTERN: &str = "^([0-9]+|([0-9]+h)?([0-9]+m)?([0-9]+s)?)$";
const ENV_NAME_PATTERN: &str = "^[-._a-zA-Z][-._a-zA-Z0-9]*$";
const PRICE_PATTERN: &str = r"^([0-9]+[.]?[0-9]{0,12}|[.][0-9]{1,12})0*$";

pub(crate) fn object(properties: Json, required: &[&str]) -> Json {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

pub(crate) fn with_description(mut schema: Json, description: &str) -> Json {
    if let Json::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), description.into());
    }
    schema
}

/// Returns the schema of a DNS label.
pub(crate) fn label(limit: usize) -> Json {
    json!({"type": "string", "pattern": LABEL_PATTERN, "maxLength": limit})
}

pub(crate) fn string() -> Json {
    json!({"type": "string"})
}

/// Returns the schema of an absolute path of at most `limit` characters.
pub(crate) fn absolute_path(limit: usize) -> Json {
    json!({"type": "string", "pattern": "^/", "maxLength": limit})
}

pub(crate) fn strings() -> Json {
    json!({"type": "array", "items": string()})
}

pub(crate) fn one_of<'a>(values: impl IntoIterator<Item = &'a str>) -> Json {
    json!({"enum": values.into_iter().collect::<Vec<_>>()})
}

pub(crate) fn quantity() -> Json {
    json!({"type": ["string", "number"], "pattern": QUANTITY_PATTERN, "minimum": 0})
}

pub(crate) fn duration() -> Json {
    json!({"type": ["string", "integer"], "pattern": DURATION_PATTERN, "minLength": 1, "minimum": 0})
}

/// Returns the schema of a price in USD.
pub(crate) fn price() -> Json {
    json!({"type": ["string", "number"], "pattern": PRICE_PATTERN, "minimum": 0})
}

/// Returns the schema of environment variables whose values have the given schema.
pub(crate) fn variables(value: &Json) -> Json {
    json!({
        "type": "object",
        "propertyNames": {"pattern": ENV_NAME_PATTERN, "maxLength": 253},
        "additionalProperties": value,
        "maxProperties": 256,
    })
}

/// Returns the schema of a secret's source in a file.
pub(crate) fn secret_source() -> Json {
    let source = json!({"type": "string", "pattern": ENV_NAME_PATTERN, "description": "Environment variable with the value, read by the program that submits the job."});
    object(json!({"from_env": source}), &["from_env"])
}
