//! Parses YAML and JSON into a tree in which each node has a position in the source.
//!
//! The format is YAML 1.2, which includes JSON. Scalars keep their literals, so that a quantity `1e3` is
//! still `1e3`. This module does not depend on jobs or policies.

mod json;
mod parse;
mod pointer;
mod redacted_str;
mod scalar;

pub use json::parse_json;
pub use parse::{DocumentError, parse_all, parse_all_within};
pub use pointer::pointer;
pub(crate) use pointer::{append, unescape};
pub use redacted_str::RedactedStr;

use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

/// Maximum size of a document, in bytes. It limits the source, including comments, and the text with all
/// aliases expanded.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// Maximum number of scalars, lists and mappings in a document, with all aliases expanded. Keys count as
/// scalars.
pub const MAX_DOCUMENT_NODES: usize = 20_000;

/// Limits on the size of a document, with all aliases expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Maximum size in bytes, of the source with comments and of the text with all aliases expanded.
    pub bytes: usize,
    /// Maximum number of scalars, lists and mappings. Keys count as scalars.
    pub nodes: usize,
}

impl DocumentLimits {
    /// The limits of a job.
    pub const JOB: Self = Self { bytes: MAX_DOCUMENT_BYTES, nodes: MAX_DOCUMENT_NODES };

    /// The limits of a policy, which can list more than 10,000 tenants.
    pub const POLICY: Self = Self { bytes: 8 * 1024 * 1024, nodes: 500_000 };
}

/// Maximum nesting depth of lists and mappings.
pub const MAX_DOCUMENT_DEPTH: usize = 32;

/// Maximum number of documents in a file.
pub const MAX_DOCUMENTS: usize = 10_000;

/// A range of the source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The offset of the first byte.
    pub start: usize,
    /// The offset of the byte after the last one.
    pub end: usize,
    /// The line of the first byte. The first line is 1.
    pub line: usize,
    /// The column of the first byte, in characters. The first column is 1.
    pub column: usize,
}

impl Span {
    /// Returns whether the two ranges have a byte in common.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Returns whether this range contains `other`.
    #[must_use]
    pub const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// One YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The root of the tree.
    pub root: Node,
}

/// A value with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// The position of the value, or of the alias that stands for it.
    pub span: Span,
    /// The position of the value with the anchor, if this value comes from an alias.
    pub anchor_span: Option<Box<Span>>,
}

/// A value of the tree. The `Debug` output contains no text, because the text can be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A single value with its literal.
    Scalar(ScalarKind, RedactedStr),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the source. Its keys are unique.
    Map(Vec<(Key, Node)>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(kind, text) => write!(f, "{kind:?}({} bytes)", text.len()),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => f.debug_list().entries(entries.iter().map(|(_, node)| node)).finish(),
        }
    }
}

/// The type of a scalar in the core schema of YAML 1.2 (chapter 10.3 of the specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarKind {
    /// `null`, `~` or an empty value.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// A number with a decimal point or an exponent, `.inf`, or `.nan`.
    Float,
    /// Any other value, and every quoted value.
    String,
}

/// A key of a mapping. The `Debug` output contains no text, because the key can include a secret value, such
/// as `TOKEN=x`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The text of the key.
    pub text: RedactedStr,
    /// The position of the key.
    pub span: Span,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.text.len())
    }
}

impl Document {
    /// Returns the node at a JSON pointer (RFC 6901).
    #[must_use]
    pub fn find(&self, pointer: &str) -> Option<&Node> {
        let mut node = &self.root;
        for segment in pointer.split('/').skip(1) {
            node = node.child(segment)?.1;
        }
        Some(node)
    }

    /// Returns the key of the node at a JSON pointer, if the node is in a mapping.
    #[must_use]
    pub fn find_key(&self, pointer: &str) -> Option<&Key> {
        let (parent, last) = pointer.rsplit_once('/')?;
        self.find(parent)?.child(last)?.0
    }

    /// Returns the node at a JSON pointer, or its nearest ancestor in the document.
    #[must_use]
    pub fn nearest(&self, pointer: &str) -> &Node {
        let mut node = &self.root;
        for segment in pointer.split('/').skip(1) {
            match node.child(segment) {
                Some((_, child)) => node = child,
                None => break,
            }
        }
        node
    }
}

impl Node {
    fn child(&self, escaped: &str) -> Option<(Option<&Key>, &Self)> {
        match &self.value {
            Value::Map(entries) => {
                let name = unescape(escaped);
                entries.iter().find(|(key, _)| key.text == *name).map(|(key, node)| (Some(key), node))
            }
            Value::List(items) => items.get(escaped.parse::<usize>().ok()?).map(|node| (None, node)),
            Value::Scalar(..) => None,
        }
    }

    /// Returns whether the value is null: `null`, `~`, or no text at all. A quoted empty string, an empty
    /// list and an empty mapping are not null.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(ScalarKind::Null, _))
    }

    /// Returns the type of the value for messages, with an article.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self.value {
            Value::Scalar(ScalarKind::Null, _) => "null",
            Value::Scalar(ScalarKind::Bool, _) => "a boolean",
            Value::Scalar(ScalarKind::Integer | ScalarKind::Float, _) => "a number",
            Value::Scalar(ScalarKind::String, _) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Returns the value as JSON. A number becomes a string with its literal, unless it is a decimal
    /// integer in the range of `i64` or `u64`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(kind, text) => match kind {
                ScalarKind::Null => Json::Null,
                ScalarKind::Bool => Json::Bool(text.eq_ignore_ascii_case("true")),
                ScalarKind::Integer => integer_to_json(text),
                ScalarKind::Float | ScalarKind::String => Json::String(text.to_string()),
            },
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                // Sort the keys, so that the text does not depend on the `preserve_order` feature of
                // `serde_json`.
                let sorted: BTreeMap<_, _> = entries.iter().map(|(key, node)| (&key.text, node)).collect();
                sorted.into_iter().map(|(key, node)| (key.to_string(), node.to_json())).collect()
            }
        }
    }
}

/// Returns a whole number as JSON. The result is a number if the text is decimal, has no `+` or leading
/// zeros, and fits in `i64` or `u64`. Otherwise it is a string.
pub(crate) fn integer_to_json(text: &str) -> Json {
    let plain = !text.starts_with('+') && (text == "0" || !text.trim_start_matches('-').starts_with('0'));
    if plain && let Ok(n) = text.parse::<i64>() {
        return n.into();
    }
    if plain && let Ok(n) = text.parse::<u64>() {
        return n.into();
    }
    Json::String(text.to_owned())
}
