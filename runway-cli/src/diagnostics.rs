//! Violations drawn into the file that they are about, as good compilers do it.
//!
//! A line that holds any part of `env`, `secrets` or an unknown field is never shown, nor is any line of a document that
//! could not be parsed: it may be a secret.

use crate::input::Source;
use crate::output::printable;
use crate::policy::LoadedPolicy;
use annotate_snippets::{AnnotationKind, Element, Level, Message, Origin, Renderer, Snippet};
use runway_core::Violation;
use runway_core::document::{Document, DocumentError, Span, Value};
use runway_core::spec::hidden_spans;
use runway_core::violation::Allowed;
use serde_json::Value as Json;
use std::ops::Range;

/// What violations are about, and the file they are drawn into.
pub(crate) struct Report<'a> {
    source: &'a Source,
    place: Diagnosed<'a>,
    /// The tenant of the command line.
    tenant: Option<&'a str>,
    /// The policy that was judged by.
    policy: Option<&'a LoadedPolicy>,
    /// What must not be shown.
    hidden: Vec<Span>,
}

/// How far the file was understood.
pub(crate) enum Diagnosed<'a> {
    Job(&'a Document),
    Policy(&'a Document),
    /// Not at all. The only violation is this error.
    Unreadable(&'a DocumentError),
    Nothing,
}

/// A longer line is not shown: what stands round the fault would not be seen in it. Of shorter ones the renderer shows the
/// part that fits a terminal.
const MAX_LINE: usize = 4000;
/// Of a longer list of allowed values only the first are shown.
const MAX_LISTED: usize = 12;

impl<'a> Report<'a> {
    pub(crate) fn new(
        source: &'a Source,
        place: Diagnosed<'a>,
        tenant: Option<&'a str>,
        policy: Option<&'a LoadedPolicy>,
    ) -> Self {
        let hidden = if let Diagnosed::Job(document) = &place { hidden_spans(document) } else { Vec::new() };
        Self { source, place, tenant, policy, hidden }
    }

    /// One violation as text with colours. It may come from a server, so all of it is made printable.
    pub(crate) fn draw(&self, violation: &Violation) -> String {
        let message = match self.place {
            // The violation's own message repeats the line and column, which the drawing shows.
            Diagnosed::Unreadable(error) => error.to_string(),
            _ => violation.message.clone(),
        };
        let mut notes = Vec::new();
        if let Some(line) = &violation.policy {
            let place = self.policy.and_then(|policy| policy.place(line));
            let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
            notes.push(Level::NOTE.with_name("policy").message(format!("`{}`{place}", printable(line))));
        }
        if let Some(fix) = fix(violation) {
            notes.push(Level::HELP.with_name("fix").message(printable(&fix)));
        }
        let place = self.span(violation).ok_or_else(|| self.origin_without_place(violation));
        let label = allowed(violation).map(|allowed| printable(&allowed));
        self.compose(&message, Some(violation.code.as_str()), place, label, notes)
    }

    /// Something that is wrong with the place at a JSON pointer, and that no policy knows of.
    pub(crate) fn draw_fault(&self, path: &str, message: &str) -> String {
        let place = match &self.place {
            Diagnosed::Job(document) => Ok(document.nearest(path).span),
            _ => Err(self.source.name.clone()),
        };
        self.compose(message, None, place, None, Vec::new())
    }

    fn compose(
        &self,
        message: &str,
        code: Option<&str>,
        place: Result<Span, String>,
        label: Option<String>,
        notes: Vec<Message<'_>>,
    ) -> String {
        let message = printable(message);
        let mut elements: Vec<Element<'_>> = Vec::new();
        match place {
            Err(origin) => elements.push(Origin::path(origin).into()),
            Ok(span) => match self.excerpt(&span) {
                Some(excerpt) => {
                    let annotation = AnnotationKind::Primary.span(excerpt.marked).label(label);
                    let snippet =
                        Snippet::source(excerpt.text).line_start(span.line).path(self.source.name.as_str());
                    elements.push(snippet.annotation(annotation).into());
                }
                None => {
                    let origin = Origin::path(self.source.name.as_str()).line(span.line);
                    elements.push(origin.char_column(span.column).into());
                    elements.extend(label.map(|label| Level::NOTE.message(label).into()));
                }
            },
        }
        elements.extend(notes.into_iter().map(Element::from));
        let title = Level::ERROR.primary_title(message.as_str());
        let title = match code {
            Some(code) => title.id(code),
            None => title,
        };
        let mut text = Renderer::styled().render(&[title.elements(elements)]);
        text.push_str("\n\n");
        text
    }

    fn span(&self, violation: &Violation) -> Option<Span> {
        let document = match self.place {
            Diagnosed::Job(document) | Diagnosed::Policy(document) => document,
            Diagnosed::Unreadable(error) => return Some(error.span()),
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
        if self.is_from_command_line(violation) { "--tenant".to_owned() } else { self.source.name.clone() }
    }

    /// The first word of a stretch: what is missing from it cannot be underlined.
    fn start_of(&self, span: &Span) -> Span {
        let text = self.source.bytes().get(span.start..).unwrap_or_default();
        let word = text.iter().take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b':' | b',')).count();
        Span { end: span.start + word.max(1), ..*span }
    }

    /// The line of a stretch, as far as it may be shown.
    fn excerpt(&self, span: &Span) -> Option<Excerpt<'_>> {
        match &self.place {
            // Without a mapping at its root nobody knows what the text is.
            Diagnosed::Job(document) if !matches!(document.root.value, Value::Map(_)) => return None,
            Diagnosed::Job(_) | Diagnosed::Policy(_) => {}
            Diagnosed::Unreadable(_) | Diagnosed::Nothing => return None,
        }
        let text = self.source.text()?;
        let start = text.get(..span.start)?.rfind(['\n', '\r']).map_or(0, |i| i + 1);
        // The byte order mark is no column.
        let start = if start == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { start };
        let end = text.get(span.start..)?.find(['\n', '\r']).map_or(text.len(), |i| span.start + i);
        // The name of an unknown field may be shown, but nothing behind it.
        let is_cut = self.hidden.iter().any(|hidden| (span.end..end).contains(&hidden.start));
        let end = if is_cut { span.end } else { end };
        let shown = Span { start, end, line: span.line, column: 1 };
        if end - start > MAX_LINE || self.hidden.iter().any(|hidden| hidden.overlaps(&shown)) {
            return None;
        }
        let marked = (span.start - start)..(span.end.clamp(span.start, end) - start);
        Some(Excerpt { text: text.get(start..end)?, marked })
    }
}

/// A line, and the part of it that is meant.
struct Excerpt<'a> {
    text: &'a str,
    marked: Range<usize>,
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
