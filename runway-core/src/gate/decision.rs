//! What became of a submission.

use super::Basis;
use crate::digest::Digest;
use crate::job::Job;
use crate::price::Quote;
use crate::spec::JobSpec;
use crate::units::Timestamp;
use crate::violation::Violation;
use serde::ser::SerializeStruct;
use std::sync::{Arc, OnceLock};

/// What became of a submission, and all that it hung on.
///
/// Serialized, it is `{"admitted","job","quote","violations","retry_at","free_by","basis"}`: the audit line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What became of it.
    pub outcome: Outcome,
    /// What it hung on: with this and the policy anyone can decide it again, see [`replay`](super::replay).
    pub basis: Basis,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It may run, and what it needs is held.
    Admitted(AdmittedJob),
    /// It may not, or not now.
    Refused(Refusal),
}

/// A job that has passed the gate. Nothing else makes one.
#[derive(Debug, Clone)]
pub struct AdmittedJob {
    job: Job,
    quote: Quote,
    spec: Arc<JobSpec>,
    /// Made when it is first asked for.
    spec_digest: OnceLock<Digest>,
}

impl PartialEq for AdmittedJob {
    fn eq(&self, other: &Self) -> bool {
        // The digest says nothing that the spec does not.
        let Self { job, quote, spec, spec_digest: _ } = self;
        *job == other.job && *quote == other.quote && *spec == other.spec
    }
}

impl Eq for AdmittedJob {}

impl AdmittedJob {
    pub(super) const fn new(job: Job, quote: Quote, spec: Arc<JobSpec>) -> Self {
        Self { job, quote, spec, spec_digest: OnceLock::new() }
    }

    /// The normalised job.
    #[must_use]
    pub const fn job(&self) -> &Job {
        &self.job
    }

    /// The most it can cost.
    #[must_use]
    pub const fn quote(&self) -> &Quote {
        &self.quote
    }

    /// What was written: command, arguments and variables.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// The digest of what was written, which is [`JobSpec::digest`].
    #[must_use]
    pub fn spec_digest(&self) -> Digest {
        *self.spec_digest.get_or_init(|| self.spec.digest())
    }
}

/// Why a job may not run, or not now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The normalised job, where every part of it could be read.
    pub job: Option<Job>,
    /// What it would cost at most, where that can be said.
    pub quote: Option<Quote>,
    /// Every reason, of which there is at least one.
    pub violations: Vec<Violation>,
    /// Refused for its rate: the first instant at which the same request passes, unless others come first.
    pub retry_at: Option<Timestamp>,
    /// Refused for a quota: when there is room at the latest, unless others come first. `None` where the holds in the
    /// way, all together, are not enough.
    pub free_by: Option<Timestamp>,
}

impl Decision {
    /// The admitted job, if it is one.
    #[must_use]
    pub const fn admitted(&self) -> Option<&AdmittedJob> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(admitted),
            Outcome::Refused(_) => None,
        }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.outcome {
            Outcome::Admitted(_) => None,
            Outcome::Refused(refusal) => Some(refusal),
        }
    }

    /// The normalised job, where every part of it could be read.
    #[must_use]
    pub const fn job(&self) -> Option<&Job> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(&admitted.job),
            Outcome::Refused(refusal) => refusal.job.as_ref(),
        }
    }

    /// What the job would cost at most, where that can be said.
    #[must_use]
    pub const fn quote(&self) -> Option<&Quote> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(&admitted.quote),
            Outcome::Refused(refusal) => refusal.quote.as_ref(),
        }
    }

    /// The reasons for a refusal.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.refusal().map_or(&[], |refusal| &refusal.violations)
    }
}

impl serde::Serialize for Decision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut decision = serializer.serialize_struct("Decision", 7)?;
        decision.serialize_field("admitted", &self.admitted().is_some())?;
        decision.serialize_field("job", &self.job())?;
        decision.serialize_field("quote", &self.quote())?;
        decision.serialize_field("violations", self.violations())?;
        decision.serialize_field("retry_at", &self.refusal().and_then(|refusal| refusal.retry_at))?;
        decision.serialize_field("free_by", &self.refusal().and_then(|refusal| refusal.free_by))?;
        decision.serialize_field("basis", &self.basis)?;
        decision.end()
    }
}
