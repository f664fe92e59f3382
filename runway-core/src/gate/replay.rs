//! Replays a decision from its recorded inputs.

use super::{Decision, DecisionInputs, GateInputs, Submission, decide, try_acquire};
use crate::digest::Digest;
use crate::policy::Policy;
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

/// Replays a decision from its recorded inputs. Serialized, the result has the same bytes as the original.
///
/// # Errors
/// [`ReplayError`] if the policy is not the one that made the decision.
///
/// ```
/// use runway_core::gate::{DecisionInputs, replay};
/// # use runway_core::{Gate, HashSeed, JobSpec, Policy, Submission, units::Timestamp};
/// # let policy = std::sync::Arc::new(Policy::builtin());
/// # let gate = Gate::new(policy.clone(), HashSeed(1, 2));
/// # let decision = gate.preview(&Submission::from(JobSpec::default()), Timestamp::EPOCH);
///
/// let line = serde_json::to_string(&decision)?; // the line in the audit log
/// let logged: serde_json::Value = serde_json::from_str(&line)?;
/// let inputs: DecisionInputs = serde_json::from_value(logged["basis"].clone())?;
/// assert_eq!(serde_json::to_string(&replay(&policy, &inputs)?)?, line);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
