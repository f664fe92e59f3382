//! The attempts of a job: their number, their order, and the attempt that explains a failure.

use super::Classifier;
use super::pod::{HasRun, ObservedPod};
use crate::status::Phase;
use crate::status::cause::Cause;
use crate::units::Timestamp;
use std::collections::BTreeSet;

impl Classifier<'_> {
    /// Returns the exit code of the newest attempt that has one. A failed job uses the newest attempt that
    /// did not succeed.
    pub(super) fn exit_code(&self, phase: Phase) -> Option<i32> {
        let newest = |pods: &dyn Fn(&ObservedPod<'_>) -> bool| {
            self.pods.iter().rev().filter(|pod| pods(pod)).find_map(ObservedPod::exit_code)
        };
        let failed = if phase == Phase::Failed { newest(&|pod| !pod.has_succeeded()) } else { None };
        failed.or_else(|| newest(&|_| true))
    }

    /// Returns whether any attempt ever ran.
    pub(super) fn has_ever_run(&self) -> HasRun {
        if self.events.show_start() {
            return HasRun::Yes;
        }
        let mut result = HasRun::No;
        for pod in &self.pods {
            match pod.has_ever_run(&self.events) {
                HasRun::Yes => return HasRun::Yes,
                HasRun::Unknown => result = HasRun::Unknown,
                HasRun::No => {}
            }
        }
        result
    }

    /// Returns the cause and the number of the newest attempt that explains its failure. An attempt that
    /// probably ended because its pod was deleted is used only if no other attempt has a cause.
    pub(super) fn strongest_cause(&self) -> Option<(Cause, u32)> {
        self.cause_before(self.pods.len()).or_else(|| {
            let observed: BTreeSet<_> = self.pods.iter().filter_map(ObservedPod::name).collect();
            Some((self.events.unobserved_pod_cause(|name| observed.contains(name))?, self.attempts()))
        })
    }

    pub(super) fn cause_before(&self, index: usize) -> Option<(Cause, u32)> {
        let mut low_confidence = None;
        for (index, pod) in
            self.pods.iter().enumerate().take(index).rev().filter(|(_, pod)| !pod.has_succeeded())
        {
            match pod.cause(&self.events) {
                Some(cause) if !cause.low_confidence => return Some((cause, self.attempt_number(index))),
                found => {
                    low_confidence =
                        low_confidence.or(found.map(|cause| (cause, self.attempt_number(index))));
                }
            }
        }
        low_confidence
    }

    /// Returns the number of the attempt with the pod at `index`. Attempts without an observed pod get the
    /// lowest numbers.
    pub(super) fn attempt_number(&self, index: usize) -> u32 {
        let newer =
            u32::try_from(self.pods.len().saturating_sub(index).saturating_sub(1)).unwrap_or(u32::MAX);
        self.attempts().saturating_sub(newer)
    }

    pub(super) fn attempts(&self) -> u32 {
        let observed = u32::try_from(self.pods.len()).unwrap_or(u32::MAX);
        observed.max(self.job.map_or(0, |job| job.counted_attempts()))
    }

    pub(super) fn has_multiple_pods(&self) -> bool {
        self.job.is_some_and(|job| job.has_multiple_pods())
    }

    /// Returns a suffix such as ", attempt 2 of 3". The suffix is empty if the job can have only one
    /// attempt, or runs several pods. Kubernetes does not count attempts that a node ended against the
    /// retries. So the number of an attempt can exceed the allowed number.
    pub(super) fn attempt_suffix(&self, attempt: u32) -> String {
        if self.has_multiple_pods() {
            return String::new();
        }
        match self.job.and_then(|job| job.allowed_attempts()) {
            Some(1) | None if attempt <= 1 => String::new(),
            Some(allowed) if attempt > 0 && attempt <= allowed => format!(", attempt {attempt} of {allowed}"),
            _ if attempt > 0 => format!(", attempt {attempt}"),
            _ => String::new(),
        }
    }

    pub(super) fn newest_creation(&self) -> Option<Timestamp> {
        self.pods.iter().filter_map(ObservedPod::created).max()
    }

    pub(super) fn last_end(&self) -> Option<Timestamp> {
        self.pods.iter().filter_map(ObservedPod::ended_at).max()
    }

    /// Returns the latest time at which a pod with an unknown end can have terminated.
    pub(super) fn latest_possible_end(&self) -> Option<Timestamp> {
        self.pods
            .iter()
            .filter(|pod| pod.ended_at().is_none())
            .filter_map(ObservedPod::deletion_deadline)
            .max()
    }
}
