//! The status of a job on one machine, derived from what the kernel reported about its processes.

use crate::price::AttemptSpan;
use crate::status::cause::{Cause, evidence};
use crate::status::termination::{
    ProgramSource, child_out_of_memory, exited, not_started, out_of_memory, signaled,
};
use crate::status::{Evidence, Phase, Reason, Status};
use crate::units::{MemoryBytes, Seconds, Timestamp};
use serde::{Deserialize, Serialize};

/// The record of one job on one machine.
#[derive(Debug, Clone, Copy)]
pub struct LocalJobState<'a> {
    /// The timeout of the job, for all attempts together.
    pub timeout: Seconds,
    /// The memory limit of the job.
    pub memory: MemoryBytes,
    /// The maximum number of retries after failed attempts.
    pub retries: u32,
    /// The time at which the job started. The timeout of the job counts from this time.
    pub started_at: Option<Timestamp>,
    /// The attempts, oldest first.
    pub attempts: &'a [LocalAttempt],
    /// The reason for which the backend stopped the job, if it did.
    pub stop: Option<StopReason>,
    /// The time at which the last process of the job ended. `None` while the job is active.
    pub finished_at: Option<Timestamp>,
}

/// One attempt of a local job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAttempt {
    /// The time at which the attempt began. The bill of the attempt counts from this time.
    pub scheduled: Timestamp,
    /// The time at which the process of the attempt started. `None` if it has not started.
    pub started: Option<Timestamp>,
    /// The time at which the last process of the attempt ended. `None` if it has not ended or the time is
    /// unknown.
    pub ended: Option<Timestamp>,
    /// The outcome of the attempt. `None` if it has not ended.
    #[serde(rename = "end")]
    pub termination: Option<LocalTermination>,
    /// The number of processes of the attempt that the kernel killed because of the memory limit.
    pub oom_kills: u64,
}

/// The outcome of one attempt of a local job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalTermination {
    /// The process exited.
    Exited {
        /// The exit code.
        code: i32,
    },
    /// A signal ended the process.
    Signaled {
        /// The number of the signal.
        signal: i32,
    },
    /// The process could not be started.
    NotStarted {
        /// The error that prevented the start.
        message: String,
        /// The exit code that a shell would use: 127 if the program does not exist, 126 if it cannot be
        /// executed.
        code: i32,
    },
    /// The backend killed the attempt because it exceeded its storage limit.
    StorageExceeded {
        /// The storage limit of the attempt.
        limit: MemoryBytes,
    },
    /// The supervisor of the attempt was killed, or the machine went down.
    Lost,
}

/// The reason for which the backend stopped a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The job was cancelled.
    Cancelled,
    /// The job exceeded its timeout.
    Deadline,
}

/// Returns the status of a job on one machine.
///
/// ```
/// use runway_core::status::{LocalAttempt, LocalJobState, LocalTermination, Phase, Reason, classify_local};
/// use runway_core::units::{MemoryBytes, Seconds, Timestamp};
///
/// let at = Timestamp::from_seconds;
/// let attempt = LocalAttempt {
///     scheduled: at(100),
///     started: Some(at(100)),
///     ended: Some(at(107)),
///     termination: Some(LocalTermination::Signaled { signal: 9 }),
///     oom_kills: 1,
/// };
/// let status = classify_local(&LocalJobState {
///     timeout: Seconds::new(60),
///     memory: MemoryBytes::new(64 << 20),
///     retries: 0,
///     started_at: Some(at(100)),
///     attempts: &[attempt],
///     stop: None,
///     finished_at: Some(at(107)),
/// });
/// assert_eq!((status.phase, status.reason), (Phase::Failed, Some(Reason::OOMKilled)));
/// assert_eq!(status.message, "killed by the kernel for exceeding its memory limit of 64Mi");
/// assert_eq!(status.exit_code, Some(137));
/// ```
#[must_use]
pub fn classify_local(state: &LocalJobState<'_>) -> Status {
    let last = state.attempts.last();
    let cause = last.and_then(|attempt| state.cause(attempt));
    let succeeded = last.is_some_and(LocalAttempt::has_succeeded);
    let (phase, reason, message, hint) = match (state.stop, state.finished_at) {
        (Some(StopReason::Cancelled), finished) => {
            let ending = if finished.is_some() { "" } else { "; its processes are being terminated" };
            (Phase::Cancelled, None, format!("cancelled{ending}"), None)
        }
        (Some(StopReason::Deadline), finished) => state.deadline_exceeded(finished.is_some()),
        (None, None) => state.unfinished(),
        (None, Some(_)) => match (&cause, succeeded) {
            (Some(cause), true) => {
                let message = format!("succeeded{}, {}", state.attempt_suffix(), cause.description);
                (Phase::Succeeded, cause.reason, message, cause.hint.clone())
            }
            (None, true) => (Phase::Succeeded, None, format!("succeeded{}", state.attempt_suffix()), None),
            (Some(cause), false) => {
                let message = format!("{}{}", cause.description, state.attempt_suffix());
                (Phase::Failed, cause.reason, message, cause.hint.clone())
            }
            (None, false) => {
                let cause = lost();
                (Phase::Failed, cause.reason, cause.description, cause.hint)
            }
        },
    };
    let last_termination = state.attempts.iter().rev().find_map(|attempt| attempt.termination.as_ref());
    Status {
        phase,
        reason,
        message,
        hint,
        exit_code: last_termination.and_then(|end| end.exit_code()).filter(|_| phase != Phase::Cancelled),
        attempts: u32::try_from(state.attempts.len()).unwrap_or(u32::MAX),
        evidence: state.evidence(),
        started_at: state.started_at,
        finished_at: state.finished_at,
        attempt_spans: state
            .attempts
            .iter()
            .map(|a| AttemptSpan { scheduled: a.scheduled, ended: a.ended })
            .collect(),
        occupies_resources: state.finished_at.is_none(),
        ..Status::created()
    }
}

type PhaseDetails = (Phase, Option<Reason>, String, Option<String>);

impl LocalJobState<'_> {
    /// Returns the phase, reason, message and hint of a job that is neither finished nor being stopped.
    fn unfinished(&self) -> PhaseDetails {
        let Some(last) = self.attempts.last() else {
            return (Phase::Pending, None, "is starting".to_owned(), None);
        };
        let activity = match (&last.termination, last.started) {
            (Some(_), _) => "ended",
            (None, Some(_)) => "runs",
            (None, None) if self.attempts.len() == 1 => {
                return (Phase::Pending, None, "is starting".to_owned(), None);
            }
            (None, None) => "is restarting",
        };
        let mut message = format!("{activity}{}", self.attempt_suffix());
        let previous_failure = self.attempts.iter().rev().skip(1).find_map(|attempt| self.cause(attempt));
        if let Some(cause) = previous_failure {
            message = format!("{message}; attempt {}: {}", self.attempts.len() - 1, cause.description);
        }
        (Phase::Running, None, message, None)
    }

    fn deadline_exceeded(&self, is_finished: bool) -> PhaseDetails {
        let previous_failure = self.attempts.iter().rev().skip(1).find_map(|attempt| self.cause(attempt));
        let earlier_cause =
            previous_failure.map(|cause| format!("; before that: {}", cause.description)).unwrap_or_default();
        let suffix = if self.attempts.len() > 1 { self.attempt_suffix() } else { String::new() };
        let ending = if is_finished { "" } else { "; its processes are being terminated" };
        let message =
            format!("took longer than its timeout of {}{suffix}{earlier_cause}{ending}", self.timeout);
        let hint =
            "raise `timeout` within the policy's bounds, or give the job less work; the timeout includes retries".to_owned();
        let phase = if is_finished { Phase::Failed } else { Phase::Running };
        (phase, Some(Reason::DeadlineExceeded), message, Some(hint))
    }

    /// Returns the cause of a failed attempt, or of an OOM kill in a successful one.
    fn cause(&self, attempt: &LocalAttempt) -> Option<Cause> {
        let limit = self.memory.to_string();
        match attempt.termination.as_ref()? {
            LocalTermination::NotStarted { message, .. } => {
                Some(not_started(Some(message), PROGRAM_ON_MACHINE))
            }
            LocalTermination::StorageExceeded { limit } => Some(storage_exceeded(*limit)),
            LocalTermination::Lost => Some(lost()),
            LocalTermination::Exited { code: 0 } => {
                (attempt.oom_kills > 0).then(|| child_out_of_memory(Some(&limit)))
            }
            _ if attempt.oom_kills > 0 => Some(out_of_memory(Some(&limit))),
            LocalTermination::Signaled { signal } => {
                Some(signaled(*signal, signal.saturating_add(128), None))
            }
            // A shell reports the end by signal n as exit code 128 + n. The classification of Kubernetes
            // jobs applies the same rule.
            LocalTermination::Exited { code: code @ 129..=192 } => {
                Some(signaled(code.saturating_sub(128), *code, None))
            }
            LocalTermination::Exited { code } => Some(exited(*code, ProgramSource::Machine)),
        }
    }

    /// Returns the suffix with the number of the newest attempt, if the job can have more than one.
    fn attempt_suffix(&self) -> String {
        let allowed = self.retries.saturating_add(1);
        match (allowed, self.attempts.len()) {
            (1, _) | (_, 0) => String::new(),
            (allowed, attempt) => format!(", attempt {attempt} of {allowed}"),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut entries = Vec::new();
        for (index, attempt) in self.attempts.iter().enumerate().rev() {
            let path = format!("attempt {}", index + 1);
            let mut add =
                |name: &str, value: &str| entries.push(evidence("kernel", Some(name), path.as_str(), value));
            if attempt.oom_kills > 0 {
                add("oom_kill", &attempt.oom_kills.to_string());
            }
            match &attempt.termination {
                Some(LocalTermination::Exited { code }) => add("process", &format!("exit code {code}")),
                Some(LocalTermination::Signaled { signal }) => add("process", &format!("signal {signal}")),
                Some(LocalTermination::NotStarted { message, .. }) => add("process", message),
                Some(LocalTermination::StorageExceeded { limit }) => {
                    add("storage", &format!("more than {limit}"));
                }
                Some(LocalTermination::Lost) | None => {}
            }
        }
        entries
    }
}

impl LocalAttempt {
    fn has_succeeded(&self) -> bool {
        self.termination == Some(LocalTermination::Exited { code: 0 })
    }
}

impl LocalTermination {
    /// Returns the exit code, or 128 + n if signal n ended the process.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { code } | Self::NotStarted { code, .. } => Some(*code),
            Self::Signaled { signal } => Some(signal.saturating_add(128)),
            Self::StorageExceeded { .. } => Some(137),
            Self::Lost => None,
        }
    }

    /// Returns whether the process exited with code zero.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }
}

/// The hint for a program that one machine could not start.
const PROGRAM_ON_MACHINE: &str = "check `command`: the program must be on this machine, outside the directories that are \
     hidden from jobs (`/home`, `/root`, `/run`, `/tmp`), and executable by the user that jobs run as";

fn storage_exceeded(limit: MemoryBytes) -> Cause {
    let description = format!("evicted for exceeding its ephemeral storage limit of {limit}");
    Cause::new(Reason::Evicted, description)
        .with_hint("raise `resources.ephemeral_storage`, or write less; `/tmp` and the logs count")
}

fn lost() -> Cause {
    Cause::new(Reason::Disrupted, "lost: its supervisor was killed, or the machine went down")
        .with_hint("the job did not cause this failure; submit it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn attempt(end: Option<LocalTermination>, oom_kills: u64) -> LocalAttempt {
        let ended = end.as_ref().map(|_| NOW);
        LocalAttempt { scheduled: NOW, started: Some(NOW), ended, termination: end, oom_kills }
    }

    fn classify(retries: u32, attempts: &[LocalAttempt], stop: Option<StopReason>, finished: bool) -> Status {
        classify_local(&LocalJobState {
            timeout: Seconds::new(60),
            memory: MemoryBytes::new(64 << 20),
            retries,
            started_at: Some(NOW),
            attempts,
            stop,
            finished_at: finished.then_some(NOW),
        })
    }

    #[test]
    fn each_termination_maps_to_its_reason() {
        use LocalTermination::*;
        let not_started = NotStarted { message: "no such file".into(), code: 127 };
        let storage = StorageExceeded { limit: MemoryBytes::new(1 << 20) };
        for (end, oom_kills, phase, reason, code) in [
            (Exited { code: 0 }, 0, Phase::Succeeded, None, Some(0)),
            (Exited { code: 0 }, 2, Phase::Succeeded, Some(Reason::ChildOOMKilled), Some(0)),
            (Exited { code: 3 }, 0, Phase::Failed, Some(Reason::NonZeroExit), Some(3)),
            (Exited { code: 1 }, 1, Phase::Failed, Some(Reason::OOMKilled), Some(1)),
            (Exited { code: 143 }, 0, Phase::Failed, Some(Reason::Signaled), Some(143)),
            (Signaled { signal: 11 }, 0, Phase::Failed, Some(Reason::Signaled), Some(139)),
            (Signaled { signal: 9 }, 1, Phase::Failed, Some(Reason::OOMKilled), Some(137)),
            (not_started, 0, Phase::Failed, Some(Reason::StartError), Some(127)),
            (storage, 0, Phase::Failed, Some(Reason::Evicted), Some(137)),
            (Lost, 0, Phase::Failed, Some(Reason::Disrupted), None),
        ] {
            let status = classify(0, &[attempt(Some(end.clone()), oom_kills)], None, true);
            assert_eq!((status.phase, status.reason, status.exit_code), (phase, reason, code), "{end:?}");
            assert!(!status.occupies_resources && status.finished_at.is_some());
            assert!(status.hint.is_some() || phase == Phase::Succeeded, "{end:?}");
        }
    }

    #[test]
    fn job_is_pending_until_its_process_starts() {
        assert_eq!(classify(0, &[], None, false).phase, Phase::Pending);
        let waiting = LocalAttempt { started: None, ..attempt(None, 0) };
        assert_eq!(classify(0, std::slice::from_ref(&waiting), None, false).phase, Phase::Pending);
        let running = classify(0, &[attempt(None, 0)], None, false);
        assert_eq!(
            (running.phase, running.message.as_str(), running.occupies_resources),
            (Phase::Running, "runs", true)
        );
        let restarting =
            classify(2, &[attempt(Some(LocalTermination::Exited { code: 3 }), 0), waiting], None, false);
        assert_eq!(restarting.phase, Phase::Running);
        assert_eq!(restarting.message, "is restarting, attempt 2 of 3; attempt 1: ended with exit code 3");
    }

    #[test]
    fn stop_reason_overrides_the_exit_code() {
        let clean = [attempt(Some(LocalTermination::Exited { code: 0 }), 0)];
        let cancelled = classify(0, &clean, Some(StopReason::Cancelled), true);
        assert_eq!((cancelled.phase, cancelled.exit_code), (Phase::Cancelled, None));
        let late = classify(0, &clean, Some(StopReason::Deadline), true);
        assert_eq!((late.phase, late.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)));
        let ending = classify(0, &[attempt(None, 0)], Some(StopReason::Deadline), false);
        assert_eq!((ending.phase, ending.occupies_resources), (Phase::Running, true));
    }

    #[test]
    fn last_attempt_decides_the_phase() {
        let failed = || attempt(Some(LocalTermination::Exited { code: 1 }), 0);
        let status =
            classify(1, &[failed(), attempt(Some(LocalTermination::Exited { code: 0 }), 0)], None, true);
        assert_eq!((status.phase, status.message.as_str()), (Phase::Succeeded, "succeeded, attempt 2 of 2"));
        let status = classify(1, &[failed(), failed()], None, true);
        assert_eq!((status.phase, status.attempts, status.attempt_spans.len()), (Phase::Failed, 2, 2));
    }
}
