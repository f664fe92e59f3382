//! Replays a decision from its recorded inputs.

use super::{Basis, Decision, Facts, Submission, decide, draw};
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
pub fn replay(policy: &Policy, basis: &Basis) -> Result<Decision, ReplayError> {
    if policy.digest() != basis.policy {
        return Err(ReplayError { expected: basis.policy, found: policy.digest() });
    }
    let submission = Submission {
        spec: Arc::clone(&basis.spec),
        faults: basis.faults.clone(),
        tenant: basis.tenant.clone(),
    };
    let tenant = submission.tenant();
    let facts = Facts {
        buckets: basis.buckets,
        drawn: draw(policy, tenant.as_ref(), basis.buckets, basis.now),
        tenant: basis.tenant_usage,
        cluster: basis.cluster_usage,
    };
    let named = |kind| basis.holds.iter().find(|named| named.quota == kind).map(|named| named.holds.clone());
    let in_the_way = |_: &str, shortage: &crate::quota::Shortage| named(shortage.kind).unwrap_or_default();
    Ok(decide(
        policy,
        basis.capabilities.as_ref(),
        &submission,
        tenant.as_ref(),
        facts,
        in_the_way,
        basis.now,
    ))
}
