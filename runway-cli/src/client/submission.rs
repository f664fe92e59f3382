//! Encodes a job for submission, with the values of its secrets.

use runway_core::JobSpec;
use runway_core::document::{Document, Node, ScalarKind, Value, pointer};
use runway_core::spec::Secret;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::env::VarError;

/// The JSON body of a submission. It contains secrets, so it does not implement `Debug`.
pub(crate) struct SubmitBody(String);

/// A secret whose environment variable is not set or not valid UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MissingSecret {
    /// JSON pointer to the secret's `from_env` field.
    pub path: String,
    /// The message for the user.
    pub message: String,
}

impl SubmitBody {
    /// Encodes the document from which `spec` was parsed. Secrets with `from_env` get their value from
    /// `variable`, which returns the value of an environment variable.
    ///
    /// # Errors
    ///
    /// A [`MissingSecret`] for each secret without a value.
    pub(crate) fn new(
        document: &Document,
        spec: &JobSpec,
        variable: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, Vec<MissingSecret>> {
        let (mut secrets, mut missing) = (BTreeMap::new(), Vec::new());
        for (name, secret) in &spec.secrets {
            let value = match secret {
                Secret::Value(value) => Ok(value.clone()),
                Secret::FromEnv(source) => variable(source).map_err(|error| {
                    let problem = match error {
                        VarError::NotPresent => "is not set",
                        VarError::NotUnicode(_) => "is not valid UTF-8",
                    };
                    let message = format!(
                        "cannot read the secret `{name}`: the environment variable `{source}` {problem}"
                    );
                    MissingSecret { path: pointer(["secrets", name, "from_env"]), message }
                }),
            };
            match value {
                Ok(value) => {
                    secrets.insert(name.as_str(), value);
                }
                Err(missing_secret) => missing.push(missing_secret),
            }
        }
        if missing.is_empty() { Ok(Self(encode_job(document, &secrets))) } else { Err(missing) }
    }

    /// Returns the request body.
    pub(crate) fn as_json(&self) -> &str {
        &self.0
    }
}

fn encode_job(document: &Document, secrets: &BTreeMap<&str, String>) -> String {
    let mut text = String::new();
    let Value::Map(entries) = &document.root.value else {
        write_node(&document.root, &mut text);
        return text;
    };
    text.push('{');
    for (i, (key, node)) in entries.iter().enumerate() {
        write_comma(i, &mut text);
        write_string(&key.text, &mut text);
        text.push(':');
        if key.text == "secrets" && !node.is_null() {
            text.push('{');
            for (i, (name, value)) in secrets.iter().enumerate() {
                write_comma(i, &mut text);
                write_string(name, &mut text);
                text.push(':');
                write_string(value, &mut text);
            }
            text.push('}');
        } else {
            write_node(node, &mut text);
        }
    }
    text.push('}');
    text
}

/// Writes a value as JSON. Numbers keep their original digits: `1.50` and `1e3` stay as they are.
fn write_node(node: &Node, text: &mut String) {
    match &node.value {
        Value::Scalar(kind, literal) => match kind {
            ScalarKind::Null => text.push_str("null"),
            ScalarKind::Bool => text.push_str(&literal.to_ascii_lowercase()),
            ScalarKind::Integer | ScalarKind::Float if is_json_number(literal) => text.push_str(literal),
            // A number such as `.5` is not valid JSON. It is sent as a string, which the server accepts too.
            ScalarKind::Integer | ScalarKind::Float | ScalarKind::String => write_string(literal, text),
        },
        Value::List(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                write_comma(i, text);
                write_node(item, text);
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (i, (key, node)) in entries.iter().enumerate() {
                write_comma(i, text);
                write_string(&key.text, text);
                text.push(':');
                write_node(node, text);
            }
            text.push('}');
        }
    }
}

fn write_comma(i: usize, text: &mut String) {
    if i > 0 {
        text.push(',');
    }
}

fn write_string(literal: &str, text: &mut String) {
    text.push_str(&Json::from(literal).to_string());
}

fn is_json_number(literal: &str) -> bool {
    serde_json::from_str::<serde_json::Number>(literal).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runway_core::document::parse_all;
    use runway_core::spec::SecretLiterals;

    fn encode(source: &str) -> Result<String, Vec<MissingSecret>> {
        let document = parse_all(source.as_bytes()).remove(0).unwrap();
        let parsed_spec = JobSpec::from_document(&document, SecretLiterals::Refuse);
        assert_eq!(parsed_spec.violations, []);
        let variable = |name: &str| match name {
            "SET" => Ok("a \"value\"\n".to_owned()),
            "EMPTY" => Ok(String::new()),
            "BYTES" => Err(VarError::NotUnicode("\u{0}".into())),
            _ => Err(VarError::NotPresent),
        };
        SubmitBody::new(&document, &parsed_spec.spec, variable).map(|prepared| prepared.as_json().to_owned())
    }

    #[test]
    fn submit_body_keeps_values_as_written() {
        let source = "name: x\nresources: {cpu: 1.50, memory: 1e3, gpu: 0x1, shm: .5}\ntimeout: 1_0\nretries: ~\nargs: ['1', \"ä\\e\"]\n";
        assert_eq!(
            encode(source).unwrap(),
            r#"{"name":"x","resources":{"cpu":1.50,"memory":1e3,"gpu":"0x1","shm":".5"},"timeout":"1_0","retries":null,"args":["1","ä\u001b"]}"#
        );
    }

    #[test]
    fn submit_body_parses_to_the_same_spec_as_the_file() {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/jobs");
        let mut count = 0;
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            for document in parse_all(&std::fs::read(path).unwrap()) {
                let document = document.unwrap();
                let original = JobSpec::from_document(&document, SecretLiterals::Refuse).spec;
                let sent = SubmitBody::new(&document, &original, |_| Ok("value".to_owned())).unwrap();
                let document_sent = parse_all(sent.as_json().as_bytes()).remove(0).unwrap();
                let parsed_sent = JobSpec::from_document(&document_sent, SecretLiterals::Accept);
                assert_eq!(
                    (parsed_sent.violations, parsed_sent.spec.digest()),
                    (Vec::new(), original.digest())
                );
                count += 1;
            }
        }
        assert!(count >= 10, "{count}");
    }

    #[test]
    fn secret_values_come_from_the_named_variables() {
        let source = "secrets: {A: {from_env: SET}, \"B\": {from_env: EMPTY}}\nname: x\n";
        assert_eq!(encode(source).unwrap(), r#"{"secrets":{"A":"a \"value\"\n","B":""},"name":"x"}"#);
        let missing = encode("secrets: {A: {from_env: UNSET}, B: {from_env: SET}, C: {from_env: BYTES}}\n");
        let paths: Vec<_> = missing.unwrap_err().into_iter().map(|missing| missing.path).collect();
        assert_eq!(paths, ["/secrets/A/from_env", "/secrets/C/from_env"]);
    }
}
