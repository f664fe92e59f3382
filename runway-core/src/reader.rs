//! Reading trees into types while collecting every fault on the way.

use crate::code::Code;
use crate::document::{Key, Node, ScalarKind, Span, Value, pointer};
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
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                // The value is not repeated: a misspelt `secrets` would show one.
                let near = nearest(&key.text, known.iter().copied());
                let hint = near.map_or_else(
                    || "take it out; `allowed` lists the fields there are".to_owned(),
                    |name| format!("did you mean `{name}`?"),
                );
                let at = path.join(&key.text);
                let message = format!("there is no field `{}` here: {hint}", shortened(&key.text));
                self.violations
                    .push(Violation::new(Code::UnknownField, at.0, message).one_of(known.iter().copied()));
            }
        }
        Some(Fields { entries, path: path.clone() })
    }

    /// The entries of a mapping whose keys are free.
    pub(crate) fn entries<'a>(&mut self, node: &'a Node, path: &Path) -> Option<&'a [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ if node.is_null() && !path.0.is_empty() => None,
            _ => self.wrong_type(node, path, "a mapping of names to values"),
        }
    }

    /// The items of a list.
    pub(crate) fn list<'a>(&mut self, node: &'a Node, path: &Path) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => self.wrong_type(node, path, "a list"),
        }
    }

    /// A text. A number or truth value is not one until it is put in quotes, and is told so.
    pub(crate) fn text<'a>(&mut self, node: &'a Node, path: &Path) -> Option<&'a str> {
        match &node.value {
            Value::Scalar(ScalarKind::Text, text) => Some(text),
            _ => self.wrong_type(node, path, "text"),
        }
    }

    /// A text or a number, with its literal text.
    pub(crate) fn number<'a>(&mut self, node: &'a Node, path: &Path) -> Option<(ScalarKind, &'a str)> {
        match &node.value {
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
            if !self.is_hidden(node, path) {
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

    /// The value as it may be repeated to people.
    pub(crate) fn shown(&self, node: &Node, path: &Path) -> Json {
        if self.is_hidden(node, path) { Json::Null } else { node.to_json() }
    }

    pub(crate) fn is_hidden(&self, node: &Node, path: &Path) -> bool {
        is_sensitive_path(path.as_str())
            || node.defined.is_some_and(|defined| self.hidden.iter().any(|h| h.overlaps(&defined)))
    }
}

/// A name short enough to be repeated in a sentence.
pub(crate) fn shortened(name: &str) -> String {
    const LIMIT: usize = 80;
    if name.chars().count() <= LIMIT {
        return name.to_owned();
    }
    let start: String = name.chars().take(LIMIT).collect();
    format!("{start}…")
}
