//! Causes of failed or blocked attempts, and the helpers that quote foreign text in them.

use crate::status::{Evidence, Reason};
use crate::text::is_terminal_control;

/// The cause for which an attempt ended or cannot start.
#[derive(Debug, Clone)]
pub(in crate::status) struct Cause {
    /// `None` if no reason of Runway names the cause. The description then quotes the words of the backend.
    pub reason: Option<Reason>,
    /// The description, without a subject: "killed by the kernel …".
    pub description: String,
    /// Advice for the user.
    pub hint: Option<String>,
    /// The evidence, strongest first.
    pub evidence: Vec<Evidence>,
    /// Whether the deletion of the pod can also explain the end of the process. A cause without this flag
    /// takes precedence.
    #[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "only used for clusters"))]
    pub low_confidence: bool,
    /// Whether no retry can succeed.
    #[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "only used for clusters"))]
    pub permanent: bool,
}

impl Cause {
    pub(in crate::status) fn new(reason: impl Into<Option<Reason>>, description: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            description: description.into(),
            hint: None,
            evidence: Vec::new(),
            low_confidence: false,
            permanent: false,
        }
    }

    pub(in crate::status) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "only used for clusters"))]
    pub(in crate::status) fn with_optional_hint(mut self, hint: Option<&str>) -> Self {
        self.hint = hint.map(str::to_owned);
        self
    }

    #[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "only used for clusters"))]
    pub(in crate::status) fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }
}

/// Maximum length of a quotation, in characters.
const MAX_QUOTE_CHARS: usize = 300;
/// Maximum length of a value in the evidence, in characters.
const MAX_EVIDENCE_CHARS: usize = 1000;

/// Quotes foreign text in backticks: on one line, without control characters, and without its middle if it is
/// long. The end is kept, because chained errors have their cause at the end.
pub(in crate::status) fn quoted(text: &str) -> String {
    let words =
        text.split(|c: char| c.is_whitespace() || is_terminal_control(c)).filter(|word| !word.is_empty());
    let line = words.collect::<Vec<_>>().join(" ").replace('`', "'");
    let length = line.chars().count();
    if length <= MAX_QUOTE_CHARS {
        return format!("`{line}`");
    }
    let (head, tail) = (MAX_QUOTE_CHARS / 2, MAX_QUOTE_CHARS - MAX_QUOTE_CHARS / 2);
    let (head, tail) = (line.chars().take(head), line.chars().skip(length - tail));
    format!("`{}…{}`", head.collect::<String>(), tail.collect::<String>())
}

/// Returns evidence for a value in an object.
pub(in crate::status) fn evidence(
    kind: &str,
    name: Option<&str>,
    path: impl Into<String>,
    value: &str,
) -> Evidence {
    Evidence {
        object: format!("{kind}/{}", name.unwrap_or_default()),
        path: path.into(),
        value: value.chars().take(MAX_EVIDENCE_CHARS).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_one_printable_line() {
        assert_eq!(quoted("a\n\tb \u{1b}[31mred\u{202e} `x`"), "`a b [31mred 'x'`");
        assert_eq!(quoted(" \r\n"), "``");
        assert_eq!(quoted(&"é".repeat(300)), format!("`{}`", "é".repeat(300)));
        assert_eq!(quoted(&"é".repeat(301)), format!("`{0}…{0}`", "é".repeat(150)));
        let long = quoted(&"word ".repeat(1000));
        assert_eq!(long.chars().count(), 303);
        let chained = format!("failed to pull: {}: no such host", "failed to resolve: ".repeat(30));
        let quoted = quoted(&chained);
        assert!(quoted.starts_with("`failed to pull: ") && quoted.ends_with(": no such host`"), "{quoted}");
    }
}
