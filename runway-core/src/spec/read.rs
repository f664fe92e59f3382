//! Parses a document tree into a [`JobSpec`] and collects the violations.

use super::field::{Field, FieldType, Secrecy};
use super::fields::{FIELDS, JOB, RESOURCE_FIELDS, RESOURCES, is_secret_path};
use super::{JobSpec, Secret, Written};
use crate::code::Code;
use crate::document::{Document, DocumentError, Node, ScalarKind, Span, Value, parse_all};
use crate::name::{check_env_name, is_glued, is_reserved_env_name};
use crate::reader::{Fields, Path, Reader};
use crate::violation::{Violation, bounded};
use serde_json::json;
use std::collections::BTreeMap;

/// Selects whether a document may contain the values of secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretLiterals {
    /// Only references are valid, because a file must not contain secrets.
    Refuse,
    /// References and values are valid. A dry run uses this variant, because it needs no values.
    Accept,
    /// Only values are valid. A request to create a job must contain them.
    Require,
}

/// A parsed job document: the spec and the violations found while parsing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// The valid parts of the document. Invalid fields are left out.
    pub spec: JobSpec,
    /// The violations found while parsing.
    pub violations: Vec<Violation>,
}

impl JobSpec {
    /// Parses every document of a file. A document with a syntax error gives an empty spec and a `syntax`
    /// violation.
    ///
    /// ```
    /// use runway_core::{Code, JobSpec, spec::SecretLiterals};
    ///
    /// let parsed = JobSpec::parse_all(b"name: x\nimagee: busybox\n", SecretLiterals::Refuse);
    /// assert_eq!(parsed[0].spec.name.as_deref(), Some("x"));
    /// assert_eq!(parsed[0].violations[0].code, Code::UnknownField);
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

    /// Parses one document into a spec.
    #[must_use]
    pub fn read(document: &Document, secrets: SecretLiterals) -> Reading {
        let hidden = hidden_spans(document);
        let mut reader = Reader { hidden, is_secret: Some(is_secret_path), ..Reader::default() };
        let fields = reader.fields(&document.root, &Path::default(), FIELDS);
        let spec = fields.map(|fields| read_fields(&mut reader, &fields, JOB, secrets)).unwrap_or_default();
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

/// Returns the spans of a document whose text may be secret. Messages and diagnostics must not show them.
///
/// The spans cover the values of `env` and `secrets`. They also cover values that a misspelt or misplaced
/// `secrets` field could produce: unknown fields, and lists or mappings in place of scalars.
#[must_use]
pub fn hidden_spans(document: &Document) -> Vec<Span> {
    let mut hidden = Vec::new();
    if !matches!(document.root.value, Value::Map(_)) {
        hide(&document.root, &mut hidden);
    }
    hide_glued(&document.root, &mut hidden);
    hide_values(&document.root, JOB, &mut hidden);
    hidden
}

fn hide_values<S, N>(node: &Node, fields: &[Field<S, N>], hidden: &mut Vec<Span>) {
    for (key, node) in entries(node) {
        match fields.iter().find(|field| field.name == key) {
            Some(Field { secrecy: Secrecy::Public, value, .. }) => match (value, &node.value) {
                (FieldType::Texts(_), Value::List(items)) => {
                    items.iter().for_each(|item| hide_unless_scalar(item, hidden));
                }
                (FieldType::Resources(_), Value::Map(_)) => {
                    hide_glued(node, hidden);
                    hide_values(node, RESOURCES, hidden);
                }
                _ => hide_unless_scalar(node, hidden),
            },
            Some(Field { secrecy: Secrecy::Secret, .. }) | None => hide(node, hidden),
        }
    }
}

/// Redacts the keys of a mapping that look like an assignment, such as `TOKEN=x`.
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

/// Redacts a value and, if the value is an alias, its anchor as well.
fn hide(node: &Node, hidden: &mut Vec<Span>) {
    hidden.extend([Some(node.span), node.defined.as_deref().copied()].into_iter().flatten());
}

fn read_fields<S: Default, N>(
    reader: &mut Reader,
    written: &Fields<'_, '_>,
    fields: &[Field<S, N>],
    literals: SecretLiterals,
) -> S {
    let mut spec = S::default();
    for field in fields {
        let Some((node, path)) = written.get(field.name) else { continue };
        match &field.value {
            FieldType::Text(at) => {
                let text = reader.text_or_fix(node, &path, field.quotable);
                *(at.get_mut)(&mut spec) = text.map(str::to_owned);
            }
            FieldType::Texts(at) => *(at.get_mut)(&mut spec) = reader.texts(node, &path, field.quotable),
            FieldType::Amount(at) => *(at.get_mut)(&mut spec) = read_amount(reader, node, &path),
            FieldType::Variables(at) => *(at.get_mut)(&mut spec) = read_env(reader, node, &path),
            FieldType::Secrets(at) => {
                *(at.get_mut)(&mut spec) = read_secrets(reader, node, &path, written, literals);
            }
            FieldType::Resources(at) => {
                if let Some(written) = reader.fields(node, &path, RESOURCE_FIELDS) {
                    *(at.get_mut)(&mut spec) = read_fields(reader, &written, RESOURCES, literals);
                }
            }
        }
    }
    spec
}

fn read_amount(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Written> {
    let (kind, text) = reader.number(node, path)?;
    let written = Written::from(text);
    Some(if kind == ScalarKind::Text { written } else { written.as_number() })
}

/// Reports a name that looks like an assignment, such as `TOKEN:x` or `TOKEN=x`. The message does not show
/// the name, because it may contain a secret.
fn refuse_glued(reader: &mut Reader, name: &str, parent: &Path<'_>) -> bool {
    let glued = is_glued(name);
    if glued {
        let message =
            "a name contains `:`, `=` or a space; write `NAME: value`, with a space after the colon";
        reader.violations.push(Violation::new(Code::InvalidEnvName, parent.pointer(), message));
    }
    glued
}

fn read_env(reader: &mut Reader, node: &Node, path: &Path<'_>) -> BTreeMap<String, String> {
    let entries = reader.entries(node, path).unwrap_or_default();
    let read = |(key, node): &(_, Node)| {
        let key: &crate::document::Key = key;
        if refuse_glued(reader, &key.text, path) {
            return None;
        }
        let value = reader.text(node, &path.join(&key.text))?;
        Some((key.text.to_string(), value.to_owned()))
    };
    entries.iter().filter_map(read).collect()
}

fn read_secrets(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    fields: &Fields<'_, '_>,
    literals: SecretLiterals,
) -> BTreeMap<String, Secret> {
    let written = reader.entries(node, path).unwrap_or_default();
    let mut secrets = BTreeMap::new();
    for (key, node) in written {
        if refuse_glued(reader, &key.text, path) {
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
            let message = "environment variables cannot be read here; send the value itself";
            reader.violations.push(Violation::new(Code::WrongType, path.pointer(), message));
            None
        }
        Value::Map(_) => {
            let fields = reader.fields(node, path, &["from_env"])?;
            let Some((source, path)) = fields.get("from_env") else {
                reader.missing(&path.join("from_env"), "name the environment variable with the value");
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
        Value::Scalar(kind, _) if *kind != ScalarKind::Null => match literals {
            SecretLiterals::Refuse => {
                let message = "a file must not contain the value of a secret; name its environment variable";
                let is_usable = check_env_name(name).is_ok() && !is_reserved_env_name(name) && !is_in_env;
                let fix = is_usable.then(|| json!({"from_env": name}));
                reader.violations.push(Violation::new(Code::SecretLiteral, path.pointer(), message).fix(fix));
                None
            }
            _ => reader.text(node, path).map(|value| Secret::Value(value.to_owned())),
        },
        _ => reader.wrong_type(node, path, "`{from_env: NAME}`"),
    }
}
