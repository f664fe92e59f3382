//! ResourceQuota: the resources that the pods of a namespace may hold together.

use super::{NamespaceScope, OBJECT_NAME, TenantBounds};
use crate::policy::TenantPolicy;
use crate::render::{DEFAULT_GPU_RESOURCE, quantity};
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};
use std::collections::BTreeSet;

/// Returns the quota: as many pods as concurrent jobs, each with the resources of the largest job. The policy
/// has no other bound on the sum. The policy's GPU quota counts all types together, but Kubernetes counts
/// each resource separately. So each GPU resource gets the whole quota.
///
/// A pod counts until it terminates, and each Job has one such pod. While the old pod of a Job still
/// terminates, the cluster can reject the new one, and the Job controller retries. So the quota needs no
/// spare pods. The quota does not count Jobs, because finished Jobs would count too.
pub(super) fn resource_quota(scope: &NamespaceScope<'_>) -> ResourceQuota {
    let capacity = scope.policy.capacity();
    let can_run = |bounds: &TenantBounds<'_>| !bounds.limits.is_empty();
    let jobs = combined_quota(
        scope,
        can_run,
        |tenant_policy| tenant_policy.concurrent_jobs.value.into(),
        capacity.concurrent_jobs.into(),
    );
    let gpus = combined_quota(
        scope,
        |bounds| bounds.has_gpus(),
        |tenant_policy| tenant_policy.gpus.value.units(),
        capacity.gpus.units(),
    );

    let cpu = scope.limits().map(|limits| limits.cpu.max.value).max().unwrap_or_default();
    let memory = scope.limits().map(|limits| limits.memory.max.value).max().unwrap_or_default();
    let storage = scope.limits().map(|limits| limits.ephemeral_storage.max.value).max().unwrap_or_default();

    // Jobs need no Services and no persistent volumes.
    let mut hard: Vec<(String, _)> = vec![
        ("pods".to_owned(), quantity(jobs)),
        ("persistentvolumeclaims".to_owned(), quantity(0)),
        ("services".to_owned(), quantity(0)),
        ("services.loadbalancers".to_owned(), quantity(0)),
        ("services.nodeports".to_owned(), quantity(0)),
    ];
    for (resource, amount) in [
        ("cpu", quantity(cpu.saturating_mul(jobs))),
        ("memory", quantity(memory.saturating_mul(jobs))),
        ("ephemeral-storage", quantity(storage.saturating_mul(jobs))),
    ] {
        hard.push((format!("requests.{resource}"), amount.clone()));
        hard.push((format!("limits.{resource}"), amount));
    }
    let typed: BTreeSet<&str> = scope.policy.gpu_types().values().map(|gpu| gpu.resource.as_str()).collect();
    // If the policy has GPU types, no job gets a GPU without a type.
    let untyped = if typed.is_empty() { gpus } else { 0 };
    hard.push((format!("requests.{DEFAULT_GPU_RESOURCE}"), quantity(untyped)));
    hard.extend(typed.iter().map(|resource| (format!("requests.{resource}"), quantity(gpus))));

    ResourceQuota {
        metadata: scope.metadata(OBJECT_NAME),
        // If a GPU type uses the default GPU resource, its name occurs twice. The last amount applies.
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard.into_iter().collect()),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    }
}

/// Returns the sum of the quotas of the tenants that `is_counted` selects, limited by the capacity. The
/// number of unlisted tenants is unlimited, so only the capacity limits the sum of their quotas.
fn combined_quota(
    scope: &NamespaceScope<'_>,
    is_counted: impl Fn(&TenantBounds<'_>) -> bool,
    quota: impl Fn(&TenantPolicy) -> u64,
    capacity: u64,
) -> u64 {
    let counted = scope.tenants.iter().filter(|bounds| is_counted(bounds));
    let quotas =
        counted.map(|bounds| if bounds.tenant.is_some() { quota(bounds.tenant_policy) } else { u64::MAX });
    quotas.fold(0, u64::saturating_add).min(capacity)
}
