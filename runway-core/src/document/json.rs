//! JSON to the same tree as YAML, read by a parser that knows nothing else: machines send JSON, and much of it.
//!
//! The parser says whether it is JSON; then the tree is read from the text itself, since numbers keep their literals and every part its
//! place. What cannot be read here is left to the reader of YAML, which tells of every fault; so no fault has two messages.

use super::scalar::plain_kind;
use super::{
    Document, Key, MAX_DOCUMENT_BYTES, MAX_DOCUMENT_DEPTH, MAX_DOCUMENT_NODES, Node, ScalarKind, Span, Text,
    Value,
};
use serde::de::IgnoredAny;

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
    // Once it is known to be JSON, its parts are found by their first bytes.
    serde_json::from_str::<IgnoredAny>(content).ok()?;
    let mut reader = Reader { text, at: 0, line: 1, column: 1, depth: 0, nodes: 0 };
    Some(Document { root: reader.node()? })
}

/// Reads a text of which it is known that it is JSON.
struct Reader<'a> {
    text: &'a str,
    /// The byte that comes next, and its place.
    at: usize,
    line: usize,
    column: usize,
    depth: usize,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn node(&mut self) -> Option<Node> {
        let begin = self.begin()?;
        let value = match self.next()? {
            b'{' => self.nested(Self::entries).map(Value::Map)?,
            b'[' => self.nested(Self::items).map(Value::List)?,
            b'"' => Value::Scalar(ScalarKind::Text, self.string()?),
            _ => {
                let literal = self.literal()?;
                Value::Scalar(plain_kind(literal), literal.into())
            }
        };
        Some(Node { value, span: Span { end: self.at, ..begin }, defined: None })
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.depth += 1;
        self.pass(1)?;
        let value = if self.depth > MAX_DOCUMENT_DEPTH { None } else { read(self) };
        self.depth -= 1;
        value
    }

    fn items(&mut self) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        while self.has_more(b']')? {
            items.push(self.node()?);
        }
        Some(items)
    }

    fn entries(&mut self) -> Option<Vec<(Key, Node)>> {
        let mut entries = Vec::new();
        while self.has_more(b'}')? {
            let begin = self.begin()?;
            let text = self.string()?;
            let key = Key { text, span: Span { end: self.at, ..begin } };
            self.skip_white()?;
            // The colon.
            self.pass(1)?;
            entries.push((key, self.node()?));
        }
        (!has_duplicates(&entries)).then_some(entries)
    }

    /// Goes to the next item or entry, or past the end of them.
    fn has_more(&mut self, end: u8) -> Option<bool> {
        self.skip_white()?;
        match self.next()? {
            b',' => self.pass(1)?,
            byte if byte == end => {
                self.pass(1)?;
                return Some(false);
            }
            _ => {}
        }
        Some(true)
    }

    /// Goes to the next value or key, counts it, and tells where it begins.
    fn begin(&mut self) -> Option<Span> {
        self.skip_white()?;
        self.nodes += 1;
        let Self { at, line, column, .. } = *self;
        (self.nodes <= MAX_DOCUMENT_NODES).then_some(Span { start: at, end: at, line, column })
    }

    /// The text that a string stands for.
    fn string(&mut self) -> Option<Text> {
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
        self.pass(end + 1)?;
        if is_plain {
            return rest.get(1..end).map(Text::from);
        }
        serde_json::from_str::<String>(rest.get(..=end)?).ok().map(Text::from)
    }

    /// A number, a truth value or `null`.
    fn literal(&mut self) -> Option<&'a str> {
        let rest = self.rest()?;
        let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        self.pass(end)?;
        rest.get(..end)
    }

    fn skip_white(&mut self) -> Option<()> {
        let mut bytes = self.rest()?.bytes().peekable();
        while let Some(byte) = bytes.next_if(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
            match byte {
                b'\r' if bytes.peek() == Some(&b'\n') => {}
                b'\n' | b'\r' => (self.line, self.column) = (self.line + 1, 1),
                _ => self.column += 1,
            }
        }
        Some(())
    }

    /// Goes past so many bytes, among which there is no end of a line.
    fn pass(&mut self, bytes: usize) -> Option<()> {
        // All but the first byte of a character are of this form.
        let is_first = |byte: &u8| !matches!(byte, 0x80..=0xbf);
        self.column += self.rest()?.as_bytes().get(..bytes)?.iter().copied().filter(is_first).count();
        self.at += bytes;
        Some(())
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> Option<&'a str> {
        self.text.get(self.at..)
    }
}

/// Whether a key stands twice.
fn has_duplicates(entries: &[(Key, Node)]) -> bool {
    let mut keys: Vec<_> = entries.iter().map(|(key, _)| key.text.as_str()).collect();
    keys.sort_unstable();
    !keys.is_sorted_by(|one, next| one < next)
}
