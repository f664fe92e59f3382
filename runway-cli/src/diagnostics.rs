//! Violations drawn into the file that they are about, as good compilers do it.
//!
//! A line that holds any part of `env`, `secrets` or an unknown field is never shown, nor is any line of a document that
//! could not be parsed: it may be a secret.

use crate::policy::LoadedPolicy;
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};
use runway_core::Violation;
use runway_core::document::{Document, Span};
use runway_core::spec::hidden_spans;
use runway_core::violation::Allowed;
use serde_json::Value as Json;
use std::ops::Range;

/// What violations are about, and the file they are drawn into.
pub(crate) struct Report<'a> {
    /// The path of the file as given.
    pub file: &'a str,
    pub source: &'a [u8],
    pub place: Diagnosed<'a>,
    /// The tenant of the command line.
    pub tenant: Option<&'a str>,
    /// The policy that was judged by.
    pub policy: Option<&'a LoadedPolicy>,
}

/// How far the file was understood.
pub(crate) enum Diagnosed<'a> {
    Job(&'a Document),
    Policy(&'a Document),
    /// Not at all, from here on.
    Unreadable(Span),
    Nothing,
}

/// Of a longer line only the part round the fault is shown.
const MAX_SHOWN: usize = 100;
/// Of a longer list of allowed values only the first are shown.
const MAX_LISTED: usize = 12;

impl Report<'_> {
    /// One violation as text with colours.
    pub(crate) fn draw(&self, violation: &Violation) -> String {
        let mut message = violation.message.as_str();
        let span = self.span(violation);
        if let Diagnosed::Unreadable(_) = self.place {
            // The place stands in the drawing already.
            message = message.split_once(": ").map_or(message, |(_, rest)| rest);
        }
        let mut elements: Vec<Element<'_>> = Vec::new();
        let excerpt = span.and_then(|span| self.excerpt(&span));
        match (&span, &excerpt) {
            (Some(span), Some(excerpt)) => {
                let annotation =
                    AnnotationKind::Primary.span(excerpt.marked.clone()).label(allowed(violation));
                let snippet = Snippet::source(excerpt.text.as_str()).line_start(span.line).path(self.file);
                elements.push(snippet.annotation(annotation).into());
            }
            (Some(span), None) => {
                elements.push(Origin::path(self.file).line(span.line).char_column(span.column).into());
                elements.extend(allowed(violation).map(|allowed| Level::NOTE.message(allowed).into()));
            }
            (None, _) => elements.push(Origin::path(self.origin_without_place(violation)).into()),
        }
        if let Some(line) = &violation.policy {
            let place = self.policy.and_then(|policy| policy.place(line));
            let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
            elements.push(Level::NOTE.with_name("policy").message(format!("`{line}`{place}")).into());
        }
        if let Some(fix) = fix(violation) {
            elements.push(Level::HELP.with_name("fix").message(fix).into());
        }
        let group = Level::ERROR.primary_title(message).id(violation.code.as_str()).elements(elements);
        let mut text = Renderer::styled().render(&[group]);
        text.push_str("\n\n");
        text
    }

    fn span(&self, violation: &Violation) -> Option<Span> {
        let document = match self.place {
            Diagnosed::Job(document) | Diagnosed::Policy(document) => document,
            Diagnosed::Unreadable(span) => return Some(span),
            Diagnosed::Nothing => return None,
        };
        let path = violation.path.as_str();
        if self.is_from_command_line(violation) {
            return None;
        }
        match (document.find_key(path), document.find(path)) {
            // An unknown field is a matter of its name, and its value may be a misspelt `secrets`.
            (Some(key), Some(node)) if is_about_the_name(violation) || node.is_null() => Some(key.span),
            (_, Some(node)) if !path.is_empty() => Some(node.span),
            _ => Some(self.start_of(&document.nearest(path).span)),
        }
    }

    /// A tenant by `--tenant` stands nowhere in the file.
    fn is_from_command_line(&self, violation: &Violation) -> bool {
        let written = match self.place {
            Diagnosed::Job(document) => document.find("/tenant").is_some_and(|node| !node.is_null()),
            _ => true,
        };
        violation.path == "/tenant" && self.tenant.is_some() && !written
    }

    fn origin_without_place(&self, violation: &Violation) -> String {
        if self.is_from_command_line(violation) { "--tenant".to_owned() } else { self.file.to_owned() }
    }

    /// The first word of a stretch: what is missing from it cannot be underlined.
    fn start_of(&self, span: &Span) -> Span {
        let text = self.source.get(span.start..).unwrap_or_default();
        let word = text.iter().take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b':' | b',')).count();
        Span { end: span.start + word.max(1), ..*span }
    }

    /// The line of a stretch, as far as it may be shown.
    fn excerpt(&self, span: &Span) -> Option<Excerpt> {
        let document = match self.place {
            Diagnosed::Job(document) => Some(document),
            Diagnosed::Policy(_) => None,
            Diagnosed::Unreadable(_) | Diagnosed::Nothing => return None,
        };
        let text = std::str::from_utf8(self.source).ok()?;
        let start = text.get(..span.start)?.rfind('\n').map_or(0, |i| i + 1);
        let end = text.get(span.start..)?.find(['\n', '\r']).map_or(text.len(), |i| span.start + i);
        let hidden = document.map(hidden_spans).unwrap_or_default();
        // The name of an unknown field may be shown, but nothing behind it.
        let end =
            match hidden.iter().filter(|hidden| hidden.start >= span.end).map(|hidden| hidden.start).min() {
                Some(first_hidden) if first_hidden < end => span.end,
                _ => end,
            };
        let shown = Span { start, end, line: span.line, column: 1 };
        if hidden.iter().any(|hidden| hidden.overlaps(&shown)) {
            return None;
        }
        let line = text.get(start..end)?;
        let marked = (span.start - start)..(span.end.clamp(span.start, end) - start);
        Some(Excerpt { text: line.to_owned(), marked }.cut())
    }
}

/// A line, and the part of it that is meant.
struct Excerpt {
    text: String,
    marked: Range<usize>,
}

impl Excerpt {
    /// Only the surroundings of what is meant, where the line is long.
    fn cut(self) -> Self {
        if self.text.len() <= MAX_SHOWN {
            return self;
        }
        let floor = |at: usize| {
            (0..=at.min(self.text.len())).rev().find(|i| self.text.is_char_boundary(*i)).unwrap_or(0)
        };
        let start =
            if self.marked.start > MAX_SHOWN / 2 { floor(self.marked.start - MAX_SHOWN / 4) } else { 0 };
        let end = floor(start + MAX_SHOWN);
        let marked = (self.marked.start - start)..(self.marked.end.min(end).max(self.marked.start) - start);
        let text = self.text.get(start..end).unwrap_or_default();
        // A mark in front would move the columns; behind, it does not.
        let more = if end < self.text.len() { "…" } else { "" };
        Self { text: format!("{text}{more}"), marked }
    }
}

fn is_about_the_name(violation: &Violation) -> bool {
    use runway_core::Code;
    matches!(
        violation.code,
        Code::UnknownField
            | Code::InvalidEnvName
            | Code::ReservedEnvName
            | Code::DuplicateEnvName
            | Code::MissingField
    )
}

/// What would be accepted, in short.
fn allowed(violation: &Violation) -> Option<String> {
    match violation.allowed.as_ref()? {
        Allowed::OneOf { one_of } if one_of.is_empty() => None,
        Allowed::OneOf { one_of } => {
            let more = if one_of.len() > MAX_LISTED { ", …" } else { "" };
            let names: Vec<_> = one_of.iter().take(MAX_LISTED).map(plain).collect();
            Some(format!("allowed: {}{more}", names.join(", ")))
        }
        Allowed::Range { min: Json::Null, max } => Some(format!("allowed: at most {}", plain(max))),
        Allowed::Range { min, max } if min == max => Some(format!("allowed: {}", plain(min))),
        Allowed::Range { min, max } => Some(format!("allowed: {} to {}", plain(min), plain(max))),
    }
}

/// The line to write instead.
fn fix(violation: &Violation) -> Option<String> {
    if violation.fix.is_null() {
        return None;
    }
    let (_, last) = violation.path.rsplit_once('/')?;
    let value = &violation.fix;
    let line = if last.bytes().all(|b| b.is_ascii_digit()) {
        format!("- {value}")
    } else {
        format!("{last}: {value}")
    };
    Some(format!("write `{line}`"))
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        value => value.to_string(),
    }
}
