//! The recorded inputs of a decision, from which it can be replayed.

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

/// The recorded inputs of a decision, apart from the policy itself.
///
/// The record holds everything that the decision depends on, but no values of `env` and `secrets`. It is the
/// key `basis` of a serialized [`Decision`](super::Decision).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The digest of the policy, including price overrides.
    pub policy: Digest,
    /// The submitted spec.
    pub spec: Arc<JobSpec>,
    /// The violations found while parsing the document. The JSON key is `faults`.
    pub faults: Vec<Violation>,
    /// The tenant from the header or command line, if given.
    pub tenant: Option<String>,
    /// The rate-limit buckets before the decision.
    pub buckets: Buckets,
    /// The usage of the tenant before the decision.
    pub tenant_usage: Usage,
    /// The usage of all tenants together before the decision.
    pub cluster_usage: Usage,
    /// The holds that block the job, for each exceeded quota. Empty if no quota is exceeded.
    pub holds: Vec<NamedHolds>,
    /// The time of the decision.
    pub now: Timestamp,
    /// The features of the backend; `None` if they were not checked. The JSON omits the key in that case.
    pub capabilities: Option<Arc<Capabilities>>,
}

/// The holds that block a refused job, for one quota. They are in the order of their deadlines.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NamedHolds {
    /// The exceeded quota.
    pub quota: QuotaKind,
    /// The blocking holds.
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
    /// Restores a record. A placeholder of the same length replaces each value of a variable, since the
    /// record does not contain the values.
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
