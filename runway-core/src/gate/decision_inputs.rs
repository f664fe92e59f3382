//! The recorded inputs of a decision, from which it can be replayed.

use crate::capability::Capabilities;
use crate::digest::Digest;
use crate::quota::{HoldExpiry, QuotaKind, Usage};
use crate::rate::Buckets;
use crate::spec::JobSpec;
use crate::units::Timestamp;
use crate::violation::Violation;
use serde::de::Error as _;
use serde::ser::SerializeStruct;
use std::sync::Arc;

/// The recorded inputs of a decision, apart from the policy itself.
///
/// The record contains everything else that the decision depends on. It contains no values of `env` and
/// `secrets`. In a serialized [`Decision`](super::Decision), its key is `basis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionInputs {
    /// The digest of the policy, including price overrides.
    pub policy: Digest,
    /// The submitted spec.
    pub spec: Arc<JobSpec>,
    /// The violations found while parsing the document. The JSON key is `faults`.
    pub parse_violations: Vec<Violation>,
    /// The tenant from the header or command line, if given.
    pub tenant: Option<String>,
    /// The rate-limit buckets before the decision.
    pub buckets: Buckets,
    /// The usage of the tenant before the decision.
    pub tenant_usage: Usage,
    /// The usage of all tenants together before the decision.
    pub cluster_usage: Usage,
    /// The holds that block the job, for each exceeded quota. Empty if no quota is exceeded, or if the job
    /// was refused before the check of the quotas.
    pub holds: Vec<BlockingHolds>,
    /// The time of the decision.
    pub now: Timestamp,
    /// The features of the backend; `None` if they were not checked. The JSON omits the key in that case.
    pub capabilities: Option<Arc<Capabilities>>,
}

/// The holds that block a refused job, for one quota. They are in the order of their deadlines.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BlockingHolds {
    /// The exceeded quota.
    pub quota: QuotaKind,
    /// The blocking holds.
    pub holds: Vec<HoldExpiry>,
}

impl serde::Serialize for DecisionInputs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record =
            serializer.serialize_struct("DecisionInputs", 9 + usize::from(self.capabilities.is_some()))?;
        record.serialize_field("policy", &self.policy)?;
        record.serialize_field("spec", &self.spec.redacted())?;
        record.serialize_field("faults", &self.parse_violations)?;
        record.serialize_field("tenant", &self.tenant)?;
        record.serialize_field("buckets", &self.buckets)?;
        record.serialize_field("tenant_usage", &self.tenant_usage)?;
        record.serialize_field("cluster_usage", &self.cluster_usage)?;
        record.serialize_field("holds", &self.holds)?;
        record.serialize_field("now", &self.now)?;
        match &self.capabilities {
            Some(capabilities) => record.serialize_field("capabilities", &**capabilities)?,
            None => record.skip_field("capabilities")?,
        }
        record.end()
    }
}

#[derive(serde::Deserialize)]
struct DecisionInputsRecord {
    policy: Digest,
    spec: serde_json::Value,
    #[serde(rename = "faults")]
    parse_violations: Vec<Violation>,
    tenant: Option<String>,
    buckets: Buckets,
    tenant_usage: Usage,
    cluster_usage: Usage,
    holds: Vec<BlockingHolds>,
    now: Timestamp,
    #[serde(default)]
    capabilities: Option<Capabilities>,
}

impl<'de> serde::Deserialize<'de> for DecisionInputs {
    /// Restores a record. The record does not contain the values of `env` and `secrets`. A placeholder of the
    /// same length replaces each of them.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let record = DecisionInputsRecord::deserialize(deserializer)?;
        Ok(Self {
            policy: record.policy,
            spec: Arc::new(JobSpec::from_redacted(record.spec).map_err(D::Error::custom)?),
            parse_violations: record.parse_violations,
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
