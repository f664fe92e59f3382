//! JSON to the same tree as YAML, read by a parser that knows nothing else: machines send JSON, and much of it.
//!
//! Texts stay in the source until their place is known, so that numbers keep their literals. What cannot be read here is left
//! to the reader of YAML, which tells of every fault; so no fault has two messages.

use super::parse::plain_kind;
use super::{
    Document, Key, MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH, MAX_DOCUMENT_NODES, Node, ScalarKind, Span, Value,
};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The tree of a text that is one JSON object or list; `None` where it is no JSON or beyond the bounds of this module:
/// [`parse_all`](super::parse_all) tells which.
///
/// ```
/// use runway_core::document::{parse_all, parse_json};
///
/// assert_eq!(parse_json(b"{\"cpu\": 1e3}"), parse_all(b"{\"cpu\": 1e3}").remove(0).ok());
/// assert_eq!(parse_json(b"cpu: 1e3"), None);
/// ```
#[must_use]
pub fn parse_json(source: &[u8]) -> Option<Document> {
    let text = std::str::from_utf8(source).ok()?;
    let content = text.trim_matches([' ', '\t', '\n', '\r']);
    if !content.starts_with(['{', '[']) || content.len() > MAX_DOCUMENT_BYTES {
        return None;
    }
    let mut reader = Reader { text, at: 0, line: 1, column: 1, depth: 0, nodes: 0 };
    Some(Document { root: reader.node(content)? })
}

struct Reader<'a> {
    text: &'a str,
    /// The byte that `line` and `column` are of. It only moves forward.
    at: usize,
    line: usize,
    column: usize,
    depth: usize,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// Reads a value. Of a single one it is known that it is JSON.
    fn node(&mut self, text: &'a str) -> Option<Node> {
        let span = self.count(text)?;
        let value = match text.as_bytes().first()? {
            b'{' => self.nested(|reader| reader.entries(text)).map(Value::Map)?,
            b'[' => self.nested(|reader| reader.items(text)).map(Value::List)?,
            b'"' => Value::Scalar(ScalarKind::Text, unquoted(text)?),
            _ => Value::Scalar(plain_kind(text), text.to_owned()),
        };
        Some(Node { value, span, defined: None })
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        let value = if self.depth > MAX_DOCUMENT_DEPTH { None } else { read(self) };
        self.depth -= 1;
        value
    }

    fn items(&mut self, text: &'a str) -> Option<Vec<Node>> {
        let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        items.into_iter().map(|item| self.node(item.get())).collect()
    }

    fn entries(&mut self, text: &'a str) -> Option<Vec<(Key, Node)>> {
        let Entries(raw) = serde_json::from_str(text).ok()?;
        let mut entries = Vec::with_capacity(raw.len());
        for (key, value) in raw {
            let span = self.count(key.get())?;
            let key = Key { text: unquoted(key.get())?, span };
            entries.push((key, self.node(value.get())?));
        }
        let mut keys: Vec<_> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
        keys.sort_unstable();
        keys.is_sorted_by(|one, next| one < next).then_some(entries)
    }

    /// Counts a value or a key, and tells where it stands.
    fn count(&mut self, part: &'a str) -> Option<Span> {
        self.nodes += 1;
        if self.nodes > MAX_DOCUMENT_NODES {
            return None;
        }
        // It was borrowed from the text, so this is its place there.
        let start = part.as_ptr().addr().checked_sub(self.text.as_ptr().addr())?;
        let mut passed = self.text.as_bytes().get(self.at..start)?.iter().peekable();
        while let Some(byte) = passed.next() {
            match byte {
                b'\r' if passed.peek() == Some(&&b'\n') => {}
                b'\n' | b'\r' => (self.line, self.column) = (self.line + 1, 1),
                // All but the first byte of a character.
                0x80..=0xbf => {}
                _ => self.column += 1,
            }
        }
        self.at = start;
        Some(Span { start, end: start + part.len(), line: self.line, column: self.column })
    }
}

/// The text that a JSON string stands for.
fn unquoted(string: &str) -> Option<String> {
    if string.contains('\\') {
        return serde_json::from_str(string).ok();
    }
    string.strip_prefix('"')?.strip_suffix('"').map(str::to_owned)
}

/// An object with its keys in the order written, also where one stands twice.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
