//! What a decision hung on, kept so that it can be made again.

use super::{Decision, Facts, Submission, decide, draw};
use crate::digest::Digest;
use crate::policy::Policy;
use crate::quota::{HeldUntil, QuotaKind, Usage};
use crate::rate::Buckets;
use crate::spec::JobSpec;
use crate::units::Timestamp;
use crate::violation::Violation;
use serde::de::Error as _;
use serde::ser::SerializeStruct;
use std::sync::Arc;

/// Everything that a decision hung on besides the policy's text: what was submitted, without the values of `env` and
/// `secrets`; the buckets and what was held before it; the holds it names; and when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The digest of the policy, overrides included.
    pub policy: Digest,
    /// What was submitted.
    pub spec: Arc<JobSpec>,
    /// What of it could not be read.
    pub faults: Vec<Violation>,
    /// The tenant by the transport.
    pub tenant: Option<String>,
    /// The buckets before it.
    pub buckets: Buckets,
    /// What the tenant held before it.
    pub tenant_usage: Usage,
    /// What all tenants held before it.
    pub cluster_usage: Usage,
    /// The holds in its way, where it was refused for a quota.
    pub holds: Vec<NamedHolds>,
    /// When it was made.
    pub now: Timestamp,
}

/// The holds in the way of one quota, by their deadlines.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NamedHolds {
    /// Which quota.
    pub quota: QuotaKind,
    /// The holds.
    pub holds: Vec<HeldUntil>,
}

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
    Ok(decide(policy, &submission, tenant.as_ref(), facts, in_the_way, basis.now))
}

impl serde::Serialize for Basis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut basis = serializer.serialize_struct("Basis", 9)?;
        basis.serialize_field("policy", &self.policy)?;
        basis.serialize_field("spec", &self.spec.outline())?;
        basis.serialize_field("faults", &self.faults)?;
        basis.serialize_field("tenant", &self.tenant)?;
        basis.serialize_field("buckets", &self.buckets)?;
        basis.serialize_field("tenant_usage", &self.tenant_usage)?;
        basis.serialize_field("cluster_usage", &self.cluster_usage)?;
        basis.serialize_field("holds", &self.holds)?;
        basis.serialize_field("now", &self.now)?;
        basis.end()
    }
}

#[derive(serde::Deserialize)]
struct BasisRecord {
    policy: Digest,
    spec: serde_json::Value,
    faults: Vec<Violation>,
    tenant: Option<String>,
    buckets: Buckets,
    tenant_usage: Usage,
    cluster_usage: Usage,
    holds: Vec<NamedHolds>,
    now: Timestamp,
}

impl<'de> serde::Deserialize<'de> for Basis {
    /// The values of variables are not in a basis; stand-ins of the same length take their place.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = BasisRecord::deserialize(deserializer)?;
        Ok(Self {
            policy: record.policy,
            spec: Arc::new(JobSpec::from_outline(record.spec).map_err(D::Error::custom)?),
            faults: record.faults,
            tenant: record.tenant,
            buckets: record.buckets,
            tenant_usage: record.tenant_usage,
            cluster_usage: record.cluster_usage,
            holds: record.holds,
            now: record.now,
        })
    }
}
