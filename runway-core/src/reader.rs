//! Reading trees into types while collecting every fault on the way.

use crate::code::Code;
use crate::document::{Key, Node, ScalarKind, Span, Value, pointer};
use crate::name::{before_glue, is_glued};
use crate::violation::{Violation, is_sensitive_path, nearest};
use serde_json::Value as Json;

/// A place in the tree: its JSON pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(String);

impl Path {
    pub(crate) fn join(&self, segment: &str) -> Self {
        Self(format!("{}{}", self.0, pointer([segment])))
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Collects faults while a tree is read.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) violations: Vec<Violation>,
    /// Stretches whose values may be secret, wherever aliases carry them.
    pub(crate) hidden: Vec<Span>,
    /// Whether a field without a value is a fault rather than left out: in a policy, `allow:` with all its lines commented
    /// out would otherwise allow everything.
    pub(crate) refuses_null: bool,
}

/// The entries of a mapping whose fields are known.
pub(crate) struct Fields<'a> {
    entries: &'a [(Key, Node)],
    path: Path,
}

impl<'a> Fields<'a> {
    /// The value of a field; `None` where it is not written, or written as null.
    pub(crate) fn get(&self, name: &str) -> Option<(&'a Node, Path)> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (!node.is_null()).then(|| (node, self.path.join(name)))
    }
}

impl Reader {
    /// The fields of a mapping, telling of those that are not `known`.
    pub(crate) fn fields<'a>(&mut self, node: &'a Node, path: &Path, known: &[&str]) -> Option<Fields<'a>> {
        let entries = self.entries(node, path)?;
        for (key, value) in entries {
            if self.refuses_null && value.is_null() && known.contains(&key.text.as_str()) {
                let message = format!("`{}` has no value: write one, or take the field out", key.text);
                self.violations.push(Violation::new(Code::WrongType, path.join(&key.text).0, message));
            }
            if !known.contains(&key.text.as_str()) {
                self.unknown(&key.text, path, known);
            }
        }
        Some(Fields { entries, path: path.clone() })
    }

    /// Tells of a field that nobody knows. Its value is not repeated: a misspelt `secrets` would show one. Neither is what
    /// may be a value glued to its name.
    fn unknown(&mut self, name: &str, parent: &Path, known: &[&str]) {
        let told = if is_sensitive_path(parent.as_str()) { "" } else { before_glue(name) };
        let hint = match nearest(told, known.iter().copied()) {
            _ if is_glued(name) => "write `name: value`, with a space behind the colon".to_owned(),
            Some(near) => format!("did you mean `{near}`?"),
            None => "take it out; `allowed` lists the fields there are".to_owned(),
        };
        let at = if told.is_empty() { parent.clone() } else { parent.join(told) };
        let message = format!("there is no field `{}` here: {hint}", shortened(told));
        let violation = Violation::new(Code::UnknownField, at.0, message);
        self.violations.push(violation.one_of(known.iter().copied()));
    }

    /// The entries of a mapping whose keys are free.
    pub(crate) fn entries<'a>(&mut self, node: &'a Node, path: &Path) -> Option<&'a [(Key, Node)]> {
        match &node.value {
            _ if self.carries_secret(node, path) => None,
            Value::Map(entries) => Some(entries),
            _ if node.is_null() && !path.0.is_empty() => None,
            _ => self.wrong_type(node, path, "a mapping of names to values"),
        }
    }

    /// The items of a list.
    pub(crate) fn list<'a>(&mut self, node: &'a Node, path: &Path) -> Option<&'a [Node]> {
        match &node.value {
            _ if self.carries_secret(node, path) => None,
            Value::List(items) => Some(items),
            _ => self.wrong_type(node, path, "a list"),
        }
    }

    /// A text. A number or truth value is not one until it is put in quotes, and is told so.
    pub(crate) fn text<'a>(&mut self, node: &'a Node, path: &Path) -> Option<&'a str> {
        match &node.value {
            _ if self.carries_secret(node, path) => None,
            Value::Scalar(ScalarKind::Text, text) => Some(text),
            _ => self.wrong_type(node, path, "text"),
        }
    }

    /// A text or a number, with its literal text.
    pub(crate) fn number<'a>(&mut self, node: &'a Node, path: &Path) -> Option<(ScalarKind, &'a str)> {
        match &node.value {
            _ if self.carries_secret(node, path) => None,
            Value::Scalar(kind @ (ScalarKind::Text | ScalarKind::Integer | ScalarKind::Float), text) => {
                Some((*kind, text))
            }
            _ => self.wrong_type(node, path, "a number, or text such as `500m`"),
        }
    }

    /// A list of texts; items that are none are told of and left out.
    pub(crate) fn texts(&mut self, node: &Node, path: &Path) -> Vec<String> {
        let items = self.list(node, path).unwrap_or_default();
        let read = |(i, item): (usize, &Node)| self.text(item, &path.index(i)).map(str::to_owned);
        items.iter().enumerate().filter_map(read).collect()
    }

    /// Tells that something else was expected here.
    pub(crate) fn wrong_type<T>(&mut self, node: &Node, path: &Path, expected: &str) -> Option<T> {
        let mut message = format!("expected {expected} here, and this is {}", node.kind_name());
        let mut fix = Json::Null;
        if let Value::Scalar(kind, text) = &node.value
            && expected == "text"
            && *kind != ScalarKind::Null
        {
            message.push_str(": put it in quotes");
            // Of the fields with rules of their own only the text of a name can be judged here.
            let is_free = path.0.starts_with("/command/") || path.0.starts_with("/args/");
            let is_name = path.0 == "/name" && crate::name::JobName::check(text).is_ok();
            if (is_free || is_name) && !self.is_hidden(node, path) {
                fix = text.as_str().into();
            }
        }
        let requested = self.shown(node, path);
        self.violations
            .push(Violation::new(Code::WrongType, path.as_str(), message).requested(requested).fix(fix));
        None
    }

    /// Tells that a field is missing.
    pub(crate) fn missing(&mut self, path: &Path, message: &str) {
        self.violations.push(Violation::new(Code::MissingField, path.as_str(), message));
    }

    /// The value as it may be repeated to people: single values that nobody takes for a secret.
    pub(crate) fn shown(&self, node: &Node, path: &Path) -> Json {
        let is_plain = matches!(node.value, Value::Scalar(..)) && !path.0.is_empty();
        if is_plain && !self.is_hidden(node, path) { node.to_json() } else { Json::Null }
    }

    fn is_hidden(&self, node: &Node, path: &Path) -> bool {
        is_sensitive_path(path.as_str()) || self.is_defined_in_hiding(node)
    }

    /// Whether an alias brought the value from where values are not shown. What stands within it is looked at when it is
    /// read itself.
    fn is_defined_in_hiding(&self, node: &Node) -> bool {
        node.defined.is_some_and(|defined| self.hidden.iter().any(|hidden| hidden.overlaps(&defined)))
    }

    /// Refuses an alias that would carry a value to where it is shown.
    fn carries_secret(&mut self, node: &Node, path: &Path) -> bool {
        let carries = !is_sensitive_path(path.as_str()) && self.is_defined_in_hiding(node);
        if carries {
            let message = "an alias must not carry a value out of `env`, `secrets` or an unknown field";
            self.violations.push(Violation::new(Code::WrongType, path.as_str(), message));
        }
        carries
    }
}

/// A text as it may be repeated in a sentence: short, and without what a terminal would obey.
pub(crate) fn shortened(text: &str) -> String {
    const LIMIT: usize = 80;
    let mut short = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == LIMIT {
            short.push('…');
            break;
        }
        // Controls, and the marks that turn the direction of the text around.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            short.extend(c.escape_unicode());
        } else {
            short.push(c);
        }
    }
    short
}
