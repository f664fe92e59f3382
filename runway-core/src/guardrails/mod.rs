//! Guardrails: the Kubernetes objects that enforce the policy in a namespace, also for pods that bypass
//! Runway.
//!
//! Each namespace of jobs gets a Namespace with Pod Security labels, a ResourceQuota, a LimitRange,
//! NetworkPolicies, and a ValidatingAdmissionPolicy with its binding. Every job that the gate admits passes
//! these objects. They enforce only what Kubernetes can enforce: only the gate checks images, timeouts, rate
//! limits and prices. This module renders the objects and does not apply them.

mod job_changes;
mod limit_range;
mod network;
mod resource_quota;

use crate::name::Tenant;
use crate::policy::{Cidr, Limits, Network, Policy, TenantPolicy, UnknownTenants};
use crate::render::label;
use crate::units::GpuCount;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The guardrails of one namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Guardrails {
    /// The namespace, which accepts only pods that pass the `restricted` profile.
    pub namespace: Namespace,
    /// The quota for all pods of the namespace together.
    pub resource_quota: ResourceQuota,
    /// The limits for one container and one pod. `None` if the policy admits no job in the namespace.
    pub limit_range: Option<LimitRange>,
    /// The network policies: one denies all connections, and the others allow the networks of the policy.
    pub network_policies: Vec<NetworkPolicy>,
    /// The policy that rejects changes of Runway's Jobs. It belongs to no namespace, but selects this one.
    pub admission_policy: ValidatingAdmissionPolicy,
    /// The binding that puts the admission policy into effect.
    pub admission_policy_binding: ValidatingAdmissionPolicyBinding,
}

/// An error that prevents the rendering of the guardrails of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardrailsError {
    /// The policy allows the network `open`, which excludes the API server, and the address of the API server
    /// is not given.
    #[error(
        "`{allowed_by}` allows the network `open`, which excludes the API server; give the API server's addresses"
    )]
    ApiServerUnknown {
        /// The policy path that allows the network.
        allowed_by: Arc<str>,
    },
    /// The given range covers all IPv4 or all IPv6 addresses, so that the network `open` would exclude them
    /// all.
    #[error("`{range}` contains all addresses; give only the API server's addresses")]
    ApiServerEverywhere {
        /// The given range.
        range: Cidr,
    },
}

/// Returns the guardrails of each namespace. If each tenant has a separate namespace, the result has the
/// order of the tenants. `api_server` contains the addresses of the cluster's API server. They are required
/// if the policy allows the network `open`.
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
/// [`GuardrailsError::ApiServerUnknown`] if the policy allows the network `open` and `api_server` is empty.
/// [`GuardrailsError::ApiServerEverywhere`] if `api_server` contains a range of all addresses.
pub fn guardrails(policy: &Policy, api_server: &[Cidr]) -> Result<Vec<Guardrails>, GuardrailsError> {
    if let Some(range) = api_server.iter().find(|range| range.covers_all_addresses()) {
        return Err(GuardrailsError::ApiServerEverywhere { range: *range });
    }
    NamespaceScope::all(policy)
        .iter()
        .map(|scope| {
            Ok(Guardrails {
                namespace: scope.namespace(),
                resource_quota: resource_quota::resource_quota(scope),
                limit_range: limit_range::limit_range(scope),
                network_policies: network::network_policies(scope, api_server)?,
                admission_policy: job_changes::admission_policy(scope),
                admission_policy_binding: job_changes::admission_policy_binding(scope),
            })
        })
        .collect()
}

/// Name of the ResourceQuota and of the LimitRange. A namespace has one of each.
const OBJECT_NAME: &str = "runway";

/// A namespace, and the bounds of each tenant whose jobs run in it.
struct NamespaceScope<'a> {
    policy: &'a Policy,
    name: String,
    /// The tenant that owns the namespace, if each tenant has a separate one.
    owner: Option<&'a Tenant>,
    tenants: Vec<TenantBounds<'a>>,
}

/// The bounds of one tenant, or of all tenants that the policy does not list.
struct TenantBounds<'a> {
    /// The tenant. `None` stands for the tenants that are not listed.
    tenant: Option<&'a Tenant>,
    tenant_policy: &'a TenantPolicy,
    /// The bounds of each class, and of jobs without a class. Bounds that no job can satisfy are left out,
    /// such as a class with GPUs for a tenant without GPUs.
    limits: Vec<&'a Limits>,
    /// The bounds of a job without a class.
    default_limits: Option<&'a Limits>,
}

impl<'a> TenantBounds<'a> {
    fn new(policy: &'a Policy, tenant: Option<&'a Tenant>) -> Self {
        let name = tenant.map(Tenant::as_str);
        let default_limits = policy.limits(name, None);
        let classes = policy.classes().filter_map(|class| policy.limits(name, Some(class.as_str())));
        let is_satisfiable = |limits: &&Limits| limits.gpu.min.value <= limits.gpu.max.value;
        Self {
            tenant,
            // A listed tenant never has an empty name.
            tenant_policy: policy.tenant_policy(name.unwrap_or_default()),
            limits: default_limits.into_iter().chain(classes).filter(is_satisfiable).collect(),
            default_limits: default_limits.filter(is_satisfiable),
        }
    }

    /// Returns the policy path that allows the network, if the tenant may use it.
    fn path_allowing(&self, network: Network) -> Option<&Arc<str>> {
        let limits = self.limits.iter().find(|limits| limits.network.value.contains(&network));
        limits.map(|limits| &limits.network.source)
    }

    fn has_gpus(&self) -> bool {
        self.limits.iter().any(|limits| limits.gpu.max.value > GpuCount::ZERO)
    }
}

impl<'a> NamespaceScope<'a> {
    fn all(policy: &'a Policy) -> Vec<Self> {
        let listed = policy.listed_tenants();
        if policy.run_settings().is_per_tenant() {
            return listed
                .map(|tenant| Self {
                    policy,
                    name: policy.run_settings().namespace_of(tenant),
                    owner: Some(tenant),
                    tenants: vec![TenantBounds::new(policy, Some(tenant))],
                })
                .collect();
        }
        let unlisted = (policy.unknown_tenants() == UnknownTenants::Allow).then_some(None);
        let tenants =
            listed.map(Some).chain(unlisted).map(|tenant| TenantBounds::new(policy, tenant)).collect();
        vec![Self { policy, name: policy.run_settings().namespace.clone(), owner: None, tenants }]
    }

    /// Returns the bounds of every job that the policy can admit.
    fn limits(&self) -> impl Iterator<Item = &'a Limits> {
        self.tenants.iter().flat_map(|bounds| bounds.limits.iter().copied())
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

    /// Returns the metadata of an object, with the labels and annotations that all guardrails have.
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
