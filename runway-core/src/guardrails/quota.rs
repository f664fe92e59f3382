//! What the pods of a namespace may hold together.

use super::{NAME, Resident, Site};
use crate::policy::TenantTerms;
use crate::render::{UNTYPED_GPU, quantity};
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaSpec};
use std::collections::BTreeSet;

/// As many pods as there may be jobs, each as large as the largest job: the policy sets no other bound on their sum. GPUs
/// have a quota, which counts all types; Kubernetes counts each resource alone, so each gets the whole of it.
///
/// A pod counts until it has ended, and a Job has one pod that has not. A pod that takes the place of one that still
/// terminates may be turned away, and the Job controller tries again: no more are needed than there may be jobs. Jobs
/// themselves are not counted, since those that have ended would count too.
pub(super) fn quota(site: &Site<'_>) -> ResourceQuota {
    let capacity = site.policy.capacity();
    let runs = |resident: &Resident<'_>| !resident.limits.is_empty();
    let jobs =
        together(site, runs, |terms| terms.concurrent_jobs.value.into(), capacity.concurrent_jobs.into());
    let gpus = together(
        site,
        |resident| resident.has_gpus(),
        |terms| terms.gpus.value.units(),
        capacity.gpus.units(),
    );

    let cpu = site.limits().map(|limits| limits.cpu.max.value).max().unwrap_or_default();
    let memory = site.limits().map(|limits| limits.memory.max.value).max().unwrap_or_default();
    let storage = site.limits().map(|limits| limits.ephemeral_storage.max.value).max().unwrap_or_default();

    // Jobs need no Services and no volumes that outlive them.
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
    let typed: BTreeSet<&str> = site.policy.gpu_types().values().map(|gpu| gpu.resource.as_str()).collect();
    // Where GPUs have types, no job gets one without.
    let untyped = if typed.is_empty() { gpus } else { 0 };
    hard.push((format!("requests.{UNTYPED_GPU}"), quantity(untyped)));
    hard.extend(typed.iter().map(|resource| (format!("requests.{resource}"), quantity(gpus))));

    ResourceQuota {
        metadata: site.metadata(NAME),
        // Of two equal names the last one holds.
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard.into_iter().collect()),
            ..ResourceQuotaSpec::default()
        }),
        status: None,
    }
}

/// What the residents that `count` may hold together: the sum of their quotas, but no more than the capacity. Of tenants
/// that are not listed there may be any number.
fn together(
    site: &Site<'_>,
    count: impl Fn(&Resident<'_>) -> bool,
    quota: impl Fn(&TenantTerms) -> u64,
    capacity: u64,
) -> u64 {
    let counted = site.residents.iter().filter(|resident| count(resident));
    let quotas =
        counted.map(|resident| if resident.tenant.is_some() { quota(resident.terms) } else { u64::MAX });
    quotas.fold(0, u64::saturating_add).min(capacity)
}
