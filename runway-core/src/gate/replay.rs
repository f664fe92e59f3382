//! Making a decision again from its basis.

use super::{Basis, Decision, Facts, Submission, decide, draw};
use crate::digest::Digest;
use crate::policy::Policy;
use std::sync::Arc;

/// A decision cannot be made again by another policy than its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the decision was made by the policy {expected}, and this one is {found}")]
pub struct ReplayError {
    /// The digest in the basis.
    pub expected: Digest,
    /// The digest of the policy at hand.
    pub found: Digest,
}

/// Makes a decision again from its basis: serialized, it has the same bytes.
///
/// # Errors
/// [`ReplayError`] where the policy is not the one it was made by.
///
/// ```
/// use runway_core::gate::{Basis, replay};
/// # use runway_core::{Gate, HashSeed, JobSpec, Policy, Submission, units::Timestamp};
/// # let policy = std::sync::Arc::new(Policy::builtin());
/// # let gate = Gate::new(policy.clone(), HashSeed(1, 2));
/// # let decision = gate.preview(&Submission::from(JobSpec::default()), Timestamp::EPOCH);
///
/// let line = serde_json::to_string(&decision)?; // as it stands in the log
/// let logged: serde_json::Value = serde_json::from_str(&line)?;
/// let basis: Basis = serde_json::from_value(logged["basis"].clone())?;
/// assert_eq!(serde_json::to_string(&replay(&policy, &basis)?)?, line);
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
