//! The YAML parser, with limits on the size, the depth and the number of values. The limits also stop small
//! documents whose aliases expand to a huge tree.

use super::json::parse_json_within;
use super::scalar::plain_scalar_kind;
use super::{
    Document, DocumentLimits, Key, MAX_DOCUMENT_DEPTH, MAX_DOCUMENTS, Node, RedactedStr, ScalarKind, Span,
    Value,
};
use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, Tag};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// An error in a document.
///
/// The messages do not quote the document, because its text can be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// The text is not YAML, or it uses a part of YAML that is not accepted.
    #[error("{message}")]
    Syntax {
        /// The description of the error.
        message: String,
        /// The position of the error.
        at: Span,
    },
    /// The document exceeds a limit of this module.
    #[error("{what}; the maximum is {limit}")]
    TooLarge {
        /// The exceeded limit in words, such as `too many documents in this file`.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// The position at which the limit was exceeded.
        at: Span,
    },
}

impl DocumentError {
    /// Returns the position of the error.
    #[must_use]
    pub const fn span(&self) -> Span {
        match self {
            Self::Syntax { at, .. } | Self::TooLarge { at, .. } => *at,
        }
    }
}

/// Parses all documents of a text. An invalid document does not hide the documents after it.
///
/// Empty and null documents are skipped. If no other document remains, the result is one document that is
/// null.
///
/// ```
/// use runway_core::document::parse_all;
///
/// let documents = parse_all(b"cpu: 1e3\n---\ncpu: [\n---\ncpu: 2\n");
/// assert_eq!(documents.len(), 3);
/// assert!(documents[0].is_ok() && documents[1].is_err() && documents[2].is_ok());
/// ```
#[must_use]
pub fn parse_all(source: &[u8]) -> Vec<Result<Document, DocumentError>> {
    parse_all_within(source, DocumentLimits::JOB)
}

/// Parses all documents of a text, each within the given limits. Otherwise the same as [`parse_all`].
#[must_use]
pub fn parse_all_within(source: &[u8], limits: DocumentLimits) -> Vec<Result<Document, DocumentError>> {
    if let Some(document) = parse_json_within(source, limits) {
        return vec![Ok(document)];
    }
    let text = match decode(source) {
        Ok(text) => text,
        Err(error) => return vec![Err(error)],
    };
    let mut documents = Vec::new();
    for chunk in split_documents(text) {
        if documents.len() == MAX_DOCUMENTS {
            documents.push(Err(too_large(
                "too many documents in this file",
                MAX_DOCUMENTS,
                chunk.start_span(),
            )));
            break;
        }
        match parse_chunk(&chunk, limits) {
            Ok(Some(document)) if document.root.is_null() => {}
            Ok(Some(document)) => documents.push(Ok(document)),
            Ok(None) => {}
            Err(error) => documents.push(Err(error)),
        }
    }
    if documents.is_empty() {
        let span = Span { line: 1, column: 1, ..Span::default() };
        let root =
            Node { value: Value::Scalar(ScalarKind::Null, RedactedStr::default()), span, anchor_span: None };
        documents.push(Ok(Document { root }));
    }
    documents
}

/// Decodes the source as UTF-8 without NUL bytes.
fn decode(source: &[u8]) -> Result<&str, DocumentError> {
    let syntax_error = |at: usize, message: &str| {
        let before = String::from_utf8_lossy(source.get(..at).unwrap_or_default());
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let at = Span { start: at, end: at + 1, line, column };
        DocumentError::Syntax { message: message.to_owned(), at }
    };
    let text = std::str::from_utf8(source)
        .map_err(|e| syntax_error(e.valid_up_to(), "this byte is not UTF-8; save the file as UTF-8"))?;
    match text.bytes().position(|b| b == 0) {
        Some(at) => Err(syntax_error(at, "NUL bytes are not allowed")),
        None => Ok(text),
    }
}

/// The text of one document, with its position in the source.
struct Chunk<'a> {
    text: &'a str,
    /// The number of bytes before this document in the source.
    offset: usize,
    /// The number of lines before this document in the source.
    lines: usize,
}

/// Splits a text at lines that begin with `---` or `...`. In YAML, such a line is always a marker (chapter
/// 9.1.2 of the specification). So the text is split before it is parsed, and an invalid or oversized
/// document does not affect the others.
fn split_documents(text: &str) -> impl Iterator<Item = Chunk<'_>> {
    // The byte order mark is not part of the first line.
    let without_bom = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = Chunk { text: without_bom, offset: text.len() - without_bom.len(), lines: 0 };
    std::iter::from_fn(move || {
        if rest.text.is_empty() {
            return None;
        }
        // Directives and comments belong to the document whose `---` follows them.
        let (mut length, mut lines, mut has_content) = (0, 0, false);
        for line in lines_with_ends(rest.text) {
            let is_start = is_marker(line, "---");
            if is_start && has_content {
                break;
            }
            length += line.len();
            lines += 1;
            if is_marker(line, "...") {
                break;
            }
            let trimmed = line.trim_end();
            has_content |= is_start || !(trimmed.is_empty() || trimmed.starts_with(['#', '%']));
        }
        let (text, tail) = rest.text.split_at_checked(length)?;
        let chunk = Chunk { text, ..rest };
        rest = Chunk { text: tail, offset: rest.offset + length, lines: rest.lines + lines };
        Some(chunk)
    })
}

/// Returns the lines with their line breaks: `\n`, `\r\n`, or a single `\r` (chapter 5.4 of the
/// specification).
fn lines_with_ends(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = match rest.find(['\n', '\r']) {
            Some(at) if rest.get(at..).is_some_and(|tail| tail.starts_with("\r\n")) => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (line, tail) = rest.split_at_checked(end).filter(|(line, _)| !line.is_empty())?;
        rest = tail;
        Some(line)
    })
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r']))
}

impl Chunk<'_> {
    fn span(&self, start: &Marker, end: &Marker) -> Span {
        let offset = |marker: &Marker| self.offset + marker.byte_offset().unwrap_or_else(|| marker.index());
        Span {
            start: offset(start),
            end: offset(end).max(offset(start)),
            line: self.lines + start.line(),
            column: start.col() + 1,
        }
    }

    fn start_span(&self) -> Span {
        Span { start: self.offset, end: self.offset + 1, line: self.lines + 1, column: 1 }
    }
}

/// Parses the document of a chunk. Returns `None` if the chunk has no document.
fn parse_chunk(chunk: &Chunk<'_>, limits: DocumentLimits) -> Result<Option<Document>, DocumentError> {
    let content = chunk.text.strip_prefix("---").unwrap_or(chunk.text).trim();
    if content.is_empty() {
        return Ok(None);
    }
    if content.len() > limits.bytes {
        return Err(too_large("too many bytes in this document", limits.bytes, chunk.start_span()));
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DOCUMENT_DEPTH;
    options.block_nesting_limit = MAX_DOCUMENT_DEPTH;
    let mut builder = TreeBuilder::new(limits);
    for next in Parser::new_from_str_with_options(chunk.text, options) {
        let (event, span) = next.map_err(|error| DocumentError::Syntax {
            message: syntax_message(error.kind()),
            at: chunk.span(error.marker(), error.marker()),
        })?;
        let span = chunk.span(&span.start, &span.end);
        if builder.root.is_some() && matches!(event, Event::DocumentStart(..)) {
            let message = "another document begins here, but not with a line that starts with `---`";
            return Err(DocumentError::Syntax { message: message.to_owned(), at: span });
        }
        builder.event(event, span)?;
    }
    Ok(builder.root.map(|root| Document { root }))
}

/// Returns the message for a syntax error. It replaces messages of the parser that quote the document or
/// are hard to understand.
fn syntax_message(kind: &granit_parser::ErrorKind) -> String {
    use granit_parser::ErrorKind as E;
    match kind {
        E::UnexpectedCharacter { .. } => "unexpected character".to_owned(),
        E::RecursionLimitExceeded => {
            format!("lists and mappings are nested more than {MAX_DOCUMENT_DEPTH} levels deep")
        }
        E::TabInBlockIndentation | E::TabInIndentation | E::TabNotAllowed => {
            "YAML does not allow tabs for indentation; use spaces".to_owned()
        }
        E::TabInPlainScalar => "this value continues into a tab; indent with spaces".to_owned(),
        E::UnknownAnchor => "this alias refers to an unknown anchor".to_owned(),
        E::InvalidQuotedScalarIndent => {
            "this quote is not closed, or a line of the quoted text is not indented".to_owned()
        }
        E::UnclosedQuotedScalar => "this quote is not closed".to_owned(),
        kind => kind.to_string(),
    }
}

/// A list or mapping whose end has not been parsed yet.
struct OpenCollection {
    anchor: usize,
    span: Span,
    value: Value,
    keys: BTreeSet<RedactedStr>,
    pending_key: Option<Key>,
}

struct TreeBuilder {
    limits: DocumentLimits,
    stack: Vec<OpenCollection>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    bytes: usize,
}

impl TreeBuilder {
    const fn new(limits: DocumentLimits) -> Self {
        Self { limits, stack: Vec::new(), root: None, anchors: BTreeMap::new(), nodes: 0, bytes: 0 }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), DocumentError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar_kind(&text, style, tag.as_deref(), span)?;
                self.count_size(1, text.len(), span)?;
                self.add(anchor, Value::Scalar(kind, text.as_ref().into()), span)
            }
            Event::SequenceStart(_, anchor, tag) => self.push(Value::List(Vec::new()), anchor, tag, span),
            Event::MappingStart(_, anchor, tag) => self.push(Value::Map(Vec::new()), anchor, tag, span),
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(open) => {
                    let whole = Span { end: span.end.max(open.span.end), ..open.span };
                    self.add(open.anchor, open.value, whole)
                }
                None => Ok(()),
            },
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn push(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Result<(), DocumentError> {
        if let Some(tag) = tag
            && !tag.is_yaml_core_schema()
        {
            return Err(foreign_tag(span));
        }
        // This check applies to the lists and mappings in the source. The function `alias` checks the depth
        // of expanded aliases, which the parser does not count.
        if self.stack.len() >= MAX_DOCUMENT_DEPTH {
            return Err(too_deep(span));
        }
        self.count_size(1, 0, span)?;
        self.stack.push(OpenCollection { anchor, span, value, keys: BTreeSet::new(), pending_key: None });
        Ok(())
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), DocumentError> {
        if self
            .stack
            .last()
            .is_some_and(|open| matches!(open.value, Value::Map(_)) && open.pending_key.is_none())
        {
            return Err(DocumentError::Syntax { message: "an alias cannot be a key".to_owned(), at: span });
        }
        let Some(mut node) = self.anchors.get(&id).cloned() else {
            let message = "this alias is inside the value that it refers to".to_owned();
            return Err(DocumentError::Syntax { message, at: span });
        };
        let (nodes, bytes, depth) = measure(&node);
        if self.stack.len() + depth > MAX_DOCUMENT_DEPTH {
            return Err(too_deep(span));
        }
        self.count_size(nodes, bytes, span)?;
        let anchor_span = node.anchor_span.as_deref().copied().unwrap_or(node.span);
        set_alias_span(&mut node, span, anchor_span);
        self.attach(node)
    }

    fn add(&mut self, anchor: usize, value: Value, span: Span) -> Result<(), DocumentError> {
        let node = Node { value, span, anchor_span: None };
        if anchor != 0 {
            let (nodes, bytes, _) = measure(&node);
            self.count_size(nodes, bytes, span)?; // a copy is stored for the aliases
            self.anchors.insert(anchor, node.clone());
        }
        self.attach(node)
    }

    /// Adds a complete node to the innermost open collection, or sets the root.
    fn attach(&mut self, node: Node) -> Result<(), DocumentError> {
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.value, open.pending_key.take()) {
            (Value::List(items), _) => items.push(node),
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::Map(_), None) => {
                let Value::Scalar(_, text) = node.value else {
                    return Err(DocumentError::Syntax {
                        message: "a key must not be a list or a mapping".to_owned(),
                        at: node.span,
                    });
                };
                if !open.keys.insert(text.clone()) {
                    let message = "this key occurs twice in the mapping".to_owned();
                    return Err(DocumentError::Syntax { message, at: node.span });
                }
                open.pending_key = Some(Key { text, span: node.span });
            }
            (Value::Scalar(..), _) => {}
        }
        Ok(())
    }

    /// Adds to the size of the tree, with all aliases expanded, and checks the limits.
    fn count_size(&mut self, nodes: usize, bytes: usize, at: Span) -> Result<(), DocumentError> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > self.limits.nodes {
            return Err(too_large("too many values, with aliases expanded", self.limits.nodes, at));
        }
        if self.bytes > self.limits.bytes {
            return Err(too_large("too many bytes, with aliases expanded", self.limits.bytes, at));
        }
        Ok(())
    }
}

fn too_large(what: &'static str, limit: usize, at: Span) -> DocumentError {
    DocumentError::TooLarge { what, limit, at }
}

fn too_deep(at: Span) -> DocumentError {
    too_large("too many levels of lists and mappings", MAX_DOCUMENT_DEPTH, at)
}

fn foreign_tag(at: Span) -> DocumentError {
    DocumentError::Syntax { message: "tags such as `!name` are not supported".to_owned(), at }
}

/// Returns the number of nodes, the number of text bytes, and the depth of a tree.
fn measure(node: &Node) -> (usize, usize, usize) {
    let fold = |total: (usize, usize, usize), key: usize, child: &Node| {
        let (nodes, bytes, depth) = measure(child);
        (total.0 + nodes, total.1 + bytes + key, total.2.max(depth + 1))
    };
    match &node.value {
        Value::Scalar(_, text) => (1, text.len(), 0),
        Value::List(items) => items.iter().fold((1, 0, 1), |total, item| fold(total, 0, item)),
        Value::Map(entries) => {
            entries.iter().fold((1, 0, 1), |total, (key, item)| fold(total, key.text.len(), item))
        }
    }
}

/// Sets the position of a copied tree to its alias, and records the position of the anchor in each node.
fn set_alias_span(node: &mut Node, alias: Span, anchor_span: Span) {
    node.anchor_span.get_or_insert_with(|| Box::new(anchor_span));
    node.span = alias;
    match &mut node.value {
        Value::Scalar(..) => {}
        Value::List(items) => items.iter_mut().for_each(|item| set_alias_span(item, alias, anchor_span)),
        Value::Map(entries) => {
            for (key, item) in entries {
                key.span = alias;
                set_alias_span(item, alias, anchor_span);
            }
        }
    }
}

fn scalar_kind(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
) -> Result<ScalarKind, DocumentError> {
    if let Some(tag) = tag {
        return match tag.core_suffix() {
            Some("str") => Ok(ScalarKind::String),
            Some(_) => Ok(plain_scalar_kind(text)),
            None => Err(foreign_tag(span)),
        };
    }
    Ok(if style == ScalarStyle::Plain { plain_scalar_kind(text) } else { ScalarKind::String })
}
