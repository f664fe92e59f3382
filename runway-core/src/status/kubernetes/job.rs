//! The Job object: its conditions, its limits, and whether it is being deleted.

use super::time::{instant, to_rfc3339};
use crate::render::label;
use crate::status::Evidence;
use crate::status::cause::evidence;
use crate::units::{Seconds, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};

/// A Job as it was last observed.
#[derive(Clone, Copy)]
pub(super) struct ObservedJob<'a>(pub(super) &'a Job);

/// A condition with the status `True`, and its index in the list.
#[derive(Clone, Copy)]
pub(super) struct Condition<'a> {
    pub index: usize,
    pub inner: &'a JobCondition,
}

impl Condition<'_> {
    pub(super) fn reason(&self) -> Option<&str> {
        self.inner.reason.as_deref().filter(|reason| !reason.is_empty())
    }

    pub(super) fn since(&self) -> Option<Timestamp> {
        instant(self.inner.last_transition_time.as_ref())
    }
}

impl<'a> ObservedJob<'a> {
    fn spec(&self) -> Option<&'a JobSpec> {
        self.0.spec.as_ref()
    }

    fn status(&self) -> Option<&'a JobStatus> {
        self.0.status.as_ref()
    }

    /// Returns the condition of this type, if its status is `True`.
    pub(super) fn condition(&self, kind: &str) -> Option<Condition<'a>> {
        let conditions = self.status()?.conditions.as_deref()?;
        let mut conditions = conditions.iter().enumerate();
        let (index, inner) = conditions.find(|(_, found)| found.type_ == kind && found.status == "True")?;
        Some(Condition { index, inner })
    }

    /// Returns the reason of a condition as evidence, or its type if it has no reason.
    pub(super) fn condition_evidence(&self, condition: Condition<'_>) -> Evidence {
        let path = format!("status.conditions[{}]", condition.index);
        match condition.reason() {
            Some(reason) => self.evidence(format!("{path}.reason"), reason),
            None => self.evidence(format!("{path}.type"), &condition.inner.type_),
        }
    }

    pub(super) fn evidence(&self, path: impl Into<String>, value: &str) -> Evidence {
        evidence("job", self.0.metadata.name.as_deref(), path, value)
    }

    pub(super) fn started_at(&self) -> Option<Timestamp> {
        instant(self.status()?.start_time.as_ref())
    }

    pub(super) fn completed_at(&self) -> Option<Timestamp> {
        instant(self.status()?.completion_time.as_ref())
    }

    pub(super) fn deleted_at(&self) -> Option<Timestamp> {
        instant(self.0.metadata.deletion_timestamp.as_ref())
    }

    /// Returns evidence that the Job is being deleted.
    pub(super) fn deletion_evidence(&self) -> Option<Evidence> {
        let deleted = self.0.metadata.deletion_timestamp.as_ref()?;
        Some(self.evidence("metadata.deletionTimestamp", &to_rfc3339(deleted)))
    }

    /// Returns the time of the cancellation, from the Job's annotation.
    pub(super) fn cancelled_at(&self) -> Option<&'a str> {
        self.annotation(label::CANCELLED)
    }

    /// Returns whether Runway suspended the Job, because the creation of the job is not complete.
    pub(super) fn is_incomplete(&self) -> bool {
        self.annotation(label::INCOMPLETE).is_some()
    }

    fn annotation(&self, key: &str) -> Option<&'a str> {
        self.0.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Returns the queue of Kueue in which the Job waits for its admission.
    pub(super) fn queue(&self) -> Option<&'a str> {
        let labels = self.0.metadata.labels.as_ref()?;
        labels.get("kueue.x-k8s.io/queue-name").map(String::as_str).filter(|queue| !queue.is_empty())
    }

    /// Returns the controller that manages the Job instead of the controller of Kubernetes.
    pub(super) fn foreign_manager(&self) -> Option<&'a str> {
        let manager = self.spec()?.managed_by.as_deref()?;
        (!manager.is_empty() && manager != "kubernetes.io/job-controller").then_some(manager)
    }

    /// Returns the failed indexes of an indexed Job, such as `1-3,7`.
    pub(super) fn failed_indexes(&self) -> Option<&'a str> {
        self.status()?.failed_indexes.as_deref().filter(|indexes| !indexes.is_empty())
    }

    /// Returns the names of the containers in the Job's template.
    pub(super) fn container_names(self) -> impl Iterator<Item = &'a str> {
        let containers = self.spec().and_then(|spec| spec.template.spec.as_ref()).map(|pod| &pod.containers);
        containers.into_iter().flatten().map(|container| container.name.as_str())
    }

    /// Returns the time at which a suspended Job was resumed.
    pub(super) fn resumed_at(&self) -> Option<Timestamp> {
        let conditions = self.status()?.conditions.as_deref()?;
        let resumed =
            conditions.iter().find(|found| found.type_ == "Suspended" && found.status == "False")?;
        instant(resumed.last_transition_time.as_ref())
    }

    /// Returns the number of pods that count as failed, and so use up a retry.
    pub(super) fn failed_pods(&self) -> u32 {
        let Some(status) = self.status() else { return 0 };
        let counted = status.failed.and_then(|failed| u32::try_from(failed).ok()).unwrap_or(0);
        let uncounted = status.uncounted_terminated_pods.as_ref().and_then(|pods| pods.failed.as_ref());
        counted.saturating_add(u32::try_from(uncounted.map_or(0, Vec::len)).unwrap_or(u32::MAX))
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.spec().and_then(|spec| spec.suspend) == Some(true)
    }

    pub(super) fn timeout(&self) -> Option<Seconds> {
        u64::try_from(self.spec()?.active_deadline_seconds?).ok().map(Seconds::new)
    }

    /// Returns the number of allowed attempts. Returns `None` if the Job needs several pods, or restarts
    /// containers in place.
    pub(super) fn allowed_attempts(&self) -> Option<u32> {
        let spec = self.spec()?;
        let never = spec.template.spec.as_ref()?.restart_policy.as_deref() == Some("Never");
        let single = spec.parallelism.unwrap_or(1) == 1 && spec.completions.unwrap_or(1) == 1;
        // The default of `backoffLimit` in Kubernetes is 6.
        let retries = u32::try_from(spec.backoff_limit.unwrap_or(6)).ok()?;
        if never && single { retries.checked_add(1) } else { None }
    }

    /// Returns whether the Job runs several pods, so that a further pod is not a further attempt.
    pub(super) fn has_multiple_pods(&self) -> bool {
        let many = |count: Option<i32>| count.is_some_and(|count| count > 1);
        self.spec().is_some_and(|spec| many(spec.parallelism) || many(spec.completions))
    }

    /// Returns the number of pods that the Job's status counts.
    pub(super) fn counted_attempts(&self) -> u32 {
        let Some(status) = self.status() else { return 0 };
        let uncounted = status.uncounted_terminated_pods.as_ref();
        let len = |uids: Option<&Vec<String>>| u32::try_from(uids.map_or(0, Vec::len)).unwrap_or(u32::MAX);
        let count = |count: Option<i32>| count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        [
            count(status.active),
            count(status.failed),
            count(status.succeeded),
            len(uncounted.and_then(|pods| pods.failed.as_ref())),
            len(uncounted.and_then(|pods| pods.succeeded.as_ref())),
        ]
        .into_iter()
        .fold(0, u32::saturating_add)
    }

    /// Returns whether the Job counts active pods, and whether it counts ready pods.
    pub(super) fn active_and_ready(&self) -> (bool, bool) {
        let at_least_one = |count: Option<i32>| count.is_some_and(|count| count > 0);
        self.status()
            .map_or((false, false), |status| (at_least_one(status.active), at_least_one(status.ready)))
    }

    /// Returns the devices of each pod of the Job, such as `4 nvidia.com/gpu`.
    pub(super) fn devices(&self) -> Option<String> {
        let pod = self.spec()?.template.spec.as_ref()?;
        let limits =
            pod.containers.iter().filter_map(|container| container.resources.as_ref()?.limits.as_ref());
        let devices: Vec<_> = limits
            .flatten()
            .filter(|(name, amount)| name.contains('/') && !amount.0.trim().is_empty() && amount.0 != "0")
            .map(|(name, amount)| format!("{} {name}", amount.0))
            .collect();
        if devices.is_empty() {
            None
        } else {
            Some(crate::status::cause::quoted(&devices.join(", ")).replace('`', ""))
        }
    }
}
