//! The verdict on a job: the fields of its status that depend on the evidence.

use crate::status::cause::Cause;
use crate::status::{Evidence, Phase, Reason};
use crate::units::Timestamp;

pub(super) struct Verdict {
    pub(super) phase: Phase,
    pub(super) reason: Option<Reason>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) finished_at: Option<Timestamp>,
}

impl Verdict {
    pub(super) fn new(phase: Phase, message: impl Into<String>) -> Self {
        Self {
            phase,
            reason: None,
            message: message.into(),
            hint: None,
            evidence: Vec::new(),
            finished_at: None,
        }
    }

    pub(super) fn with_cause(self, cause: Cause) -> Self {
        let evidence = cause.evidence.into_iter().chain(self.evidence).collect();
        Self { reason: cause.reason, hint: cause.hint, evidence, ..self }
    }

    pub(super) fn with_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    pub(super) fn add_hint(&mut self, hint: &str) {
        self.hint = Some(match self.hint.take() {
            Some(first) => format!("{first}; {hint}"),
            None => hint.to_owned(),
        });
    }

    pub(super) fn with_first_evidence(mut self, evidence: Evidence) -> Self {
        self.evidence.insert(0, evidence);
        self
    }
}
