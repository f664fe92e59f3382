//! The attempts of a job: their number, their order, and the attempt that explains a failure.

use super::Case;
use super::pod::{HasRun, SeenPod};
use crate::status::Phase;
use crate::status::cause::Cause;
use crate::units::Timestamp;
use std::collections::BTreeSet;

impl Case<'_> {
    /// Returns the exit code of the newest attempt that has one. A failed job uses the newest attempt that
    /// did not succeed.
    pub(super) fn exit_code(&self, phase: Phase) -> Option<i32> {
        let newest = |pods: &dyn Fn(&SeenPod<'_>) -> bool| {
            self.pods.iter().rev().filter(|pod| pods(pod)).find_map(SeenPod::exit_code)
        };
        let failed = if phase == Phase::Failed { newest(&|pod| !pod.has_succeeded()) } else { None };
        failed.or_else(|| newest(&|_| true))
    }

    /// Returns whether any attempt ever ran.
    pub(super) fn ran(&self) -> HasRun {
        if self.events.tell_of_a_start() {
            return HasRun::Yes;
        }
        let mut ran = HasRun::No;
        for pod in &self.pods {
            match pod.ran(&self.events) {
                HasRun::Yes => return HasRun::Yes,
                HasRun::Unknown => ran = HasRun::Unknown,
                HasRun::No => {}
            }
        }
        ran
    }

    /// Returns the cause and the number of the newest attempt that explains its failure. An attempt whose end
    /// is explained by the deletion of its pod is used only if no other attempt has a cause.
    pub(super) fn strongest_cause(&self) -> Option<(Cause, u32)> {
        self.cause_before(self.pods.len()).or_else(|| {
            let seen: BTreeSet<_> = self.pods.iter().filter_map(SeenPod::name).collect();
            Some((self.events.causes_of_unseen(|name| seen.contains(name))?, self.attempts()))
        })
    }

    pub(super) fn cause_before(&self, index: usize) -> Option<(Cause, u32)> {
        let mut weak = None;
        for (index, pod) in
            self.pods.iter().enumerate().take(index).rev().filter(|(_, pod)| !pod.has_succeeded())
        {
            match pod.cause(&self.events) {
                Some(cause) if !cause.weak => return Some((cause, self.ordinal(index))),
                found => weak = weak.or(found.map(|cause| (cause, self.ordinal(index)))),
            }
        }
        weak
    }

    /// Returns the number of the attempt with the pod at `index`. Attempts without an observed pod are
    /// counted before it.
    pub(super) fn ordinal(&self, index: usize) -> u32 {
        let newer =
            u32::try_from(self.pods.len().saturating_sub(index).saturating_sub(1)).unwrap_or(u32::MAX);
        self.attempts().saturating_sub(newer)
    }

    pub(super) fn attempts(&self) -> u32 {
        let seen = u32::try_from(self.pods.len()).unwrap_or(u32::MAX);
        seen.max(self.job.map_or(0, |job| job.counted_attempts()))
    }

    pub(super) fn is_of_many(&self) -> bool {
        self.job.is_some_and(|job| job.is_of_many())
    }

    /// Returns a suffix such as ", attempt 2 of 3", if there is more than one attempt. Kubernetes does not
    /// count attempts that a node ended against the retries, so the number can exceed the allowed one.
    pub(super) fn nth(&self, attempt: u32) -> String {
        if self.is_of_many() {
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
        self.pods.iter().filter_map(SeenPod::created).max()
    }

    pub(super) fn last_end(&self) -> Option<Timestamp> {
        self.pods.iter().filter_map(SeenPod::ended_at).max()
    }

    /// Returns the latest time at which a pod with an unknown end can have terminated.
    pub(super) fn lost_end(&self) -> Option<Timestamp> {
        self.pods.iter().filter(|pod| pod.ended_at().is_none()).filter_map(SeenPod::gone_by).max()
    }
}
