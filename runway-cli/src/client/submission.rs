//! Encodes a job for submission, with the values of its secrets.

use runway_core::JobSpec;
use runway_core::document::{Document, Node, ScalarKind, Value, pointer};
use runway_core::spec::Secret;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::env::VarError;

/// The JSON body of a submission. It contains secrets, so it does not implement `Debug`.
pub(crate) struct Prepared(String);

/// A secret without a value in the environment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// JSON pointer to the secret's `from_env` field.
    pub path: String,
    /// The message for the user.
    pub message: String,
}

impl Prepared {
    /// Encodes the document of `spec`. Secrets with `from_env` get their value from `variable`.
    ///
    /// # Errors
    ///
    /// A [`MissingSecret`] for each secret without a value.
    pub(crate) fn new(
        document: &Document,
        spec: &JobSpec,
        variable: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, Vec<Missing>> {
        let (mut secrets, mut missing) = (BTreeMap::new(), Vec::new());
        for (name, secret) in &spec.secrets {
            let value = match secret {
                Secret::Value(value) => Ok(value.clone()),
                Secret::FromEnv(source) => variable(source).map_err(|error| {
                    let what = match error {
                        VarError::NotPresent => "is not set",
                        VarError::NotUnicode(_) => "is not valid UTF-8",
                    };
                    let message = format!(
                        "cannot read the secret `{name}`: the environment variable `{source}` {what}"
                    );
                    Missing { path: pointer(["secrets", name, "from_env"]), message }
                }),
            };
            match value {
                Ok(value) => {
                    secrets.insert(name.as_str(), value);
                }
                Err(fault) => missing.push(fault),
            }
        }
        if missing.is_empty() { Ok(Self(body(document, &secrets))) } else { Err(missing) }
    }

    /// Returns the request body.
    pub(crate) fn as_json(&self) -> &str {
        &self.0
    }
}

fn body(document: &Document, secrets: &BTreeMap<&str, String>) -> String {
    let mut text = String::new();
    let Value::Map(entries) = &document.root.value else {
        write(&document.root, &mut text);
        return text;
    };
    text.push('{');
    for (i, (key, node)) in entries.iter().enumerate() {
        separate(i, &mut text);
        write_text(&key.text, &mut text);
        text.push(':');
        if key.text == "secrets" && !node.is_null() {
            text.push('{');
            for (i, (name, value)) in secrets.iter().enumerate() {
                separate(i, &mut text);
                write_text(name, &mut text);
                text.push(':');
                write_text(value, &mut text);
            }
            text.push('}');
        } else {
            write(node, &mut text);
        }
    }
    text.push('}');
    text
}

/// Writes a value with its original digits: `1.50` and `1e3` stay as they are.
fn write(node: &Node, text: &mut String) {
    match &node.value {
        Value::Scalar(kind, literal) => match kind {
            ScalarKind::Null => text.push_str("null"),
            ScalarKind::Bool => text.push_str(&literal.to_ascii_lowercase()),
            ScalarKind::Integer | ScalarKind::Float if is_json_number(literal) => text.push_str(literal),
            // The server accepts a number such as `.5`, which is not valid JSON, as a string.
            ScalarKind::Integer | ScalarKind::Float | ScalarKind::Text => write_text(literal, text),
        },
        Value::List(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                separate(i, text);
                write(item, text);
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (i, (key, node)) in entries.iter().enumerate() {
                separate(i, text);
                write_text(&key.text, text);
                text.push(':');
                write(node, text);
            }
            text.push('}');
        }
    }
}

fn separate(i: usize, text: &mut String) {
    if i > 0 {
        text.push(',');
    }
}

fn write_text(literal: &str, text: &mut String) {
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

    fn prepared(source: &str) -> Result<String, Vec<Missing>> {
        let document = parse_all(source.as_bytes()).remove(0).unwrap();
        let reading = JobSpec::read(&document, SecretLiterals::Refuse);
        assert_eq!(reading.violations, []);
        let variable = |name: &str| match name {
            "SET" => Ok("a \"value\"\n".to_owned()),
            "EMPTY" => Ok(String::new()),
            "BYTES" => Err(VarError::NotUnicode("\u{0}".into())),
            _ => Err(VarError::NotPresent),
        };
        Prepared::new(&document, &reading.spec, variable).map(|prepared| prepared.as_json().to_owned())
    }

    #[test]
    fn a_job_is_sent_as_it_was_written() {
        let source = "name: x\nresources: {cpu: 1.50, memory: 1e3, gpu: 0x1, shm: .5}\ntimeout: 1_0\nretries: ~\nargs: ['1', \"ä\\e\"]\n";
        assert_eq!(
            prepared(source).unwrap(),
            r#"{"name":"x","resources":{"cpu":1.50,"memory":1e3,"gpu":"0x1","shm":".5"},"timeout":"1_0","retries":null,"args":["1","ä\u001b"]}"#
        );
    }

    #[test]
    fn a_job_that_is_sent_is_read_as_the_one_in_the_file() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/jobs");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            for document in parse_all(&std::fs::read(path).unwrap()) {
                let document = document.unwrap();
                let here = JobSpec::read(&document, SecretLiterals::Refuse).spec;
                let sent = Prepared::new(&document, &here, |_| Ok("value".to_owned())).unwrap();
                let there = parse_all(sent.as_json().as_bytes()).remove(0).unwrap();
                let there = JobSpec::read(&there, SecretLiterals::Accept);
                assert_eq!((there.violations, there.spec.digest()), (Vec::new(), here.digest()));
                read += 1;
            }
        }
        assert!(read >= 10, "{read}");
    }

    #[test]
    fn secrets_have_the_values_of_the_variables_they_name() {
        let source = "secrets: {A: {from_env: SET}, \"B\": {from_env: EMPTY}}\nname: x\n";
        assert_eq!(prepared(source).unwrap(), r#"{"secrets":{"A":"a \"value\"\n","B":""},"name":"x"}"#);
        let missing = prepared("secrets: {A: {from_env: UNSET}, B: {from_env: SET}, C: {from_env: BYTES}}\n");
        let paths: Vec<_> = missing.unwrap_err().into_iter().map(|missing| missing.path).collect();
        assert_eq!(paths, ["/secrets/A/from_env", "/secrets/C/from_env"]);
    }
}
