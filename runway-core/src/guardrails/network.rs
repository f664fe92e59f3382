//! NetworkPolicies: the connections that the pods of a namespace may open.
//!
//! NetworkPolicies are additive. One denies all connections of every pod. Each of the others allows a
//! network for the pods that have the network's label. A pod without such a label can open no connection.

use super::{GuardrailsError, NamespaceScope, TenantBounds};
use crate::policy::{Cidr, Network};
use crate::render::label;
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// All addresses, with the exceptions that a job must never reach. Clouds serve the credentials of their
/// machines at link-local addresses. Some clouds also use other addresses: Azure, Alibaba, Amazon and Google.
/// NAT64 and 6to4 reach IPv4 addresses through IPv6 ranges, so both ranges are excluded with all their
/// addresses.
const OPEN_RANGES: [(&str, &[&str]); 2] = [
    ("0.0.0.0/0", &["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32"]),
    ("::/0", &["fe80::/10", "fd00:ec2::/32", "fd20:ce::254/128", "64:ff9b::/96", "2002::/16"]),
];

pub(super) fn network_policies(
    scope: &NamespaceScope<'_>,
    api_server: &[Cidr],
) -> Result<Vec<NetworkPolicy>, GuardrailsError> {
    let mut policies = vec![network_policy(
        scope,
        "runway-deny-all",
        LabelSelector::default(),
        &["Ingress", "Egress"],
        None,
    )];
    let mut allow = |name: &str, pods: LabelSelector, egress: Vec<NetworkPolicyEgressRule>| {
        policies.push(network_policy(scope, name, pods, &["Egress"], Some(egress)));
    };
    // A tenant with its own ranges must not get the shared ranges as well.
    let shared_cidrs =
        &scope.policy.tenant_policy(scope.owner.map_or("", |tenant| tenant.as_str())).internal_cidrs.value;
    let may_use_internal = |bounds: &TenantBounds<'_>| bounds.path_allowing(Network::Internal).is_some();
    let uses_shared_cidrs =
        |bounds: &TenantBounds<'_>| bounds.tenant_policy.internal_cidrs.value == *shared_cidrs;
    if let Some(pods) =
        pod_selector(scope, Network::Internal, |bounds| may_use_internal(bounds) && uses_shared_cidrs(bounds))
    {
        allow("runway-internal", pods, internal_egress(shared_cidrs));
    }
    for separate in
        scope.tenants.iter().filter(|bounds| may_use_internal(bounds) && !uses_shared_cidrs(bounds))
    {
        let (Some(tenant), cidrs) = (separate.tenant, &separate.tenant_policy.internal_cidrs.value) else {
            continue;
        };
        if let Some(pods) = pod_selector(scope, Network::Internal, |bounds| bounds.tenant == separate.tenant)
        {
            allow(&format!("runway-internal-{tenant}"), pods, internal_egress(cidrs));
        }
    }
    if let Some(allowed_by) = scope.tenants.iter().find_map(|bounds| bounds.path_allowing(Network::Open))
        && let Some(pods) =
            pod_selector(scope, Network::Open, |bounds| bounds.path_allowing(Network::Open).is_some())
    {
        if api_server.is_empty() {
            return Err(GuardrailsError::ApiServerUnknown { allowed_by: allowed_by.clone() });
        }
        allow("runway-open", pods, open_egress(api_server));
    }
    Ok(policies)
}

/// Returns the selector of the pods that use this network and whose tenant `is_allowed`. Returns `None` if no
/// tenant is allowed. In a namespace with an owner, all pods belong to the owner, so the selector names no
/// tenant.
fn pod_selector(
    scope: &NamespaceScope<'_>,
    network: Network,
    is_allowed: impl Fn(&TenantBounds<'_>) -> bool,
) -> Option<LabelSelector> {
    let (included, excluded): (Vec<_>, Vec<_>) = scope.tenants.iter().partition(|bounds| is_allowed(bounds));
    if included.is_empty() {
        return None;
    }
    let names = |tenants: &[&TenantBounds<'_>]| -> Vec<String> {
        tenants.iter().filter_map(|bounds| bounds.tenant).map(ToString::to_string).collect()
    };
    // Tenants that are not listed can be selected only by excluding the listed ones.
    let with_unlisted = included.iter().any(|bounds| bounds.tenant.is_none());
    let (operator, tenants) =
        if with_unlisted { ("NotIn", names(&excluded)) } else { ("In", names(&included)) };
    let needs_tenant_match = scope.owner.is_none() && !tenants.is_empty();
    let requirement = LabelSelectorRequirement {
        key: label::TENANT.to_owned(),
        operator: operator.to_owned(),
        values: Some(tenants),
    };
    Some(LabelSelector {
        match_labels: Some([(label::NETWORK.to_owned(), network.to_string())].into()),
        match_expressions: needs_tenant_match.then(|| vec![requirement]),
    })
}

fn network_policy(
    scope: &NamespaceScope<'_>,
    name: &str,
    pods: LabelSelector,
    types: &[&str],
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: scope.metadata(name),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(types.iter().map(|kind| (*kind).to_owned()).collect()),
            egress,
            ingress: None,
        }),
    }
}

fn internal_egress(cidrs: &[Cidr]) -> Vec<NetworkPolicyEgressRule> {
    let blocks: Vec<_> = cidrs.iter().map(|cidr| ip_block(&cidr.to_string(), Vec::new())).collect();
    // A rule without destinations would allow all destinations.
    let ranges = (!blocks.is_empty()).then_some(NetworkPolicyEgressRule { to: Some(blocks), ports: None });
    std::iter::once(dns_egress()).chain(ranges).collect()
}

/// Returns the egress rules of the network `open`. DNS needs a separate rule, because some network plugins
/// do not match pods by address ranges.
fn open_egress(api_server: &[Cidr]) -> Vec<NetworkPolicyEgressRule> {
    let blocks = OPEN_RANGES.map(|(range, excluded)| {
        let is_ipv4 = !range.contains(':');
        let api_server =
            api_server.iter().filter(|range| range.is_ipv4() == is_ipv4).map(ToString::to_string);
        ip_block(range, excluded.iter().map(|range| (*range).to_owned()).chain(api_server).collect())
    });
    vec![dns_egress(), NetworkPolicyEgressRule { to: Some(blocks.into()), ports: None }]
}

fn ip_block(cidr: &str, except: Vec<String>) -> NetworkPolicyPeer {
    let except = (!except.is_empty()).then_some(except);
    NetworkPolicyPeer {
        ip_block: Some(IPBlock { cidr: cidr.to_owned(), except }),
        ..NetworkPolicyPeer::default()
    }
}

/// Allows the DNS servers of the cluster. They have the label `k8s-app=kube-dns`, even if they are not
/// kube-dns.
fn dns_egress() -> NetworkPolicyEgressRule {
    let labelled = |key: &str, value: &str| LabelSelector {
        match_labels: Some([(key.to_owned(), value.to_owned())].into()),
        match_expressions: None,
    };
    let port = |protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(53)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    };
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(labelled("kubernetes.io/metadata.name", "kube-system")),
            pod_selector: Some(labelled("k8s-app", "kube-dns")),
            ip_block: None,
        }]),
        ports: Some(vec![port("UDP"), port("TCP")]),
    }
}
