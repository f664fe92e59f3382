//! Refusals for exceeded quotas, with the time at which they become available and the number of GPUs that
//! fits.

use super::Submission;
use crate::code::Code;
use crate::job::Job;
use crate::policy::{Policy, TenantTerms};
use crate::quota::{HeldUntil, QuotaKind, QuotaLimits, Shortage, Usage};
use crate::units::{GpuCount, Timestamp};
use crate::violation::Violation;
use serde_json::Value as Json;

pub(super) fn quota_limits(policy: &Policy, terms: &TenantTerms) -> QuotaLimits {
    let capacity = policy.capacity();
    let tenant = Usage { gpus: terms.gpus.value.units(), jobs: terms.concurrent_jobs.value.into() };
    let cluster = Usage { gpus: capacity.gpus.units(), jobs: capacity.concurrent_jobs.into() };
    QuotaLimits { tenant, cluster }
}

/// Returns the latest time at which the holds have released enough of the quota; `None` if they never do.
pub(super) fn freed_by(shortage: &Shortage, holds: &[HeldUntil], now: Timestamp) -> Option<Timestamp> {
    let frees = |hold: &HeldUntil| match shortage.kind {
        QuotaKind::TenantGpus | QuotaKind::ClusterGpus => hold.gpus.units(),
        QuotaKind::TenantJobs | QuotaKind::ClusterJobs => 1,
    };
    let freed = holds.iter().map(frees).fold(0, u64::saturating_add);
    if freed < shortage.missing() {
        return None;
    }
    // An overdue hold is due for release now, not in the past.
    holds.iter().map(|hold| hold.deadline.max(now)).max()
}

pub(super) fn quota_violations(
    policy: &Policy,
    terms: &TenantTerms,
    submission: &Submission,
    job: &Job,
    shortages: &[Shortage],
    times: &[Option<Timestamp>],
) -> Vec<Violation> {
    let class = job.class.as_ref().map(crate::name::ClassName::as_str);
    let least =
        policy.limits(Some(job.tenant.as_str()), class).map_or(GpuCount::ZERO, |limits| limits.gpu.min.value);
    // The fix is the number of GPUs available in every exceeded GPU quota. It must be at least one, and at
    // least the minimum of the policy. Fewer GPUs do not help if a job quota is exceeded too.
    let is_gpus = |s: &&Shortage| matches!(s.kind, QuotaKind::TenantGpus | QuotaKind::ClusterGpus);
    let left = shortages.iter().filter(is_gpus).map(Shortage::left).min();
    let only_gpus = shortages.iter().all(|shortage| is_gpus(&shortage));
    let fix = left.filter(|left| only_gpus && *left >= least.units().max(1));
    let requested = submission.spec.resources.gpu.as_ref().map_or(Json::Null, crate::spec::Written::to_json);
    let violation = |(shortage, time): (&Shortage, &Option<Timestamp>)| {
        let Shortage { kind, requested: asked, held, limit } = *shortage;
        // The message omits the time if it is not known.
        let later =
            |what: &str| time.map(|time| format!("; {what} by {time} at the latest")).unwrap_or_default();
        let (code, line, message) = match kind {
            QuotaKind::TenantGpus => (
                Code::TenantGpuQuota,
                &*terms.gpus.from,
                format!(
                    "the tenant holds {held} of its {limit} GPUs and asks for {asked}{}",
                    later("enough are free")
                ),
            ),
            QuotaKind::ClusterGpus => (
                Code::ClusterGpuCapacity,
                "capacity.gpus",
                format!(
                    "all tenants hold {held} of {limit} GPUs and this job asks for {asked}{}",
                    later("enough are free")
                ),
            ),
            QuotaKind::TenantJobs => (
                Code::TenantJobQuota,
                &*terms.concurrent_jobs.from,
                format!(
                    "the tenant has {held} of the {limit} jobs it may have at a time{}",
                    later("there is room")
                ),
            ),
            QuotaKind::ClusterJobs => (
                Code::ClusterJobCapacity,
                "capacity.concurrent_jobs",
                format!(
                    "all tenants have {held} of the {limit} jobs there may be at a time{}",
                    later("there is room")
                ),
            ),
        };
        if is_gpus(&shortage) {
            let violation = Violation::new(code, "/resources/gpu", message).requested(requested.clone());
            violation.range(least.units(), shortage.left()).policy(line).fix(fix)
        } else {
            Violation::new(code, "", message).range(Json::Null, limit).policy(line)
        }
    };
    shortages.iter().zip(times).map(violation).collect()
}
