//! What a decision hung on, kept so that it can be made again.

use crate::capability::Capabilities;
use crate::digest::Digest;
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
    /// The features of the backend; `None` if they were not checked. A record leaves the key out then.
    pub capabilities: Option<Arc<Capabilities>>,
}

/// The holds in the way of one quota, by their deadlines.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NamedHolds {
    /// Which quota.
    pub quota: QuotaKind,
    /// The holds.
    pub holds: Vec<HeldUntil>,
}

impl serde::Serialize for Basis {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut basis = serializer.serialize_struct("Basis", 9 + usize::from(self.capabilities.is_some()))?;
        basis.serialize_field("policy", &self.policy)?;
        basis.serialize_field("spec", &self.spec.outline())?;
        basis.serialize_field("faults", &self.faults)?;
        basis.serialize_field("tenant", &self.tenant)?;
        basis.serialize_field("buckets", &self.buckets)?;
        basis.serialize_field("tenant_usage", &self.tenant_usage)?;
        basis.serialize_field("cluster_usage", &self.cluster_usage)?;
        basis.serialize_field("holds", &self.holds)?;
        basis.serialize_field("now", &self.now)?;
        match &self.capabilities {
            Some(capabilities) => basis.serialize_field("capabilities", &**capabilities)?,
            None => basis.skip_field("capabilities")?,
        }
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
    #[serde(default)]
    capabilities: Option<Capabilities>,
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
            capabilities: record.capabilities.map(Arc::new),
        })
    }
}
