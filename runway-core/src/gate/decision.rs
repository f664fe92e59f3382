//! The decision on a submission: admitted or refused.

use super::DecisionInputs;
use crate::digest::Digest;
use crate::job::Job;
use crate::price::Quote;
use crate::spec::JobSpec;
use crate::units::Timestamp;
use crate::violation::Violation;
use serde::ser::SerializeStruct;
use std::sync::{Arc, OnceLock};

/// The decision on a submission, with its recorded inputs.
///
/// Serialized, it is `{"admitted","job","quote","violations","retry_at","free_by","basis"}`. This is the
/// format of the audit line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The outcome: admitted or refused.
    pub outcome: Outcome,
    /// The recorded inputs. Together with the policy they are enough to [`replay`](super::replay) the
    /// decision. The JSON key is `basis`.
    pub inputs: DecisionInputs,
}

/// The outcome of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The job may run. After [`Gate::submit`](super::Gate::submit), the ledger holds its GPUs and its job
    /// slot. A preview reserves nothing.
    Admitted(AdmittedJob),
    /// The job may not run, either in general or at this time.
    Refused(Refusal),
}

/// A job that the gate has admitted. Only the gate creates this type.
#[derive(Debug, Clone)]
pub struct AdmittedJob {
    job: Job,
    quote: Quote,
    spec: Arc<JobSpec>,
    /// The digest of the spec. It is computed on first use.
    spec_digest: OnceLock<Digest>,
}

impl PartialEq for AdmittedJob {
    fn eq(&self, other: &Self) -> bool {
        // The digest depends only on the spec.
        let Self { job, quote, spec, spec_digest: _ } = self;
        *job == other.job && *quote == other.quote && *spec == other.spec
    }
}

impl Eq for AdmittedJob {}

impl AdmittedJob {
    pub(super) const fn new(job: Job, quote: Quote, spec: Arc<JobSpec>) -> Self {
        Self { job, quote, spec, spec_digest: OnceLock::new() }
    }

    /// Returns the normalised job.
    #[must_use]
    pub const fn job(&self) -> &Job {
        &self.job
    }

    /// Returns the quote: the upper bound of the job's price.
    #[must_use]
    pub const fn quote(&self) -> &Quote {
        &self.quote
    }

    /// Returns the submitted spec, with its command, arguments and variables.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// Returns the digest of the spec, as computed by [`JobSpec::digest`].
    #[must_use]
    pub fn spec_digest(&self) -> Digest {
        *self.spec_digest.get_or_init(|| self.spec.digest())
    }
}

/// The refusal of a job, with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The normalised job. `None` if the rate limit refused the submission, or if a part of the spec is
    /// missing or cannot be parsed. The suggested fix replaces an invalid tenant or an unknown class.
    pub job: Option<Job>,
    /// The quote; `None` if there is no normalised job or if its price does not fit in a
    /// [`Usd`](crate::units::Usd).
    pub quote: Option<Quote>,
    /// The reasons for the refusal, at least one.
    pub violations: Vec<Violation>,
    /// The earliest time at which the rate limit accepts the same submission, unless other submissions come
    /// first. `None` if the rate limit did not refuse it.
    pub retry_at: Option<Timestamp>,
    /// The time by which the job fits into the exceeded quotas at the latest, unless other jobs are admitted
    /// first. `None` if no quota is exceeded, or if even the release of all holds would not be enough.
    pub free_by: Option<Timestamp>,
}

impl Decision {
    /// Returns the admitted job; `None` if the submission was refused.
    #[must_use]
    pub const fn admitted(&self) -> Option<&AdmittedJob> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(admitted),
            Outcome::Refused(_) => None,
        }
    }

    /// Returns the refusal; `None` if the submission was admitted.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.outcome {
            Outcome::Admitted(_) => None,
            Outcome::Refused(refusal) => Some(refusal),
        }
    }

    /// Returns the normalised job; `None` for a refusal without one, see [`Refusal::job`].
    #[must_use]
    pub const fn job(&self) -> Option<&Job> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(&admitted.job),
            Outcome::Refused(refusal) => refusal.job.as_ref(),
        }
    }

    /// Returns the quote, if one could be computed.
    #[must_use]
    pub const fn quote(&self) -> Option<&Quote> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(&admitted.quote),
            Outcome::Refused(refusal) => refusal.quote.as_ref(),
        }
    }

    /// Returns the reasons for a refusal. The slice is empty for an admitted job.
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
        decision.serialize_field("basis", &self.inputs)?;
        decision.end()
    }
}
