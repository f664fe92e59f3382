//! A parser for JSON that returns the same tree as the YAML parser. Programs send many JSON documents, and
//! this parser is faster.
//!
//! `serde_json` validates the text. Then this module builds the tree from the text itself, because numbers
//! keep their literals and every node has a position. If this parser returns `None`, the YAML parser parses
//! the text and reports the error. So only the YAML parser has error messages.

use super::scalar::plain_scalar_kind;
use super::{Document, DocumentLimits, Key, MAX_DOCUMENT_DEPTH, Node, RedactedStr, ScalarKind, Span, Value};
use serde::de::IgnoredAny;

/// Parses a text that is one JSON object or list. Returns `None` for any other text, and if the text
/// exceeds a limit of this module or has a duplicate key. [`parse_all`](super::parse_all) reports the
/// error.
///
/// ```
/// use runway_core::document::{parse_all, parse_json};
///
/// assert_eq!(parse_json(b"{\"cpu\": 1e3}"), parse_all(b"{\"cpu\": 1e3}").remove(0).ok());
/// assert_eq!(parse_json(b"cpu: 1e3"), None);
/// ```
#[must_use]
pub fn parse_json(source: &[u8]) -> Option<Document> {
    parse_json_within(source, DocumentLimits::JOB)
}

/// Parses a text like [`parse_json`], within the given limits.
pub(super) fn parse_json_within(source: &[u8], limits: DocumentLimits) -> Option<Document> {
    let text = std::str::from_utf8(source).ok()?;
    let content = text.trim_matches([' ', '\t', '\n', '\r']);
    if !content.starts_with(['{', '[']) || content.len() > limits.bytes {
        return None;
    }
    // After the validation, the first byte of a value determines its type.
    serde_json::from_str::<IgnoredAny>(content).ok()?;
    let mut cursor =
        JsonCursor { text, offset: 0, line: 1, column: 1, depth: 0, nodes: 0, max_nodes: limits.nodes };
    Some(Document { root: cursor.node()? })
}

/// A cursor over a text that is valid JSON.
struct JsonCursor<'a> {
    text: &'a str,
    /// The offset of the next byte. `line` and `column` belong to it.
    offset: usize,
    line: usize,
    column: usize,
    depth: usize,
    nodes: usize,
    max_nodes: usize,
}

impl<'a> JsonCursor<'a> {
    fn node(&mut self) -> Option<Node> {
        let start = self.start_node()?;
        let value = match self.peek()? {
            b'{' => self.nested(Self::entries).map(Value::Map)?,
            b'[' => self.nested(Self::items).map(Value::List)?,
            b'"' => Value::Scalar(ScalarKind::String, self.string()?),
            _ => {
                let literal = self.literal()?;
                Value::Scalar(plain_scalar_kind(literal), literal.into())
            }
        };
        Some(Node { value, span: Span { end: self.offset, ..start }, anchor_span: None })
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        self.advance(1)?;
        let value = if self.depth > MAX_DOCUMENT_DEPTH { None } else { parse(self) };
        self.depth -= 1;
        value
    }

    fn items(&mut self) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        while self.advance_to_item(b']')? {
            items.push(self.node()?);
        }
        Some(items)
    }

    fn entries(&mut self) -> Option<Vec<(Key, Node)>> {
        let mut entries = Vec::new();
        while self.advance_to_item(b'}')? {
            let start = self.start_node()?;
            let text = self.string()?;
            let key = Key { text, span: Span { end: self.offset, ..start } };
            self.skip_whitespace()?;
            // Skip the colon.
            self.advance(1)?;
            entries.push((key, self.node()?));
        }
        (!has_duplicates(&entries)).then_some(entries)
    }

    /// Advances to the next item or entry and returns `true`, or advances past the closing bracket and
    /// returns `false`.
    fn advance_to_item(&mut self, end: u8) -> Option<bool> {
        self.skip_whitespace()?;
        match self.peek()? {
            b',' => self.advance(1)?,
            byte if byte == end => {
                self.advance(1)?;
                return Some(false);
            }
            _ => {}
        }
        Some(true)
    }

    /// Skips white space, counts a value or key, and returns the position of its first byte.
    fn start_node(&mut self) -> Option<Span> {
        self.skip_whitespace()?;
        self.nodes += 1;
        let Self { offset: at, line, column, .. } = *self;
        (self.nodes <= self.max_nodes).then_some(Span { start: at, end: at, line, column })
    }

    /// Parses a string and returns its unescaped value.
    fn string(&mut self) -> Option<RedactedStr> {
        let rest = self.rest()?;
        let mut bytes = rest.bytes().enumerate().skip(1);
        let mut is_plain = true;
        let end = loop {
            match bytes.next()? {
                (at, b'"') => break at,
                (_, b'\\') => {
                    is_plain = false;
                    bytes.next()?;
                }
                _ => {}
            }
        };
        self.advance(end + 1)?;
        if is_plain {
            return rest.get(1..end).map(RedactedStr::from);
        }
        serde_json::from_str::<String>(rest.get(..=end)?).ok().map(RedactedStr::from)
    }

    /// Returns a number, a Boolean or `null` as written.
    fn literal(&mut self) -> Option<&'a str> {
        let rest = self.rest()?;
        let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        self.advance(end)?;
        rest.get(..end)
    }

    fn skip_whitespace(&mut self) -> Option<()> {
        let mut bytes = self.rest()?.bytes().peekable();
        while let Some(byte) = bytes.next_if(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.offset += 1;
            match byte {
                b'\r' if bytes.peek() == Some(&b'\n') => {}
                b'\n' | b'\r' => (self.line, self.column) = (self.line + 1, 1),
                _ => self.column += 1,
            }
        }
        Some(())
    }

    /// Advances by a number of bytes. They must not contain a line break.
    fn advance(&mut self, bytes: usize) -> Option<()> {
        // The column counts characters. Bytes from 0x80 to 0xbf continue a character, so they are not
        // counted.
        let is_first = |byte: &u8| !matches!(byte, 0x80..=0xbf);
        self.column += self.rest()?.as_bytes().get(..bytes)?.iter().copied().filter(is_first).count();
        self.offset += bytes;
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn rest(&self) -> Option<&'a str> {
        self.text.get(self.offset..)
    }
}

/// Returns whether a key occurs twice.
fn has_duplicates(entries: &[(Key, Node)]) -> bool {
    let mut keys: Vec<_> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    keys.sort_unstable();
    !keys.is_sorted_by(|left, right| left < right)
}
