//! Parses a document tree into a [`JobSpec`] and collects the violations.

use super::field::{Field, FieldType, Secrecy};
use super::fields::{FIELDS, JOB, RESOURCE_FIELDS, RESOURCES, is_secret_path};
use super::{JobSpec, RawScalar, Secret};
use crate::code::Code;
use crate::decoder::{Decoder, Fields, Path};
use crate::document::{Document, DocumentError, Node, ScalarKind, Span, Value, parse_all};
use crate::name::{check_env_name, is_reserved_env_name, looks_like_assignment};
use crate::violation::{Violation, truncate};
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
pub struct ParsedSpec {
    /// The fields that could be parsed. A field with a parse violation is left out, or is incomplete. The
    /// values of the other fields have not been checked.
    pub spec: JobSpec,
    /// The violations found while parsing.
    pub violations: Vec<Violation>,
}

impl JobSpec {
    /// Parses every document of a file. A document that cannot be parsed gives an empty spec and one
    /// violation: `syntax` or `too-large`.
    ///
    /// ```
    /// use runway_core::{Code, JobSpec, spec::SecretLiterals};
    ///
    /// let parsed = JobSpec::parse_all(b"name: x\nimagee: busybox\n", SecretLiterals::Refuse);
    /// assert_eq!(parsed[0].spec.name.as_deref(), Some("x"));
    /// assert_eq!(parsed[0].violations[0].code, Code::UnknownField);
    /// ```
    #[must_use]
    pub fn parse_all(source: &[u8], secrets: SecretLiterals) -> Vec<ParsedSpec> {
        parse_all(source)
            .into_iter()
            .map(|document| match document {
                Ok(document) => Self::from_document(&document, secrets),
                Err(error) => ParsedSpec::from(&error),
            })
            .collect()
    }

    /// Parses one document into a spec.
    #[must_use]
    pub fn from_document(document: &Document, secrets: SecretLiterals) -> ParsedSpec {
        let redacted = redacted_spans(document);
        let mut decoder = Decoder {
            redacted,
            is_secret: Some(is_secret_path),
            section_of: Some(|name| RESOURCE_FIELDS.contains(&name).then_some("resources")),
            ..Decoder::default()
        };
        let fields = decoder.fields(&document.root, &Path::default(), FIELDS);
        let spec = fields.map(|fields| parse_fields(&mut decoder, &fields, JOB, secrets)).unwrap_or_default();
        ParsedSpec { spec, violations: truncate(decoder.violations) }
    }
}

impl From<&DocumentError> for ParsedSpec {
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
/// The spans cover the values of `env` and `secrets`. They also cover the text that a misspelt or misplaced
/// `secrets` field could leave elsewhere: the values of unknown fields, lists or mappings in place of
/// scalars, and keys such as `TOKEN=x`.
#[must_use]
pub fn redacted_spans(document: &Document) -> Vec<Span> {
    let mut spans = Vec::new();
    if !matches!(document.root.value, Value::Map(_)) {
        redact(&document.root, &mut spans);
    }
    redact_assignments(&document.root, &mut spans);
    redact_fields(&document.root, JOB, &mut spans);
    spans
}

fn redact_fields<S, N>(node: &Node, fields: &[Field<S, N>], spans: &mut Vec<Span>) {
    for (key, node) in entries(node) {
        match fields.iter().find(|field| field.name == key) {
            Some(Field { secrecy: Secrecy::Public, value, .. }) => match (value, &node.value) {
                (FieldType::Strings(_), Value::List(items)) => {
                    items.iter().for_each(|item| redact_unless_scalar(item, spans));
                }
                (FieldType::Resources(_), Value::Map(_)) => {
                    redact_assignments(node, spans);
                    redact_fields(node, RESOURCES, spans);
                }
                _ => redact_unless_scalar(node, spans),
            },
            Some(Field { secrecy: Secrecy::Secret, .. }) | None => redact(node, spans),
        }
    }
}

/// Redacts the keys of a mapping that look like an assignment, such as `TOKEN=x`.
fn redact_assignments(node: &Node, spans: &mut Vec<Span>) {
    if let Value::Map(entries) = &node.value {
        let assignments = entries.iter().filter(|(key, _)| looks_like_assignment(&key.text));
        spans.extend(assignments.map(|(key, _)| key.span));
    }
}

fn redact_unless_scalar(node: &Node, spans: &mut Vec<Span>) {
    if !matches!(node.value, Value::Scalar(..)) {
        redact(node, spans);
    }
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = if let Value::Map(entries) = &node.value { entries.as_slice() } else { &[] };
    entries.iter().map(|(key, node)| (key.text.as_str(), node))
}

/// Redacts a value and, if the value is an alias, its anchor as well.
fn redact(node: &Node, spans: &mut Vec<Span>) {
    spans.extend([Some(node.span), node.anchor_span.as_deref().copied()].into_iter().flatten());
}

fn parse_fields<S: Default, N>(
    decoder: &mut Decoder,
    source: &Fields<'_, '_>,
    fields: &[Field<S, N>],
    literals: SecretLiterals,
) -> S {
    let mut spec = S::default();
    for field in fields {
        let Some((node, path)) = source.get(field.name) else { continue };
        match &field.value {
            FieldType::String(at) => {
                let text = decoder.string_or_fix(node, &path, field.quotable);
                *(at.get_mut)(&mut spec) = text.map(str::to_owned);
            }
            FieldType::Strings(at) => *(at.get_mut)(&mut spec) = decoder.strings(node, &path, field.quotable),
            FieldType::Amount(at) => *(at.get_mut)(&mut spec) = parse_amount(decoder, node, &path),
            FieldType::Variables(at) => *(at.get_mut)(&mut spec) = parse_env(decoder, node, &path),
            FieldType::Secrets(at) => {
                *(at.get_mut)(&mut spec) = parse_secrets(decoder, node, &path, source, literals);
            }
            FieldType::Resources(at) => {
                if let Some(nested) = decoder.fields(node, &path, RESOURCE_FIELDS) {
                    *(at.get_mut)(&mut spec) = parse_fields(decoder, &nested, RESOURCES, literals);
                }
            }
        }
    }
    spec
}

fn parse_amount(decoder: &mut Decoder, node: &Node, path: &Path<'_>) -> Option<RawScalar> {
    let (kind, text) = decoder.string_or_number(node, path)?;
    let scalar = RawScalar::from(text);
    Some(if kind == ScalarKind::String { scalar } else { scalar.as_number() })
}

/// Reports a name that looks like an assignment, such as `TOKEN:x` or `TOKEN=x`, and returns `true` for it.
/// The message does not show the name, because it may contain a secret.
fn reject_assignment(decoder: &mut Decoder, name: &str, parent: &Path<'_>) -> bool {
    let is_assignment = looks_like_assignment(name);
    if is_assignment {
        let message =
            "a name contains `:`, `=` or a space; write `NAME: value`, with a space after the colon";
        decoder.violations.push(Violation::new(Code::InvalidEnvName, parent.pointer(), message));
    }
    is_assignment
}

fn parse_env(decoder: &mut Decoder, node: &Node, path: &Path<'_>) -> BTreeMap<String, String> {
    let entries = decoder.entries(node, path).unwrap_or_default();
    let parse_entry = |(key, node): &(_, Node)| {
        let key: &crate::document::Key = key;
        if reject_assignment(decoder, &key.text, path) {
            return None;
        }
        let value = decoder.string(node, &path.join(&key.text))?;
        Some((key.text.to_string(), value.to_owned()))
    };
    entries.iter().filter_map(parse_entry).collect()
}

fn parse_secrets(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
    fields: &Fields<'_, '_>,
    literals: SecretLiterals,
) -> BTreeMap<String, Secret> {
    let secret_entries = decoder.entries(node, path).unwrap_or_default();
    let mut secrets = BTreeMap::new();
    for (key, node) in secret_entries {
        if reject_assignment(decoder, &key.text, path) {
            continue;
        }
        let path = path.join(&key.text);
        let is_in_env =
            fields.get("env").is_some_and(|(env, _)| entries(env).any(|(name, _)| key.text == name));
        if let Some(secret) = parse_secret(decoder, (&key.text, is_in_env), node, &path, literals) {
            secrets.insert(key.text.to_string(), secret);
        }
    }
    secrets
}

fn parse_secret(
    decoder: &mut Decoder,
    (name, is_in_env): (&str, bool),
    node: &Node,
    path: &Path<'_>,
    literals: SecretLiterals,
) -> Option<Secret> {
    match &node.value {
        Value::Map(_) if literals == SecretLiterals::Require => {
            let message = "environment variables cannot be read here; send the value itself";
            decoder.violations.push(Violation::new(Code::WrongType, path.pointer(), message));
            None
        }
        Value::Map(_) => {
            let fields = decoder.fields(node, path, &["from_env"])?;
            let Some((source, path)) = fields.get("from_env") else {
                decoder.missing_field(&path.join("from_env"), "name the environment variable with the value");
                return None;
            };
            let source = decoder.string(source, &path)?;
            if let Err(error) = check_env_name(source) {
                let message = format!("the name of the variable {error}");
                decoder.violations.push(Violation::new(Code::InvalidEnvName, path.pointer(), message));
                return None;
            }
            Some(Secret::FromEnv(source.to_owned()))
        }
        Value::Scalar(kind, _) if *kind != ScalarKind::Null => match literals {
            SecretLiterals::Refuse => {
                let message = "a file must not contain the value of a secret; name its environment variable";
                let is_usable = check_env_name(name).is_ok() && !is_reserved_env_name(name) && !is_in_env;
                let fix = is_usable.then(|| json!({"from_env": name}));
                decoder
                    .violations
                    .push(Violation::new(Code::SecretLiteral, path.pointer(), message).fix(fix));
                None
            }
            _ => decoder.string(node, path).map(|value| Secret::Value(value.to_owned())),
        },
        _ => decoder.wrong_type(node, path, "`{from_env: NAME}`"),
    }
}
