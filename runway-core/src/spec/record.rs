//! The digest of a job, and the redacted form in which a decision records the job.

use super::field::{DigestPart, Field, FieldType, Recorded, Secrecy};
use super::fields::{JOB, RESOURCES};
use super::{JobSpec, Secret};
use crate::digest::Digest;
use crate::document::MAX_DOCUMENT_BYTES;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Error, Map, Value as Json, json};
use std::collections::BTreeMap;
use std::fmt;

impl JobSpec {
    /// Returns a digest of the job. It covers everything except the values of secrets.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_json(&to_json(self, JOB, JsonForm::Digest))
    }

    /// Returns the spec as JSON, with lengths in place of the values of `env` and `secrets`.
    pub(crate) fn redacted(&self) -> Json {
        to_json(self, JOB, JsonForm::Redacted)
    }

    /// Restores a spec from its redacted form. Placeholders of the same lengths replace the redacted values,
    /// so the restored spec gives the same decision as the original.
    pub(crate) fn from_redacted(redacted: Json) -> Result<Self, Error> {
        from_json(redacted, JOB)
    }

    /// Returns the total length in bytes of the strings in the spec, without amounts. The check limits this
    /// length, because a program can build a spec without a document.
    pub(crate) fn byte_len(&self) -> usize {
        JOB.iter().map(|field| field_byte_len(self, field)).fold(0, usize::saturating_add)
    }
}

impl fmt::Debug for JobSpec {
    /// Prints the spec without the values of `env` and `secrets`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobSpec({})", self.redacted())
    }
}

/// The purpose of a spec's JSON form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JsonForm {
    Digest,
    Redacted,
}

fn to_json<S, N>(spec: &S, fields: &[Field<S, N>], form: JsonForm) -> Json {
    let entry = |field: &Field<S, N>| {
        let (is_set, value) = field_json(spec, field, form);
        (is_set || field.recorded == Recorded::Always).then(|| (field.name.to_owned(), value))
    };
    let mut entries: Vec<_> = fields.iter().filter_map(entry).collect();
    // The entries are sorted here, because `serde_json` keeps the insertion order with its feature
    // `preserve_order`.
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Json::Object(entries.into_iter().collect())
}

/// Returns whether the job sets the field, and the JSON of its value.
fn field_json<S, N>(spec: &S, field: &Field<S, N>, form: JsonForm) -> (bool, Json) {
    let string = |text: &str| match form {
        JsonForm::Digest if field.digest == DigestPart::Names => Json::Null,
        JsonForm::Redacted if field.secrecy == Secrecy::Secret => json!(RedactedValue::new(text)),
        JsonForm::Digest | JsonForm::Redacted => text.into(),
    };
    match &field.value {
        FieldType::String(at) => {
            let value = (at.get)(spec).as_deref();
            (value.is_some(), value.map_or(Json::Null, string))
        }
        FieldType::Strings(at) => {
            let values = (at.get)(spec);
            (!values.is_empty(), values.iter().map(|value| string(value)).collect())
        }
        FieldType::Amount(at) => {
            let value = (at.get)(spec);
            (value.is_some(), json!(value))
        }
        FieldType::Variables(at) => {
            let values = (at.get)(spec);
            let map = values.iter().map(|(name, value)| (name.clone(), string(value)));
            (!values.is_empty(), Json::Object(map.collect()))
        }
        FieldType::Secrets(at) => {
            let values = (at.get)(spec);
            let map = values.iter().map(|(name, secret)| {
                let value = match secret {
                    Secret::FromEnv(from_env) if form == JsonForm::Redacted => json!({"from_env": from_env}),
                    Secret::FromEnv(_) => Json::Null,
                    Secret::Value(value) => string(value),
                };
                (name.clone(), value)
            });
            (!values.is_empty(), Json::Object(map.collect()))
        }
        FieldType::Resources(at) => {
            let value = (at.get)(spec);
            (*value != Default::default(), to_json(value, RESOURCES, form))
        }
    }
}

/// Parses a recorded spec. A missing field is an error, unless it has [`Recorded::IfPresent`].
fn from_json<S: Default, N>(recorded: Json, fields: &[Field<S, N>]) -> Result<S, Error> {
    let mut recorded: Map<String, Json> = parse(recorded)?;
    let mut spec = S::default();
    for field in fields {
        match recorded.remove(field.name) {
            Some(value) => set_field(&mut spec, field, value)
                .map_err(|error| Error::custom(format!("`{}`: {error}", field.name)))?,
            None if field.recorded == Recorded::IfPresent => {}
            None => return Err(Error::custom(format!("missing field `{}`", field.name))),
        }
    }
    Ok(spec)
}

fn set_field<S, N>(spec: &mut S, field: &Field<S, N>, value: Json) -> Result<(), Error> {
    let string = |value: Json| match field.secrecy {
        Secrecy::Public => parse(value),
        Secrecy::Secret => parse(value).map(RedactedValue::placeholder),
    };
    match &field.value {
        FieldType::String(at) => {
            *(at.get_mut)(spec) = parse::<Option<Json>>(value)?.map(string).transpose()?;
        }
        FieldType::Strings(at) => {
            let values: Vec<Json> = parse(value)?;
            *(at.get_mut)(spec) = values.into_iter().map(string).collect::<Result<_, _>>()?;
        }
        FieldType::Amount(at) => *(at.get_mut)(spec) = parse(value)?,
        FieldType::Variables(at) => {
            let values: Map<String, Json> = parse(value)?;
            let values = values.into_iter().map(|(name, value)| Ok((name, string(value)?)));
            *(at.get_mut)(spec) = values.collect::<Result<_, Error>>()?;
        }
        FieldType::Secrets(at) => {
            let values: BTreeMap<String, RedactedSecret> = parse(value)?;
            let secret = |secret| match secret {
                RedactedSecret::FromEnv { from_env } => Secret::FromEnv(from_env),
                RedactedSecret::Value(value) => Secret::Value(value.placeholder()),
            };
            *(at.get_mut)(spec) = values.into_iter().map(|(name, value)| (name, secret(value))).collect();
        }
        FieldType::Resources(at) => *(at.get_mut)(spec) = from_json(value, RESOURCES)?,
    }
    Ok(())
}

fn parse<T: DeserializeOwned>(value: Json) -> Result<T, Error> {
    serde_json::from_value(value)
}

/// Returns the length of a field's strings in bytes. An amount counts as 0, because a valid amount is short.
/// The variable name in a secret's `from_env` counts as 0 too.
fn field_byte_len<S, N>(spec: &S, field: &Field<S, N>) -> usize {
    let sum = |lengths: &mut dyn Iterator<Item = usize>| lengths.fold(0, usize::saturating_add);
    match &field.value {
        FieldType::String(at) => (at.get)(spec).as_ref().map_or(0, String::len),
        FieldType::Strings(at) => sum(&mut (at.get)(spec).iter().map(String::len)),
        FieldType::Variables(at) => {
            sum(&mut (at.get)(spec).iter().map(|(name, value)| name.len() + value.len()))
        }
        FieldType::Secrets(at) => {
            sum(&mut (at.get)(spec).iter().map(|(name, secret)| name.len() + secret.byte_len()))
        }
        FieldType::Amount(_) | FieldType::Resources(_) => 0,
    }
}

/// The properties of a possibly secret value that a decision depends on: its length, and whether it contains
/// a NUL byte.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
struct RedactedValue {
    bytes: usize,
    nul: bool,
}

impl RedactedValue {
    fn new(value: &str) -> Self {
        // The gate refuses every job with a value above this length. A larger number would give the same
        // decision, so the recorded length is capped.
        let bytes = value.len().min(MAX_DOCUMENT_BYTES + 1);
        Self { bytes, nul: value.contains('\0') }
    }

    /// Returns a value with this length. The value consists of NUL bytes if the original contained one.
    fn placeholder(self) -> String {
        let bytes = self.bytes.min(MAX_DOCUMENT_BYTES + 1);
        if self.nul { "\0".repeat(bytes) } else { "x".repeat(bytes) }
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
enum RedactedSecret {
    FromEnv { from_env: String },
    Value(RedactedValue),
}
