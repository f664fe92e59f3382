//! Single values of a policy, and what is said of those that are none.

use super::file::CidrError;
use crate::code::Code;
use crate::document::{Key, Node, ScalarKind, Value};
use crate::name::{DnsLabel, NameError};
use crate::reader::{Path, Reader, shortened};
use crate::units::{GpuCount, Seconds, UsdRate};
use crate::violation::Violation;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

/// A quantity or duration in the unit of its type.
pub(super) fn quantity<T: FromStr<Err: Display>>(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
) -> Option<T> {
    let (_, text) = reader.number(node, path)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let message = format!("`{}` {error}", shortened(text));
            reader.violations.push(
                Violation::new(Code::InvalidQuantity, path.pointer(), message).requested(node.to_json()),
            );
            None
        }
    }
}

/// A quantity that must not be zero: to Kubernetes a limit of zero is no limit.
pub(super) fn above_zero<T: FromStr<Err: Display> + Default + PartialEq>(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
) -> Option<T> {
    let value = quantity(reader, node, path)?;
    if value != T::default() {
        return Some(value);
    }
    let message = "a bound of zero would be no bound: Kubernetes takes a limit of zero for none";
    reader
        .violations
        .push(Violation::new(Code::InvalidQuantity, path.pointer(), message).requested(node.to_json()));
    None
}

/// A whole number within bounds.
pub(super) fn whole(reader: &mut Reader, node: &Node, path: &Path<'_>, min: u64, max: u64) -> Option<u64> {
    let count: GpuCount = quantity(reader, node, path)?;
    let count = count.units();
    if (min..=max).contains(&count) {
        return Some(count);
    }
    let message = format!("{count} is not between {min} and {max}");
    reader.violations.push(
        Violation::new(Code::InvalidQuantity, path.pointer(), message)
            .requested(node.to_json())
            .range(min, max)
            .fix(count.clamp(min, max)),
    );
    None
}

/// A text that is parsed further, with the words for what is wrong with it.
pub(super) fn parsed<T: FromStr>(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    fault: impl Fn(&str, T::Err) -> (Code, String, Json),
) -> Option<T> {
    let text = reader.text(node, path)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let (code, message, fix) = fault(text, error);
            reader.violations.push(Violation::new(code, path.pointer(), message).requested(text).fix(fix));
            None
        }
    }
}

pub(super) fn name_fault(text: &str, error: NameError) -> (Code, String, Json) {
    (Code::InvalidName, format!("`{}` {error}", shortened(text)), Json::Null)
}

pub(super) fn cidr_fault(text: &str, error: CidrError) -> (Code, String, Json) {
    let fix = match error {
        CidrError::HostBits(range) => range.to_string().into(),
        CidrError::Malformed => Json::Null,
    };
    (Code::InvalidCidr, format!("`{}` {error}", shortened(text)), fix)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    choices: &[(&str, T)],
) -> Option<T> {
    let text = reader.text(node, path)?;
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names = choices.iter().map(|(name, _)| *name);
        let near = crate::text::nearest(text, names.clone());
        let message = format!("`{}` is not one of the words that can stand here", shortened(text));
        reader.violations.push(
            Violation::new(Code::WrongType, path.pointer(), message).requested(text).one_of(names).fix(near),
        );
    }
    found
}

pub(super) fn boolean(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<bool> {
    match &node.value {
        Value::Scalar(ScalarKind::Bool, text) => Some(text.eq_ignore_ascii_case("true")),
        _ => reader.wrong_type(node, path, "`true` or `false`"),
    }
}

/// A mapping from names of one kind to values of one kind.
pub(super) fn named<K: FromStr<Err = NameError> + Ord, V>(
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    read: impl Fn(&mut Reader, &Node, &Path<'_>) -> Option<V>,
) -> BTreeMap<K, V>
where
    V: Default,
{
    let entries: &[(Key, Node)] = reader.entries(node, path).unwrap_or_default();
    let mut map = BTreeMap::new();
    for (key, node) in entries {
        let path = path.join(&key.text);
        let value = if node.is_null() { Some(V::default()) } else { read(reader, node, &path) };
        match key.text.parse() {
            Ok(key) => {
                value.map(|value| map.insert(key, value));
            }
            Err(error) => {
                let (code, message, _) = name_fault(&key.text, error);
                reader.violations.push(Violation::new(code, path.pointer(), message));
            }
        }
    }
    map
}

pub(super) fn rate(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<UsdRate> {
    let (_, text) = reader.number(node, path)?;
    text.parse()
        .map_err(|error| {
            let message = format!("`{}` {error}", shortened(text));
            reader
                .violations
                .push(Violation::new(Code::InvalidRate, path.pointer(), message).requested(node.to_json()));
        })
        .ok()
}

/// A Kubernetes label value or the name part of a key (`IsValidLabelValue`): `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`.
pub(super) fn is_label_value(text: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A Kubernetes qualified name: a label value behind an optional DNS name and `/`.
pub(super) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_value(name),
        None => is_label_value(text),
    }
}

/// A DNS subdomain of at most 253 characters (`IsDNS1123Subdomain`): labels with dots between them.
pub(super) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| DnsLabel::check(label).is_ok())
}

/// The name of an extended resource (`IsExtendedResourceName`): qualified, also as that of its quota, and not one of
/// Kubernetes' own.
pub(super) fn is_extended_resource(text: &str) -> bool {
    let own = |prefix: &str| prefix == "kubernetes.io" || prefix.ends_with(".kubernetes.io");
    is_qualified_name(&format!("requests.{text}"))
        && text.split_once('/').is_some_and(|(prefix, _)| !own(prefix) && !prefix.starts_with("requests."))
}

/// A year. Beyond it nobody waits, and Kubernetes counts the nanoseconds of a deadline in 63 bits.
const MAX_TIMEOUT: Seconds = Seconds::new(365 * 24 * 3600);

/// A bound of a timeout.
pub(super) fn timeout(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Seconds> {
    let value: Seconds = above_zero(reader, node, path)?;
    if value <= MAX_TIMEOUT {
        return Some(value);
    }
    let message = format!("{value} is more than a year");
    let violation = Violation::new(Code::InvalidQuantity, path.pointer(), message).requested(node.to_json());
    reader.violations.push(violation.range("1s", MAX_TIMEOUT.to_string()).fix(MAX_TIMEOUT.to_string()));
    None
}
