//! The attempts of a job: their number, their order, and the attempt that explains a failure.

use super::Classifier;
use super::context::Context;
use super::pod::{HasRun, ObservedPod};
use crate::status::Phase;
use crate::status::cause::Cause;
use crate::units::Timestamp;
use std::collections::BTreeSet;

/// Returns the number of pods that were created for the job: those that exist, those that the Job counts, and
/// those that only events name. A pod that was disrupted is missing in the counts of the Job.
pub(super) fn count_attempts(context: &Context<'_>, pods: &[ObservedPod<'_>]) -> u32 {
    let mut names = context.events.pod_names();
    names.extend(pods.iter().filter_map(ObservedPod::name));
    let unnamed = pods.iter().filter(|pod| pod.name().is_none()).count();
    let known = u32::try_from(names.len().saturating_add(unnamed)).unwrap_or(u32::MAX);
    let known = known.saturating_add(context.events.unnamed_pods());
    known.max(context.job.map_or(0, |job| job.counted_attempts()))
}

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
        if self.events().show_start() {
            return HasRun::Yes;
        }
        let mut result = HasRun::No;
        for pod in &self.pods {
            match pod.has_ever_run() {
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
        self.cause_before(self.pods.len()).or_else(|| Some((self.unobserved_cause()?, self.attempts())))
    }

    /// Returns the cause of the newest attempt before `index` that explains its end.
    pub(super) fn cause_before(&self, index: usize) -> Option<(Cause, u32)> {
        let mut low_confidence = None;
        for (index, pod) in
            self.pods.iter().enumerate().take(index).rev().filter(|(_, pod)| !pod.has_succeeded())
        {
            match pod.cause() {
                Some(cause) if !cause.low_confidence => return Some((cause, self.attempt_number(index))),
                found => {
                    low_confidence =
                        low_confidence.or(found.map(|cause| (cause, self.attempt_number(index))));
                }
            }
        }
        low_confidence
    }

    /// Returns the cause of the newest pod that was never observed, from its events.
    pub(super) fn unobserved_cause(&self) -> Option<Cause> {
        let observed: BTreeSet<_> = self.pods.iter().filter_map(ObservedPod::name).collect();
        let main = self.context.main_container();
        self.events().unobserved_pod_cause(main, |name| observed.contains(name))
    }

    /// Returns the number of the newest pods in a row, before `index`, that their node rejected.
    pub(super) fn rejections_before(&self, index: usize) -> usize {
        let earlier = self.pods.iter().take(index).rev();
        earlier.take_while(|pod| pod.rejection().is_some()).count()
    }

    /// Returns the number of the attempt with the pod at `index`. Attempts without an observed pod get the
    /// lowest numbers.
    pub(super) fn attempt_number(&self, index: usize) -> u32 {
        let newer =
            u32::try_from(self.pods.len().saturating_sub(index).saturating_sub(1)).unwrap_or(u32::MAX);
        self.attempts().saturating_sub(newer)
    }

    /// Returns the number of pods that were created for the job.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn has_multiple_pods(&self) -> bool {
        self.job().is_some_and(|job| job.has_multiple_pods())
    }

    /// Returns a suffix such as ", attempt 2 of 3". The suffix is empty if the job can have only one
    /// attempt, or runs several pods. Kubernetes does not count attempts that a disruption ended against the
    /// retries. If there were such attempts, the suffix tells the used retries instead.
    pub(super) fn attempt_suffix(&self, attempt: u32) -> String {
        if self.has_multiple_pods() || attempt == 0 {
            return String::new();
        }
        let Some(allowed) = self.job().and_then(|job| job.allowed_attempts()) else {
            return if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
        };
        let retries = allowed.saturating_sub(1);
        let failed = self.job().map_or(0, |job| job.failed_pods());
        // The newest attempt may have failed, and is not counted yet. A Job without any counts tells nothing.
        let has_counts = self.job().is_some_and(|job| job.counted_attempts() > 0);
        if has_counts && self.attempts() > failed.saturating_add(1) && attempt > 1 {
            let used = format!("; retries used: {} of {retries}", failed.min(retries));
            return format!(", attempt {attempt}{}", if retries > 0 { used.as_str() } else { "" });
        }
        match allowed {
            1 if attempt <= 1 => String::new(),
            _ if attempt <= allowed => format!(", attempt {attempt} of {allowed}"),
            _ => format!(", attempt {attempt}"),
        }
    }

    pub(super) fn newest_creation(&self) -> Option<Timestamp> {
        self.pods.iter().filter_map(ObservedPod::created).max()
    }

    /// Returns the time at which the job first had a pod, or at which it started. The time in the Job changes
    /// if the Job is suspended and resumed.
    pub(super) fn first_start(&self) -> Option<Timestamp> {
        let pods = self.pods.iter().filter_map(ObservedPod::created);
        let earlier = pods.chain(self.events().first_creation()).min();
        let started = self.job().and_then(|job| job.started_at());
        if self.was_resumed() || started.is_none() {
            started.into_iter().chain(earlier).min()
        } else {
            started
        }
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
