//! What people write, as a tree that remembers where each part stands.
//!
//! YAML 1.2 and, within it, JSON. Scalars keep their literal text, so that `1e3` is still `1e3` when a quantity is read
//! from it. This module knows nothing of jobs or policies.

mod json;
mod parse;
mod pointer;
mod scalar;
mod text;

pub use json::parse_json;
pub use parse::{DocumentError, parse_all};
pub use pointer::pointer;
pub(crate) use pointer::{append, unescape};
pub use text::Text;

use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;

/// A document of at most this many bytes is read: its own with its comments, and again with aliases written out.
pub const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// A document of at most this many scalars, lists and mappings is read, aliases written out.
pub const MAX_DOCUMENT_NODES: usize = 20_000;

/// Lists and mappings may stand at most this deep in one another.
pub const MAX_DOCUMENT_DEPTH: usize = 32;

/// A file of at most this many documents is read.
pub const MAX_DOCUMENTS: usize = 10_000;

/// A stretch of the source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// The line of the first byte, from 1.
    pub line: usize,
    /// The column of the first byte in characters, from 1.
    pub column: usize,
}

impl Span {
    /// Whether the two stretches share a byte.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether `other` lies within this stretch.
    #[must_use]
    pub const fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// One YAML document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its outermost value.
    pub root: Node,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it stands; for an alias, where the alias stands.
    pub span: Span,
    /// Where it was defined, if it came by an alias, which few do.
    pub defined: Option<Box<Span>>,
}

/// What stands in a place. Printing it for debugging shows no text, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A single value with its literal text.
    Scalar(ScalarKind, Text),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order written; no key stands twice.
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

/// The type of a scalar by the core schema of YAML 1.2 (chapter 10.3 of its specification).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScalarKind {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// A number with a point or an exponent, or `.inf`, `.nan`.
    Float,
    /// Anything else, and all that stands in quotes.
    Text,
}

/// A key of a mapping. Printing it for debugging shows no text, to which a value may be glued.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its text.
    pub text: Text,
    /// Where it stands.
    pub span: Span,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.text.len())
    }
}

impl Document {
    /// The node at a JSON pointer (RFC 6901).
    #[must_use]
    pub fn find(&self, pointer: &str) -> Option<&Node> {
        let mut node = &self.root;
        for segment in pointer.split('/').skip(1) {
            node = node.child(segment)?.1;
        }
        Some(node)
    }

    /// The key that names the node at a JSON pointer, where it stands in a mapping.
    #[must_use]
    pub fn find_key(&self, pointer: &str) -> Option<&Key> {
        let (parent, last) = pointer.rsplit_once('/')?;
        self.find(parent)?.child(last)?.0
    }

    /// The place of the node at a JSON pointer or, where it was not written, of the nearest one round it that was.
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

    /// Whether this is `null` or nothing.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(ScalarKind::Null, _))
    }

    /// The words for what stands here, with its article.
    #[must_use]
    pub const fn kind_name(&self) -> &'static str {
        match self.value {
            Value::Scalar(ScalarKind::Null, _) => "nothing",
            Value::Scalar(ScalarKind::Bool, _) => "a truth value",
            Value::Scalar(ScalarKind::Integer | ScalarKind::Float, _) => "a number",
            Value::Scalar(ScalarKind::Text, _) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The value as JSON. A number that JSON cannot keep exactly becomes its literal text.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(kind, text) => match kind {
                ScalarKind::Null => Json::Null,
                ScalarKind::Bool => Json::Bool(text.eq_ignore_ascii_case("true")),
                ScalarKind::Integer => integer(text),
                ScalarKind::Float | ScalarKind::Text => Json::String(text.to_string()),
            },
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                // Sorted, so that the text is the same whether or not `serde_json` keeps the order of insertion.
                let sorted: BTreeMap<_, _> = entries.iter().map(|(key, node)| (&key.text, node)).collect();
                sorted.into_iter().map(|(key, node)| (key.to_string(), node.to_json())).collect()
            }
        }
    }
}

/// A whole number as JSON: as a number where it is decimal and fits, else as text.
pub(crate) fn integer(text: &str) -> Json {
    let plain = !text.starts_with('+') && (text == "0" || !text.trim_start_matches('-').starts_with('0'));
    if plain && let Ok(n) = text.parse::<i64>() {
        return n.into();
    }
    if plain && let Ok(n) = text.parse::<u64>() {
        return n.into();
    }
    Json::String(text.to_owned())
}
