//! Decodes document trees into types and collects all violations.

use crate::code::Code;
use crate::document::{Key, Node, ScalarKind, Span, Value, append};
use crate::name::{looks_like_assignment, name_part};
use crate::text::{nearest, push_escaped};
use crate::violation::Violation;
use serde_json::Value as Json;

/// A path in the tree, as a linked list of segments. The JSON pointer is built only for a violation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Path<'a>(Option<(&'a Path<'a>, Segment<'a>)>);

#[derive(Debug, Clone, Copy)]
enum Segment<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const fn join(&'a self, name: &'a str) -> Self {
        Self(Some((self, Segment::Name(name))))
    }

    pub(crate) const fn index(&'a self, index: usize) -> Self {
        Self(Some((self, Segment::Index(index))))
    }

    const fn is_root(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the path as a JSON pointer.
    pub(crate) fn pointer(&self) -> String {
        let Some((parent, segment)) = self.0 else { return String::new() };
        let mut path = parent.pointer();
        match segment {
            Segment::Name(name) => append(&mut path, name),
            Segment::Index(index) => append(&mut path, &index.to_string()),
        }
        path
    }
}

/// Decodes values of a tree and collects the violations.
#[derive(Default)]
pub(crate) struct Decoder {
    pub(crate) violations: Vec<Violation>,
    /// Spans whose values may be secret. An alias to one of them must not be shown either.
    pub(crate) redacted: Vec<Span>,
    /// If `true`, a known field with the value null is a violation. If `false`, it counts as missing. A
    /// policy needs `true`: if all lines below `allow:` were commented out, the default would allow every
    /// image.
    pub(crate) reject_null: bool,
    /// Returns `true` if the value at a JSON pointer may be a secret. `None` if the document contains no
    /// secrets.
    pub(crate) is_secret: Option<fn(&str) -> bool>,
    /// Returns the section that has a field with this name, for an unknown field of the root. `None` if the
    /// document has no sections.
    pub(crate) section_of: Option<fn(&str) -> Option<&'static str>>,
}

/// The entries of a mapping with a fixed set of fields.
pub(crate) struct Fields<'a, 'p> {
    entries: &'a [(Key, Node)],
    path: Path<'p>,
}

impl<'a> Fields<'a, '_> {
    /// Returns the value of a field, or `None` if the field is missing or null.
    pub(crate) fn get<'s>(&'s self, name: &'s str) -> Option<(&'a Node, Path<'s>)> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!node.is_null()).then(|| (node, self.path.join(name)))
    }
}

impl Decoder {
    /// Decodes a mapping with a fixed set of fields. Reports each field that is not in `known`.
    pub(crate) fn fields<'a, 'p>(
        &mut self,
        node: &'a Node,
        path: &Path<'p>,
        known: &[&str],
    ) -> Option<Fields<'a, 'p>> {
        let entries = self.entries(node, path)?;
        for (key, value) in entries {
            if self.reject_null && value.is_null() && known.contains(&key.text.as_str()) {
                let message = format!("`{}` has no value; set a value or remove the field", key.text);
                self.violations.push(Violation::new(
                    Code::WrongType,
                    path.join(&key.text).pointer(),
                    message,
                ));
            }
            if !known.contains(&key.text.as_str()) {
                self.unknown_field(&key.text, path, known);
            }
        }
        Some(Fields { entries, path: *path })
    }

    /// Reports an unknown field. The message does not show the value of the field. If the name looks like an
    /// assignment, the message also omits its tail. Both may be secrets if the field is a misspelt `secrets`.
    fn unknown_field(&mut self, name: &str, parent: &Path<'_>, known: &[&str]) {
        let name_to_show = if self.is_secret_path(parent) { "" } else { name_part(name) };
        let section = self.section_of.filter(|_| parent.is_root()).and_then(|section_of| section_of(name));
        let hint = match nearest(name_to_show, known.iter().copied()) {
            _ if looks_like_assignment(name) => {
                "write `name: value`, with a space after the colon".to_owned()
            }
            _ if let Some(section) = section => format!("it belongs under `{section}`"),
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it; `allowed` lists the known fields".to_owned(),
        };
        let at = if name_to_show.is_empty() { parent.pointer() } else { parent.join(name_to_show).pointer() };
        let message = format!("unknown field `{}`: {hint}", shorten(name_to_show));
        let violation = Violation::new(Code::UnknownField, at, message);
        self.violations.push(violation.one_of(known.iter().copied()));
    }

    /// Decodes a mapping with arbitrary keys.
    pub(crate) fn entries<'a>(&mut self, node: &'a Node, path: &Path<'_>) -> Option<&'a [(Key, Node)]> {
        match &node.value {
            _ if self.leaks_secret(node, path) => None,
            Value::Map(entries) => Some(entries),
            _ if node.is_null() && !path.is_root() => None,
            _ if node.is_null() => {
                let message = "the document is empty; expected a mapping".to_owned();
                self.push_wrong_type(node, path, message, Json::Null)
            }
            _ => self.wrong_type(node, path, "a mapping"),
        }
    }

    /// Decodes a list.
    pub(crate) fn list<'a>(&mut self, node: &'a Node, path: &Path<'_>) -> Option<&'a [Node]> {
        match &node.value {
            _ if self.leaks_secret(node, path) => None,
            Value::List(items) => Some(items),
            _ => self.wrong_type(node, path, "a list"),
        }
    }

    /// Decodes a string. A number or boolean is a violation whose message asks for quotes.
    pub(crate) fn string<'a>(&mut self, node: &'a Node, path: &Path<'_>) -> Option<&'a str> {
        self.string_or_fix(node, path, |_| false)
    }

    /// Decodes a string. If a number or boolean is a valid value according to `quotable`, the quoted text is
    /// its fix.
    pub(crate) fn string_or_fix<'a>(
        &mut self,
        node: &'a Node,
        path: &Path<'_>,
        quotable: fn(&str) -> bool,
    ) -> Option<&'a str> {
        match &node.value {
            _ if self.leaks_secret(node, path) => None,
            Value::Scalar(ScalarKind::String, text) => Some(text),
            Value::Scalar(kind, text) if *kind != ScalarKind::Null => {
                let is_fix = quotable(text) && !self.is_redacted(node, path);
                let fix = if is_fix { text.as_str().into() } else { Json::Null };
                let message = format!("expected a string, found {}; put it in quotes", node.kind_name());
                self.push_wrong_type(node, path, message, fix)
            }
            _ => self.wrong_type(node, path, "a string"),
        }
    }

    /// Decodes a string or number. Returns its kind and its literal text.
    pub(crate) fn string_or_number<'a>(
        &mut self,
        node: &'a Node,
        path: &Path<'_>,
    ) -> Option<(ScalarKind, &'a str)> {
        match &node.value {
            _ if self.leaks_secret(node, path) => None,
            Value::Scalar(kind @ (ScalarKind::String | ScalarKind::Integer | ScalarKind::Float), text) => {
                Some((*kind, text))
            }
            _ => self.wrong_type(node, path, "a number or a string such as `500m`"),
        }
    }

    /// Decodes a list of strings. Reports and leaves out items that are not strings.
    pub(crate) fn strings(
        &mut self,
        node: &Node,
        path: &Path<'_>,
        quotable: fn(&str) -> bool,
    ) -> Vec<String> {
        if let Some(fix) = self.words_of(node, path, quotable) {
            let message = format!("expected a list, found {}", node.kind_name());
            let _: Option<()> = self.push_wrong_type(node, path, message, fix.into());
            return Vec::new();
        }
        let items = self.list(node, path).unwrap_or_default();
        let decode_item =
            |(i, item): (usize, &Node)| self.string_or_fix(item, &path.index(i), quotable).map(str::to_owned);
        items.iter().enumerate().filter_map(decode_item).collect()
    }

    /// Returns the words of a string in the place of a list, such as `command: python main.py`. Returns
    /// `None` if the value is not such a string, if a message must not show it, or if a word is not valid.
    /// Also returns `None` if the string contains characters that a shell may interpret, such as quotes.
    fn words_of(&self, node: &Node, path: &Path<'_>, is_valid: fn(&str) -> bool) -> Option<Vec<String>> {
        let Value::Scalar(ScalarKind::String, text) = &node.value else { return None };
        let is_plain = |c: char| c == ' ' || c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
        let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let is_fix =
            !words.is_empty() && text.chars().all(is_plain) && words.iter().all(|word| is_valid(word));
        (is_fix && !self.is_redacted(node, path)).then_some(words)
    }

    /// Reports a value of the wrong type.
    pub(crate) fn wrong_type<T>(&mut self, node: &Node, path: &Path<'_>, expected: &str) -> Option<T> {
        let message = format!("expected {expected}, found {}", node.kind_name());
        self.push_wrong_type(node, path, message, Json::Null)
    }

    fn push_wrong_type<T>(&mut self, node: &Node, path: &Path<'_>, message: String, fix: Json) -> Option<T> {
        let requested = self.value_to_show(node, path);
        self.violations
            .push(Violation::new(Code::WrongType, path.pointer(), message).requested(requested).fix(fix));
        None
    }

    /// Reports a missing field.
    pub(crate) fn missing_field(&mut self, path: &Path<'_>, message: &str) {
        self.violations.push(Violation::new(Code::MissingField, path.pointer(), message));
    }

    /// Returns the value if a message may show it: a scalar that cannot be a secret. Otherwise, returns null.
    pub(crate) fn value_to_show(&self, node: &Node, path: &Path<'_>) -> Json {
        let is_scalar = matches!(node.value, Value::Scalar(..)) && !path.is_root();
        if is_scalar && !self.is_redacted(node, path) { node.to_json() } else { Json::Null }
    }

    fn is_secret_path(&self, path: &Path<'_>) -> bool {
        self.is_secret.is_some_and(|is_secret| is_secret(&path.pointer()))
    }

    fn is_redacted(&self, node: &Node, path: &Path<'_>) -> bool {
        self.is_secret_path(path) || self.is_alias_to_redacted(node)
    }

    /// Returns `true` if the value is an alias to a redacted span. Nested values are checked when they are
    /// decoded.
    fn is_alias_to_redacted(&self, node: &Node) -> bool {
        let anchor_span = node.anchor_span.as_deref();
        anchor_span.is_some_and(|defined| self.redacted.iter().any(|redacted| redacted.overlaps(defined)))
    }

    /// Reports an alias that would show a redacted value in a public field. Returns `true` if it reports one.
    fn leaks_secret(&mut self, node: &Node, path: &Path<'_>) -> bool {
        let leaks = self.is_alias_to_redacted(node) && !self.is_secret_path(path);
        if leaks {
            let message = "this alias refers to a value in `env`, `secrets` or an unknown field; write the value itself";
            self.violations.push(Violation::new(Code::WrongType, path.pointer(), message));
        }
        leaks
    }
}

/// Returns the first 80 characters of a string for use in a message, with terminal controls escaped. If the
/// string is longer, `…` follows.
pub(crate) fn shorten(text: &str) -> String {
    const LIMIT: usize = 80;
    let mut short = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == LIMIT {
            short.push('…');
            break;
        }
        push_escaped(&mut short, c);
    }
    short
}
