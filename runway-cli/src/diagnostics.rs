//! Renders violations in their source file, in the style of compiler diagnostics.
//!
//! Source lines can contain secrets. The renderer never shows any part of `env`, of `secrets` or of the value
//! of an unknown field: it shortens or omits such lines. A document that failed to parse is not shown at all.

use crate::input::Source;
use crate::output::escape_control;
use crate::policy::LoadedPolicy;
use annotate_snippets::{AnnotationKind, Element, Level, Message, Origin, Renderer, Snippet};
use runway_core::Violation;
use runway_core::document::{Document, DocumentError, Span, Value};
use runway_core::spec::redacted_spans;
use runway_core::violation::Allowed;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::ops::Range;

/// Renders the violations of one document.
pub(crate) struct DiagnosticRenderer<'a> {
    source: &'a Source,
    target: DiagnosticTarget<'a>,
    /// The value of `--tenant`.
    tenant: Option<&'a str>,
    /// The policy that the job was evaluated against. `None` if a server evaluated the job, or if the
    /// document is a policy.
    policy: Option<&'a LoadedPolicy>,
    /// Source ranges that must not be shown.
    redacted: Vec<Span>,
}

/// The parsed document that violations refer to.
pub(crate) enum DiagnosticTarget<'a> {
    Job(&'a Document),
    Policy(&'a Document),
    /// The document failed to parse, and this error is the only violation.
    ParseError(&'a DocumentError),
    NoDocument,
}

/// Maximum length in bytes of a source line that is shown. Of a longer line, only the position is shown.
/// Shorter lines that do not fit a terminal are cut to the part around the violation.
const MAX_LINE_LENGTH: usize = 4000;
/// Maximum number of allowed values that a label lists.
const MAX_ALLOWED_VALUES: usize = 12;

impl<'a> DiagnosticRenderer<'a> {
    pub(crate) fn new(
        source: &'a Source,
        place: DiagnosticTarget<'a>,
        tenant: Option<&'a str>,
        policy: Option<&'a LoadedPolicy>,
    ) -> Self {
        let redacted =
            if let DiagnosticTarget::Job(document) = &place { redacted_spans(document) } else { Vec::new() };
        Self { source, target: place, tenant, policy, redacted }
    }

    /// Renders one violation with colours. Escapes control characters in the message, the policy path, the
    /// fix and the allowed values, because they may come from a server.
    pub(crate) fn render(&self, violation: &Violation) -> String {
        let message = match self.target {
            // Use the message of the parse error. The message of the violation also contains the line and the
            // column, which the rendered header shows already.
            DiagnosticTarget::ParseError(error) => error.to_string(),
            _ => violation.message.clone(),
        };
        let mut notes = Vec::new();
        if let Some(policy_path) = &violation.policy {
            let location = self.policy.and_then(|policy| policy.location(policy_path));
            let location = location.map(|place| format!(" ({place})")).unwrap_or_default();
            notes.push(
                Level::NOTE
                    .with_name("policy")
                    .message(format!("`{}`{location}", escape_control(policy_path))),
            );
        }
        if let Some(fix) = fix_label(violation) {
            notes.push(Level::HELP.with_name("fix").message(escape_control(&fix)));
        }
        let location = self.span(violation).ok_or_else(|| self.origin_without_span(violation));
        let label = allowed_label(violation).map(|allowed| escape_control(&allowed));
        self.render_diagnostic(&message, Some(violation.code.as_str()), location, label, notes)
    }

    /// Returns the position of a violation in the file, in bytes. Returns `None` if the violation has no
    /// position, for example because it concerns the value of `--tenant`.
    pub(crate) fn offset(&self, violation: &Violation) -> Option<usize> {
        self.span(violation).map(|span| span.start)
    }

    /// Renders an error that is not a violation, such as a missing environment variable. `path` is a JSON
    /// pointer to the field that the error concerns.
    pub(crate) fn render_note(&self, path: &str, message: &str) -> String {
        let location = match &self.target {
            DiagnosticTarget::Job(document) => Ok(document.nearest(path).span),
            _ => Err(self.source.name.clone()),
        };
        self.render_diagnostic(message, None, location, None, Vec::new())
    }

    fn render_diagnostic(
        &self,
        message: &str,
        code: Option<&str>,
        location: Result<Span, String>,
        label: Option<String>,
        notes: Vec<Message<'_>>,
    ) -> String {
        let message = escape_control(message);
        let mut elements: Vec<Element<'_>> = Vec::new();
        match location {
            Err(origin) => elements.push(Origin::path(origin).into()),
            Ok(span) => match self.excerpt(&span) {
                Some(excerpt) => {
                    let annotation = AnnotationKind::Primary.span(excerpt.highlight).label(label);
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
        let document = match self.target {
            DiagnosticTarget::Job(document) | DiagnosticTarget::Policy(document) => document,
            DiagnosticTarget::ParseError(error) => return Some(error.span()),
            DiagnosticTarget::NoDocument => return None,
        };
        let path = violation.path.as_str();
        if self.is_from_command_line(violation) {
            return None;
        }
        match (document.find_key(path), document.find(path)) {
            // Highlight the key if the key is the error, or if the value is null. The value of an unknown
            // field must not be shown, because the field may be a misspelt `secrets`.
            (Some(key), Some(node)) if highlights_key(violation) || node.is_null() => Some(key.span),
            (_, Some(node)) if !path.is_empty() => Some(node.span),
            _ => Some(self.first_word(&document.nearest(path).span)),
        }
    }

    /// Returns whether the violation concerns a tenant that comes from `--tenant` and not from the file.
    fn is_from_command_line(&self, violation: &Violation) -> bool {
        let names_tenant = match self.target {
            DiagnosticTarget::Job(document) => document.find("/tenant").is_some_and(|node| !node.is_null()),
            _ => true,
        };
        violation.path == "/tenant" && self.tenant.is_some() && !names_tenant
    }

    fn origin_without_span(&self, violation: &Violation) -> String {
        if self.is_from_command_line(violation) { "--tenant".to_owned() } else { self.source.name.clone() }
    }

    /// Shortens a span to its first word. A missing field has no span, so its violation points to the first
    /// word of the mapping that must contain the field.
    fn first_word(&self, span: &Span) -> Span {
        let text = self.source.bytes().get(span.start..).unwrap_or_default();
        let word = text.iter().take_while(|b| !b.is_ascii_whitespace() && !matches!(b, b':' | b',')).count();
        Span { end: span.start + word.max(1), ..*span }
    }

    /// Returns the source line of a span. Returns `None` if the line must not be shown, is longer than
    /// [`MAX_LINE_LENGTH`], or belongs to a file that is not valid UTF-8.
    fn excerpt(&self, span: &Span) -> Option<Excerpt<'_>> {
        match &self.target {
            // A document whose root is not a mapping has no fields, so its text may contain secrets anywhere.
            DiagnosticTarget::Job(document) if !matches!(document.root.value, Value::Map(_)) => return None,
            DiagnosticTarget::Job(_) | DiagnosticTarget::Policy(_) => {}
            DiagnosticTarget::ParseError(_) | DiagnosticTarget::NoDocument => return None,
        }
        let text = self.source.text()?;
        let start = text.get(..span.start)?.rfind(['\n', '\r']).map_or(0, |i| i + 1);
        // A byte order mark does not count as a column.
        let start = if start == 0 && text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { start };
        let end = text.get(span.start..)?.find(['\n', '\r']).map_or(text.len(), |i| span.start + i);
        // If a part of the line after the span must not be shown, print `…` in place of the rest of the line.
        // An example is the value of an unknown field.
        let is_truncated = self.redacted.iter().any(|hidden| (span.end..end).contains(&hidden.start));
        let end = if is_truncated { span.end } else { end };
        let shown = Span { start, end, line: span.line, column: 1 };
        if end - start > MAX_LINE_LENGTH || self.redacted.iter().any(|hidden| hidden.overlaps(&shown)) {
            return None;
        }
        let highlight = (span.start - start)..(span.end.clamp(span.start, end) - start);
        let text = text.get(start..end)?;
        let text = if is_truncated { format!("{text}: …").into() } else { text.into() };
        Some(Excerpt { text, highlight })
    }
}

/// A source line and the highlighted range in it.
struct Excerpt<'a> {
    text: Cow<'a, str>,
    highlight: Range<usize>,
}

fn highlights_key(violation: &Violation) -> bool {
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

/// Formats the allowed values of a violation for a label. Returns `None` if the violation has none.
fn allowed_label(violation: &Violation) -> Option<String> {
    match violation.allowed.as_ref()? {
        Allowed::OneOf { one_of } if one_of.is_empty() => None,
        Allowed::OneOf { one_of } => {
            let more = if one_of.len() > MAX_ALLOWED_VALUES { ", …" } else { "" };
            let names: Vec<_> = one_of.iter().take(MAX_ALLOWED_VALUES).map(display_value).collect();
            Some(format!("allowed: {}{more}", names.join(", ")))
        }
        Allowed::Range { min: Json::Null, max } => Some(format!("allowed: at most {}", display_value(max))),
        Allowed::Range { min, max } if min == max => Some(format!("allowed: {}", display_value(min))),
        Allowed::Range { min, max } => {
            Some(format!("allowed: {} to {}", display_value(min), display_value(max)))
        }
    }
}

/// Formats the fix of a violation as a YAML line. Returns `None` if the violation has no fix.
fn fix_label(violation: &Violation) -> Option<String> {
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

fn display_value(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        value => value.to_string(),
    }
}
