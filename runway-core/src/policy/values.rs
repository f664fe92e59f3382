//! Parsers for single values of a policy. They report a violation for each invalid value.

use super::file::CidrError;
use crate::code::Code;
use crate::decoder::{Decoder, Path, shorten};
use crate::document::{Key, Node, ScalarKind, Value};
use crate::name::{DnsLabel, NameError};
use crate::units::{GpuCount, Seconds, UnitPrice};
use crate::violation::Violation;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// Parses a quantity or a duration.
pub(super) fn quantity<T: FromStr<Err: Display>>(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
) -> Option<T> {
    let (_, text) = decoder.string_or_number(node, path)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let message = format!("`{}` {error}", shorten(text));
            decoder.violations.push(
                Violation::new(Code::InvalidQuantity, path.pointer(), message).requested(node.to_json()),
            );
            None
        }
    }
}

/// Parses a quantity, and reports zero as a violation. Kubernetes treats a limit of zero as no limit.
pub(super) fn non_zero<T: FromStr<Err: Display> + Default + PartialEq>(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
) -> Option<T> {
    let value = quantity(decoder, node, path)?;
    if value != T::default() {
        return Some(value);
    }
    let message = "a bound must be above zero: Kubernetes treats a limit of zero as no limit";
    decoder
        .violations
        .push(Violation::new(Code::InvalidQuantity, path.pointer(), message).requested(node.to_json()));
    None
}

/// Parses a whole number between `min` and `max`.
pub(super) fn integer(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
    min: u64,
    max: u64,
) -> Option<u64> {
    let count: GpuCount = quantity(decoder, node, path)?;
    let count = count.units();
    if (min..=max).contains(&count) {
        return Some(count);
    }
    let message = format!("{count} is not between {min} and {max}");
    decoder.violations.push(
        Violation::new(Code::InvalidQuantity, path.pointer(), message)
            .requested(node.to_json())
            .range(min, max)
            .fix(count.clamp(min, max)),
    );
    None
}

/// Parses a string. `describe` returns the code, the message and the fix for a parse error.
pub(super) fn parsed<T: FromStr>(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
    describe: impl Fn(&str, T::Err) -> (Code, String, Json),
) -> Option<T> {
    let text = decoder.string(node, path)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let (code, message, fix) = describe(text, error);
            decoder.violations.push(Violation::new(code, path.pointer(), message).requested(text).fix(fix));
            None
        }
    }
}

pub(super) fn describe_name_error(text: &str, error: NameError) -> (Code, String, Json) {
    (Code::InvalidName, format!("`{}` {error}", shorten(text)), Json::Null)
}

pub(super) fn describe_cidr_error(text: &str, error: CidrError) -> (Code, String, Json) {
    let fix = match error {
        CidrError::HostBits(range) => range.to_string().into(),
        CidrError::Malformed => Json::Null,
    };
    (Code::InvalidCidr, format!("`{}` {error}", shorten(text)), fix)
}

/// Parses one of the given names.
pub(super) fn choice<T: Copy>(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
    choices: &[(&str, T)],
) -> Option<T> {
    let text = decoder.string(node, path)?;
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names = choices.iter().map(|(name, _)| *name);
        let closest = crate::text::nearest(text, names.clone());
        let message = format!("`{}` is not an accepted value", shorten(text));
        decoder.violations.push(
            Violation::new(Code::WrongType, path.pointer(), message)
                .requested(text)
                .one_of(names)
                .fix(closest),
        );
    }
    found
}

pub(super) fn boolean(decoder: &mut Decoder, node: &Node, path: &Path<'_>) -> Option<bool> {
    match &node.value {
        Value::Scalar(ScalarKind::Bool, text) => Some(text.eq_ignore_ascii_case("true")),
        _ => decoder.wrong_type(node, path, "`true` or `false`"),
    }
}

/// Parses a mapping from names to values. A null value stands for `V::default()`. The result omits invalid
/// entries.
pub(super) fn name_map<K: FromStr<Err = NameError> + Ord, V>(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
    read: impl Fn(&mut Decoder, &Node, &Path<'_>) -> Option<V>,
) -> BTreeMap<K, V>
where
    V: Default,
{
    let entries: &[(Key, Node)] = decoder.entries(node, path).unwrap_or_default();
    let mut map = BTreeMap::new();
    for (key, node) in entries {
        let path = path.join(&key.text);
        let value = if node.is_null() { Some(V::default()) } else { read(decoder, node, &path) };
        match key.text.parse() {
            Ok(key) => {
                value.map(|value| map.insert(key, value));
            }
            Err(error) => {
                let (code, message, _) = describe_name_error(&key.text, error);
                decoder.violations.push(Violation::new(code, path.pointer(), message));
            }
        }
    }
    map
}

pub(super) fn unit_price(decoder: &mut Decoder, node: &Node, path: &Path<'_>) -> Option<UnitPrice> {
    let (_, text) = decoder.string_or_number(node, path)?;
    text.parse()
        .map_err(|error| {
            let message = format!("`{}` {error}", shorten(text));
            decoder
                .violations
                .push(Violation::new(Code::InvalidRate, path.pointer(), message).requested(node.to_json()));
        })
        .ok()
}

/// Returns `true` for a non-empty Kubernetes label value (`IsValidLabelValue`), or the name part of a label
/// key. It has at most 63 characters and the form `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`.
pub(super) fn is_label_value(text: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// Returns `true` for a Kubernetes qualified name: a label value after an optional DNS name and `/`.
pub(super) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_value(name),
        None => is_label_value(text),
    }
}

/// Returns `true` for a DNS subdomain (`IsDNS1123Subdomain`): labels separated by dots, at most 253
/// characters. Each label has at most 63 characters.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| DnsLabel::check(label).is_ok())
}

/// Returns `true` for the name of an extended resource (`IsExtendedResourceName`). The name with the prefix
/// `requests.` must be a qualified name. The domain must not belong to Kubernetes or start with `requests.`.
pub(super) fn is_extended_resource(text: &str) -> bool {
    let is_kubernetes_domain = |prefix: &str| prefix == "kubernetes.io" || prefix.ends_with(".kubernetes.io");
    is_qualified_name(&format!("requests.{text}"))
        && text
            .split_once('/')
            .is_some_and(|(prefix, _)| !is_kubernetes_domain(prefix) && !prefix.starts_with("requests."))
}

/// The maximum timeout: one year. Kubernetes stores a deadline as nanoseconds in a signed 64-bit integer,
/// which overflows after 292 years.
const MAX_TIMEOUT: Seconds = Seconds::new(365 * 24 * 3600);

/// Parses a bound of a timeout: at least one second, and at most [`MAX_TIMEOUT`].
pub(super) fn timeout(decoder: &mut Decoder, node: &Node, path: &Path<'_>) -> Option<Seconds> {
    let value: Seconds = non_zero(decoder, node, path)?;
    if value <= MAX_TIMEOUT {
        return Some(value);
    }
    let message = format!("{value} is more than a year");
    let violation = Violation::new(Code::InvalidQuantity, path.pointer(), message).requested(node.to_json());
    decoder.violations.push(violation.range("1s", MAX_TIMEOUT.to_string()).fix(MAX_TIMEOUT.to_string()));
    None
}
