//! The attempts of a job: their number and order, and the one that explains a failure.

use super::Case;
use super::pod::{HasRun, SeenPod};
use crate::status::Phase;
use crate::status::cause::Cause;
use crate::units::Timestamp;
use std::collections::BTreeSet;

impl Case<'_> {
    /// The exit code of the newest attempt that has one; of a job that failed, of the newest that did not succeed.
    pub(super) fn exit_code(&self, phase: Phase) -> Option<i32> {
        let newest = |pods: &dyn Fn(&SeenPod<'_>) -> bool| {
            self.pods.iter().rev().filter(|pod| pods(pod)).find_map(SeenPod::exit_code)
        };
        let failed = if phase == Phase::Failed { newest(&|pod| !pod.has_succeeded()) } else { None };
        failed.or_else(|| newest(&|_| true))
    }

    /// Whether any of its attempts ever ran.
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

    /// The newest attempt that says why it failed, and which one it is. One whose end says no more than that its pod was
    /// deleted comes after all others.
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

    /// Which attempt the pod at this place is: those that nobody has seen came before.
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

    /// ", attempt 2 of 3", where there is more than one. Attempts that a node ended are not counted against the retries,
    /// so there may be more than were allowed.
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

    /// The latest that a pod can have ended whose end was lost.
    pub(super) fn lost_end(&self) -> Option<Timestamp> {
        self.pods.iter().filter(|pod| pod.ended_at().is_none()).filter_map(SeenPod::gone_by).max()
    }
}
