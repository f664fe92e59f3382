//! Replays a decision from its recorded inputs.

use super::{Decision, DecisionInputs, GateInputs, Outcome, Submission, decide, try_acquire};
use crate::digest::Digest;
use crate::policy::Policy;
use std::fmt;
use std::sync::Arc;

/// The policy is not the one that made the decision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the decision was made by policy {expected}, not by policy {found}")]
pub struct ReplayError {
    /// The digest in the recorded inputs.
    pub expected: Digest,
    /// The digest of the given policy.
    pub found: Digest,
}

/// Replays a decision from its recorded inputs. Serialized, the result has the same bytes as the original, if
/// the same version of Runway made it. See [`replay_line`] for the decisions of other versions.
///
/// # Errors
/// [`ReplayError`] if the policy is not the one that made the decision.
pub fn replay(policy: &Policy, inputs: &DecisionInputs) -> Result<Decision, ReplayError> {
    if policy.digest() != inputs.policy {
        return Err(ReplayError { expected: inputs.policy, found: policy.digest() });
    }
    let submission = Submission {
        spec: Arc::clone(&inputs.spec),
        parse_violations: inputs.parse_violations.clone(),
        tenant: inputs.tenant.clone(),
    };
    let tenant = submission.tenant();
    let gate_inputs = GateInputs {
        buckets: inputs.buckets,
        rate_result: try_acquire(policy, tenant.as_ref(), inputs.buckets, inputs.now),
        tenant_usage: inputs.tenant_usage,
        cluster_usage: inputs.cluster_usage,
    };
    let blocking_of =
        |kind| inputs.holds.iter().find(|named| named.quota == kind).map(|named| named.holds.clone());
    let blocking_holds =
        |_: &str, exceeded: &crate::quota::QuotaExceeded| blocking_of(exceeded.kind).unwrap_or_default();
    Ok(decide(
        policy,
        inputs.capabilities.as_ref(),
        &submission,
        tenant.as_ref(),
        gate_inputs,
        blocking_holds,
        inputs.now,
    ))
}

/// The result of a successful [`replay_line`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayResult {
    /// The replayed decision has the same bytes as the line.
    Identical,
    /// The decision is the same, but at least one violation has another `message`. Another version of Runway
    /// wrote the line.
    Reworded,
}

impl fmt::Display for ReplayResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Identical => "identical",
            Self::Reworded => "same decision, other messages",
        })
    }
}

/// The error of [`replay_line`].
#[derive(Debug, thiserror::Error)]
pub enum ReplayLineError {
    /// The line is not a serialized decision.
    #[error("the line is not a recorded decision")]
    Malformed(#[from] serde_json::Error),
    /// The policy is not the one that made the decision.
    #[error(transparent)]
    OtherPolicy(#[from] ReplayError),
    /// The replayed decision differs from the line in more than the messages of its violations.
    #[error("the replayed decision differs from the line")]
    Different {
        /// The replayed decision.
        replayed: Box<Decision>,
    },
}

/// Replays the decision in a line of the audit log, and compares the two.
///
/// Versions of Runway may differ in the `message` of a violation. Everything else in the line must be the
/// same: the decision, the job, the quote, the times, and all other fields of the violations.
///
/// # Errors
/// - [`ReplayLineError::Malformed`] if the line is not a serialized decision.
/// - [`ReplayLineError::OtherPolicy`] if the policy is not the one that made the decision.
/// - [`ReplayLineError::Different`] if the replayed decision differs in more than its messages.
///
/// ```
/// use runway_core::gate::{ReplayResult, replay_line};
/// # use runway_core::{Gate, HashSeed, JobSpec, Policy, Submission, units::Timestamp};
/// # let policy = std::sync::Arc::new(Policy::builtin());
/// # let gate = Gate::new(policy.clone(), HashSeed(1, 2));
/// # let decision = gate.preview(&Submission::from(JobSpec::default()), Timestamp::EPOCH);
///
/// let line = serde_json::to_string(&decision)?; // the line in the audit log
/// assert_eq!(replay_line(&policy, &line)?, ReplayResult::Identical);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn replay_line(policy: &Policy, line: &str) -> Result<ReplayResult, ReplayLineError> {
    let recorded: RecordedDecision = serde_json::from_str(line)?;
    let replayed = replay(policy, &recorded.inputs)?;
    if serde_json::to_string(&replayed)? == line {
        return Ok(ReplayResult::Identical);
    }
    // With the recorded messages, the same decision has the bytes of the line.
    let mut reworded = replayed.clone();
    if let Outcome::Refused(refusal) = &mut reworded.outcome {
        for (violation, original) in refusal.violations.iter_mut().zip(recorded.violations) {
            violation.message = original.message;
        }
    }
    if serde_json::to_string(&reworded)? == line {
        Ok(ReplayResult::Reworded)
    } else {
        Err(ReplayLineError::Different { replayed: Box::new(replayed) })
    }
}

/// The parts of a serialized decision that its replay needs.
#[derive(serde::Deserialize)]
struct RecordedDecision {
    violations: Vec<RecordedViolation>,
    #[serde(rename = "basis")]
    inputs: DecisionInputs,
}

#[derive(serde::Deserialize)]
struct RecordedViolation {
    message: String,
}
