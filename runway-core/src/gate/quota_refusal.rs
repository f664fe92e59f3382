//! Refusals for exceeded quotas. A refusal contains the time at which the quotas become available, and the
//! number of GPUs that fits at this time.

use super::Submission;
use crate::code::Code;
use crate::job::Job;
use crate::policy::{Policy, TenantPolicy};
use crate::quota::{HoldExpiry, QuotaExceeded, QuotaKind, QuotaLimits, Usage};
use crate::units::{GpuCount, Timestamp};
use crate::violation::Violation;
use serde_json::Value as Json;

pub(super) fn quota_limits(policy: &Policy, tenant_policy: &TenantPolicy) -> QuotaLimits {
    let capacity = policy.capacity();
    let tenant =
        Usage { gpus: tenant_policy.gpus.value.units(), jobs: tenant_policy.concurrent_jobs.value.into() };
    let cluster = Usage { gpus: capacity.gpus.units(), jobs: capacity.concurrent_jobs.into() };
    QuotaLimits { tenant, cluster }
}

/// Returns a violation for each job limit that is 0. Such a limit refuses every job, so waiting does not help.
pub(super) fn zero_limit_violations(limits: QuotaLimits, tenant_policy: &TenantPolicy) -> Vec<Violation> {
    let quota = (limits.tenant.jobs == 0).then_some((
        "the policy sets the tenant's quota of concurrent jobs to 0",
        &*tenant_policy.concurrent_jobs.source,
    ));
    let capacity = (limits.cluster.jobs == 0).then_some((
        "the policy sets the capacity of concurrent jobs of all tenants to 0",
        "capacity.concurrent_jobs",
    ));
    let violation = |(message, policy_path): (&str, &str)| {
        Violation::new(Code::JobsNotAllowed, "", message).range(Json::Null, 0).policy(policy_path)
    };
    quota.into_iter().chain(capacity).map(violation).collect()
}

/// Returns the time by which the holds release enough of the quota at the latest. Returns `None` if all of
/// these holds together do not release enough, or if the end of one of them is not known.
pub(super) fn available_at(
    exceeded: &QuotaExceeded,
    holds: &[HoldExpiry],
    now: Timestamp,
) -> Option<Timestamp> {
    let frees_amount = |hold: &HoldExpiry| match exceeded.kind {
        QuotaKind::TenantGpus | QuotaKind::ClusterGpus => hold.gpus.units(),
        QuotaKind::TenantJobs | QuotaKind::ClusterJobs => 1,
    };
    let freed = holds.iter().map(frees_amount).fold(0, u64::saturating_add);
    if freed < exceeded.excess() {
        return None;
    }
    // A hold whose deadline has passed can be released at any time. Its deadline counts as `now`.
    holds.iter().map(|hold| hold.deadline.max(now)).max().filter(|time| *time < Timestamp::MAX)
}

pub(super) fn quota_violations(
    policy: &Policy,
    tenant_policy: &TenantPolicy,
    submission: &Submission,
    job: &Job,
    exceeded: &[QuotaExceeded],
    available_times: &[Option<Timestamp>],
) -> Vec<Violation> {
    let class = job.class.as_ref().map(crate::name::ClassName::as_str);
    let min_gpus =
        policy.limits(Some(job.tenant.as_str()), class).map_or(GpuCount::ZERO, |limits| limits.gpu.min.value);
    // The fix is the number of GPUs available in every exceeded GPU quota. It must be at least one, and at
    // least the minimum of the policy. Fewer GPUs do not help if a job quota is exceeded too.
    let is_gpus = |s: &&QuotaExceeded| matches!(s.kind, QuotaKind::TenantGpus | QuotaKind::ClusterGpus);
    let available_gpus = exceeded.iter().filter(is_gpus).map(QuotaExceeded::available).min();
    let only_gpu_quotas = exceeded.iter().all(|shortage| is_gpus(&shortage));
    let fix = available_gpus.filter(|left| only_gpu_quotas && *left >= min_gpus.units().max(1));
    let requested =
        submission.spec.resources.gpu.as_ref().map_or(Json::Null, crate::spec::RawScalar::to_json);
    let violation = |(quota, available): (&QuotaExceeded, &Option<Timestamp>)| {
        let QuotaExceeded { kind, requested: amount, held, limit } = *quota;
        // The message omits the time if it is not known.
        let availability =
            |what: &str| available.map(|time| format!("; {what} by {time}")).unwrap_or_default();
        let (code, policy_path, message) = match kind {
            QuotaKind::TenantGpus => (
                Code::TenantGpuQuota,
                &*tenant_policy.gpus.source,
                format!(
                    "the tenant holds {held} of its {limit} GPUs and requests {amount}{}",
                    availability("enough become available")
                ),
            ),
            QuotaKind::ClusterGpus => (
                Code::ClusterGpuCapacity,
                "capacity.gpus",
                format!(
                    "all tenants together hold {held} of {limit} GPUs and the job requests {amount}{}",
                    availability("enough become available")
                ),
            ),
            QuotaKind::TenantJobs => (
                Code::TenantJobQuota,
                &*tenant_policy.concurrent_jobs.source,
                format!(
                    "the tenant has {held} of at most {limit} concurrent jobs{}",
                    availability("another job can start")
                ),
            ),
            QuotaKind::ClusterJobs => (
                Code::ClusterJobCapacity,
                "capacity.concurrent_jobs",
                format!(
                    "all tenants together have {held} of at most {limit} concurrent jobs{}",
                    availability("another job can start")
                ),
            ),
        };
        if is_gpus(&quota) {
            let violation = Violation::new(code, "/resources/gpu", message).requested(requested.clone());
            violation.range(min_gpus.units(), quota.available()).policy(policy_path).fix(fix)
        } else {
            Violation::new(code, "", message).range(Json::Null, limit).policy(policy_path)
        }
    };
    exceeded.iter().zip(available_times).map(violation).collect()
}
