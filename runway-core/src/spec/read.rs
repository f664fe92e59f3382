//! From a tree to a [`JobSpec`], collecting what has the wrong shape.

use super::{JobSpec, ResourceSpec, Secret, Written};
use crate::code::Code;
use crate::document::{Document, DocumentError, Node, ScalarKind, Span, Value, parse_all};
use crate::name::{check_env_name, is_glued, is_reserved_env_name};
use crate::reader::{Fields, Path, Reader};
use crate::violation::{Violation, bounded};
use serde_json::json;
use std::collections::BTreeMap;

/// The fields of a job.
pub const FIELDS: &[&str] = &[
    "name",
    "tenant",
    "class",
    "image",
    "command",
    "args",
    "env",
    "secrets",
    "resources",
    "gpu_type",
    "timeout",
    "retries",
    "network",
];

/// The fields under `resources`.
pub const RESOURCE_FIELDS: &[&str] = &["cpu", "memory", "gpu", "ephemeral_storage", "shm"];

/// Whether the value of a secret may stand in the document itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretLiterals {
    /// Only references: a file must not hold secrets.
    Refuse,
    /// Both: a request to judge a job, which needs no values.
    Accept,
    /// Only values: a request to run a job carries them.
    Require,
}

/// What was understood of a document, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The parts that could be read.
    pub spec: JobSpec,
    /// What could not be.
    pub violations: Vec<Violation>,
}

impl JobSpec {
    /// Reads every document of a file; what is no YAML is a reading with a `syntax` violation.
    ///
    /// ```
    /// use runway_core::{Code, JobSpec, spec::SecretLiterals};
    ///
    /// let readings = JobSpec::read_all(b"name: x\nimagee: busybox\n", SecretLiterals::Refuse);
    /// assert_eq!(readings[0].spec.name.as_deref(), Some("x"));
    /// assert_eq!(readings[0].violations[0].code, Code::UnknownField);
    /// ```
    #[must_use]
    pub fn read_all(source: &[u8], secrets: SecretLiterals) -> Vec<Reading> {
        parse_all(source)
            .into_iter()
            .map(|document| match document {
                Ok(document) => Self::read(&document, secrets),
                Err(error) => Reading::from(&error),
            })
            .collect()
    }

    /// Reads one document.
    #[must_use]
    pub fn read(document: &Document, secrets: SecretLiterals) -> Reading {
        let mut reader = Reader { hidden: hidden_spans(document), ..Reader::default() };
        let spec = read_spec(&mut reader, document, secrets).unwrap_or_default();
        Reading { spec, violations: bounded(reader.violations) }
    }
}

impl From<&DocumentError> for Reading {
    fn from(error: &DocumentError) -> Self {
        Self { spec: JobSpec::default(), violations: vec![error.into()] }
    }
}

impl From<&DocumentError> for Violation {
    fn from(error: &DocumentError) -> Self {
        let Span { line, column, .. } = error.span();
        let message = format!("line {line}, column {column}: {error}");
        match error {
            DocumentError::Syntax { .. } => Self::new(Code::Syntax, "", message),
            DocumentError::TooLarge { limit, .. } => {
                Self::new(Code::TooLarge, "", message).range(serde_json::Value::Null, *limit)
            }
        }
    }
}

/// The stretches whose values may be secret: `env`, `secrets`, and whatever stands where it should not and may be one of
/// the two, misspelt or misplaced: fields that nobody knows, and lists and mappings in place of single values.
#[must_use]
pub fn hidden_spans(document: &Document) -> Vec<Span> {
    let mut hidden = Vec::new();
    if !matches!(document.root.value, Value::Map(_)) {
        hide(&document.root, &mut hidden);
    }
    hide_glued(&document.root, &mut hidden);
    for (key, node) in entries(&document.root) {
        match key {
            "command" | "args" => match &node.value {
                Value::List(items) => items.iter().for_each(|item| hide_unless_scalar(item, &mut hidden)),
                _ => hide_unless_scalar(node, &mut hidden),
            },
            "resources" => {
                if matches!(node.value, Value::List(_)) {
                    hide(node, &mut hidden);
                }
                hide_glued(node, &mut hidden);
                for (key, node) in entries(node) {
                    if RESOURCE_FIELDS.contains(&key) {
                        hide_unless_scalar(node, &mut hidden);
                    } else {
                        hide(node, &mut hidden);
                    }
                }
            }
            "env" | "secrets" => hide(node, &mut hidden),
            key if FIELDS.contains(&key) => hide_unless_scalar(node, &mut hidden),
            _ => hide(node, &mut hidden),
        }
    }
    hidden
}

/// Hides the keys of a mapping to which values are glued.
fn hide_glued(node: &Node, hidden: &mut Vec<Span>) {
    if let Value::Map(entries) = &node.value {
        let glued = entries.iter().filter(|(key, _)| is_glued(&key.text));
        hidden.extend(glued.map(|(key, _)| key.span));
    }
}

fn hide_unless_scalar(node: &Node, hidden: &mut Vec<Span>) {
    if !matches!(node.value, Value::Scalar(..)) {
        hide(node, hidden);
    }
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = if let Value::Map(entries) = &node.value { entries.as_slice() } else { &[] };
    entries.iter().map(|(key, node)| (key.text.as_str(), node))
}

/// Hides a value where it stands and, if an alias brought it there, where it was defined.
fn hide(node: &Node, hidden: &mut Vec<Span>) {
    hidden.extend([Some(node.span), node.defined.as_deref().copied()].into_iter().flatten());
}

fn read_spec(reader: &mut Reader, document: &Document, literals: SecretLiterals) -> Option<JobSpec> {
    let fields = reader.fields(&document.root, &Path::default(), FIELDS)?;
    Some(JobSpec {
        name: text(reader, &fields, "name"),
        tenant: text(reader, &fields, "tenant"),
        class: text(reader, &fields, "class"),
        image: text(reader, &fields, "image"),
        command: texts(reader, &fields, "command"),
        args: texts(reader, &fields, "args"),
        env: read_env(reader, &fields),
        secrets: read_secrets(reader, &fields, literals),
        resources: read_resources(reader, &fields),
        gpu_type: text(reader, &fields, "gpu_type"),
        timeout: written(reader, &fields, "timeout"),
        retries: written(reader, &fields, "retries"),
        network: text(reader, &fields, "network"),
    })
}

fn text(reader: &mut Reader, fields: &Fields<'_, '_>, name: &str) -> Option<String> {
    let (node, path) = fields.get(name)?;
    reader.text(node, &path).map(str::to_owned)
}

fn texts(reader: &mut Reader, fields: &Fields<'_, '_>, name: &str) -> Vec<String> {
    fields.get(name).map(|(node, path)| reader.texts(node, &path)).unwrap_or_default()
}

fn written(reader: &mut Reader, fields: &Fields<'_, '_>, name: &str) -> Option<Written> {
    let (node, path) = fields.get(name)?;
    let (kind, text) = reader.number(node, &path)?;
    let written = Written::from(text);
    Some(if kind == ScalarKind::Text { written } else { written.as_number() })
}

fn read_resources(reader: &mut Reader, fields: &Fields<'_, '_>) -> ResourceSpec {
    let Some(fields) =
        fields.get("resources").and_then(|(node, path)| reader.fields(node, &path, RESOURCE_FIELDS))
    else {
        return ResourceSpec::default();
    };
    ResourceSpec {
        cpu: written(reader, &fields, "cpu"),
        memory: written(reader, &fields, "memory"),
        gpu: written(reader, &fields, "gpu"),
        ephemeral_storage: written(reader, &fields, "ephemeral_storage"),
        shm: written(reader, &fields, "shm"),
    }
}

/// Tells of a name to which its value was probably glued, `TOKEN:x` or `TOKEN=x`, without repeating it.
fn refuse_glued(reader: &mut Reader, name: &str, parent: &Path<'_>) -> bool {
    let glued = is_glued(name);
    if glued {
        let message =
            "a name here has `:`, `=` or a space in it: write `NAME: value`, with a space behind the colon";
        reader.violations.push(Violation::new(Code::InvalidEnvName, parent.pointer(), message));
    }
    glued
}

fn read_env(reader: &mut Reader, fields: &Fields<'_, '_>) -> BTreeMap<String, String> {
    let Some((node, path)) = fields.get("env") else {
        return BTreeMap::new();
    };
    let entries = reader.entries(node, &path).unwrap_or_default();
    let read = |(key, node): &(_, Node)| {
        let key: &crate::document::Key = key;
        if refuse_glued(reader, &key.text, &path) {
            return None;
        }
        let value = reader.text(node, &path.join(&key.text))?;
        Some((key.text.to_string(), value.to_owned()))
    };
    entries.iter().filter_map(read).collect()
}

fn read_secrets(
    reader: &mut Reader,
    fields: &Fields<'_, '_>,
    literals: SecretLiterals,
) -> BTreeMap<String, Secret> {
    let Some((node, path)) = fields.get("secrets") else {
        return BTreeMap::new();
    };
    let written = reader.entries(node, &path).unwrap_or_default();
    let mut secrets = BTreeMap::new();
    for (key, node) in written {
        if refuse_glued(reader, &key.text, &path) {
            continue;
        }
        let path = path.join(&key.text);
        let is_in_env =
            fields.get("env").is_some_and(|(env, _)| entries(env).any(|(name, _)| key.text == name));
        if let Some(secret) = read_secret(reader, (&key.text, is_in_env), node, &path, literals) {
            secrets.insert(key.text.to_string(), secret);
        }
    }
    secrets
}

fn read_secret(
    reader: &mut Reader,
    (name, is_in_env): (&str, bool),
    node: &Node,
    path: &Path<'_>,
    literals: SecretLiterals,
) -> Option<Secret> {
    match &node.value {
        Value::Map(_) if literals == SecretLiterals::Require => {
            let message =
                "send the value itself: the environment that it would come from cannot be read here";
            reader.violations.push(Violation::new(Code::WrongType, path.pointer(), message));
            None
        }
        Value::Map(_) => {
            let fields = reader.fields(node, path, &["from_env"])?;
            let Some((source, path)) = fields.get("from_env") else {
                reader.missing(&path.join("from_env"), "name the environment variable the value comes from");
                return None;
            };
            let source = reader.text(source, &path)?;
            if let Err(error) = check_env_name(source) {
                let message = format!("the name of the variable {error}");
                reader.violations.push(Violation::new(Code::InvalidEnvName, path.pointer(), message));
                return None;
            }
            Some(Secret::FromEnv(source.to_owned()))
        }
        Value::Scalar(kind, value) if *kind != ScalarKind::Null => match literals {
            SecretLiterals::Refuse => {
                let message =
                    "a file must not hold the value of a secret: name the environment variable it comes from";
                let is_usable = check_env_name(name).is_ok() && !is_reserved_env_name(name) && !is_in_env;
                let fix = is_usable.then(|| json!({"from_env": name}));
                reader.violations.push(Violation::new(Code::SecretLiteral, path.pointer(), message).fix(fix));
                None
            }
            _ if *kind == ScalarKind::Text => Some(Secret::Value(value.to_string())),
            _ => reader.wrong_type(node, path, "text"),
        },
        _ => reader.wrong_type(node, path, "`{from_env: NAME}`"),
    }
}
