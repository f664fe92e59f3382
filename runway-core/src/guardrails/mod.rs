//! A policy as the cluster's own guardrails, so that a pod that goes round Runway meets the same rules.
//!
//! For each namespace of jobs: the Namespace with its Pod Security labels, a ResourceQuota, a LimitRange and
//! NetworkPolicies. Every job that the gate admits passes them. They bound what Kubernetes can bound: images, timeouts,
//! rates and prices remain the gate's alone. Nothing is applied here.

mod network;
mod quota;
mod range;

use crate::name::Tenant;
use crate::policy::{Cidr, Limits, Network, Policy, TenantTerms, UnknownTenants};
use crate::render::label;
use crate::units::GpuCount;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The objects that guard one namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Guardrails {
    /// The namespace itself, which takes only pods that pass the `restricted` profile.
    pub namespace: Namespace,
    /// What its pods may hold together.
    pub quota: ResourceQuota,
    /// What one container and one pod may ask for; `None` where no job can be admitted and so no pod.
    pub range: Option<LimitRange>,
    /// What its pods may connect to: nothing, and then the networks that the policy allows.
    pub networks: Vec<NetworkPolicy>,
}

/// Why a policy has no guardrails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardrailsError {
    /// The network `open` is all but the API server, and nobody says where that is.
    #[error(
        "`{allowed_by}` allows the network `open`, which is all but the API server, and nothing says where that is"
    )]
    ApiServerUnknown {
        /// The line of the policy that allows it.
        allowed_by: Arc<str>,
    },
    /// Without these addresses nothing would be left.
    #[error("`{range}` is every address there is, and so not where the API server is")]
    ApiServerEverywhere {
        /// The range that was given.
        range: Cidr,
    },
}

/// The guardrails of a policy, namespace by namespace, in the order of their tenants. `api_server` are the addresses of
/// the cluster's API server; they are needed where the policy allows the network `open`.
///
/// ```
/// use runway_core::{Policy, guardrails::guardrails};
///
/// let policy = Policy::builtin();
/// let guardrails = guardrails(&policy, &[])?;
/// assert_eq!(guardrails.len(), 1);
/// assert_eq!(guardrails[0].namespace.metadata.name.as_deref(), Some("runway-jobs"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`GuardrailsError`] where the network `open` cannot be told from the API server.
pub fn guardrails(policy: &Policy, api_server: &[Cidr]) -> Result<Vec<Guardrails>, GuardrailsError> {
    if let Some(range) = api_server.iter().find(|range| range.is_everything()) {
        return Err(GuardrailsError::ApiServerEverywhere { range: *range });
    }
    Site::all(policy)
        .iter()
        .map(|site| {
            Ok(Guardrails {
                namespace: site.namespace(),
                quota: quota::quota(site),
                range: range::range(site),
                networks: network::policies(site, api_server)?,
            })
        })
        .collect()
}

/// The name of the objects of which a namespace has one.
const NAME: &str = "runway";

/// A namespace, and those whose jobs run in it.
struct Site<'a> {
    policy: &'a Policy,
    name: String,
    /// Whose it is, where each tenant has one.
    owner: Option<&'a Tenant>,
    residents: Vec<Resident<'a>>,
}

/// A tenant, or all those that the policy does not list.
struct Resident<'a> {
    /// `None` for those that are not listed.
    tenant: Option<&'a Tenant>,
    terms: &'a TenantTerms,
    /// The bounds of its jobs, class by class. Those that leave nothing, as a class with GPUs does for a tenant that may
    /// have none, admit no job and bound none.
    limits: Vec<&'a Limits>,
    /// The bounds of a job that names no class.
    default: Option<&'a Limits>,
}

impl<'a> Resident<'a> {
    fn new(policy: &'a Policy, tenant: Option<&'a Tenant>) -> Self {
        let name = tenant.map(Tenant::as_str);
        let default = policy.limits(name, None);
        let classes = policy.classes().filter_map(|class| policy.limits(name, Some(class.as_str())));
        let leaves_something = |limits: &&Limits| limits.gpu.min.value <= limits.gpu.max.value;
        Self {
            tenant,
            // No listed tenant has the empty name.
            terms: policy.terms(name.unwrap_or_default()),
            limits: default.into_iter().chain(classes).filter(leaves_something).collect(),
            default: default.filter(leaves_something),
        }
    }

    /// The line of the policy that allows the network, if one does.
    fn allowed_by(&self, network: Network) -> Option<&Arc<str>> {
        let limits = self.limits.iter().find(|limits| limits.network.value.contains(&network));
        limits.map(|limits| &limits.network.from)
    }

    fn has_gpus(&self) -> bool {
        self.limits.iter().any(|limits| limits.gpu.max.value > GpuCount::ZERO)
    }
}

impl<'a> Site<'a> {
    fn all(policy: &'a Policy) -> Vec<Self> {
        let listed = policy.listed_tenants();
        if policy.run().is_per_tenant() {
            return listed
                .map(|tenant| Self {
                    policy,
                    name: policy.run().namespace_of(tenant),
                    owner: Some(tenant),
                    residents: vec![Resident::new(policy, Some(tenant))],
                })
                .collect();
        }
        let unlisted = (policy.unknown_tenants() == UnknownTenants::Allow).then_some(None);
        let residents =
            listed.map(Some).chain(unlisted).map(|tenant| Resident::new(policy, tenant)).collect();
        vec![Self { policy, name: policy.run().namespace.clone(), owner: None, residents }]
    }

    /// The bounds of every job that can be admitted.
    fn limits(&self) -> impl Iterator<Item = &'a Limits> {
        self.residents.iter().flat_map(|resident| resident.limits.iter().copied())
    }

    fn namespace(&self) -> Namespace {
        let mut metadata = self.metadata(&self.name);
        metadata.namespace = None;
        let labels = metadata.labels.get_or_insert_default();
        for mode in ["enforce", "audit", "warn"] {
            labels.insert(format!("pod-security.kubernetes.io/{mode}"), "restricted".to_owned());
            labels.insert(format!("pod-security.kubernetes.io/{mode}-version"), "latest".to_owned());
        }
        Namespace { metadata, ..Namespace::default() }
    }

    /// What every object here carries.
    fn metadata(&self, name: &str) -> ObjectMeta {
        let mut labels = BTreeMap::from([(label::MANAGED_BY.to_owned(), label::RUNWAY.to_owned())]);
        labels.extend(self.owner.map(|tenant| (label::TENANT.to_owned(), tenant.to_string())));
        let digest = (label::POLICY_DIGEST.to_owned(), self.policy.digest().to_string());
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.name.clone()),
            labels: Some(labels),
            annotations: Some(BTreeMap::from([digest])),
            ..ObjectMeta::default()
        }
    }
}
