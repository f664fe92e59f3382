//! What became of a job on one machine: read off what the kernel told of its processes.

use crate::price::Attempt;
use crate::status::cause::{Cause, evidence};
use crate::status::ending::{Place, child_out_of_memory, exited, not_started, out_of_memory, signaled};
use crate::status::{Evidence, Phase, Reason, Status};
use crate::units::{MemoryBytes, Seconds, Timestamp};
use serde::{Deserialize, Serialize};

/// What was seen of one job.
#[derive(Debug, Clone, Copy)]
pub struct LocalSeen<'a> {
    /// How long it may take, retries included.
    pub timeout: Seconds,
    /// How much memory it may have.
    pub memory: MemoryBytes,
    /// How often a failed attempt is repeated.
    pub retries: u32,
    /// When it began: its deadline runs from here.
    pub started_at: Option<Timestamp>,
    /// Its attempts, the oldest first.
    pub attempts: &'a [LocalAttempt],
    /// Why it was made to end, where it was.
    pub stop: Option<LocalStop>,
    /// When nothing of it was left; `None` while it lives.
    pub finished_at: Option<Timestamp>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalAttempt {
    /// When it was begun.
    pub scheduled: Timestamp,
    /// When its process was there.
    pub started: Option<Timestamp>,
    /// When nothing of it was left.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub end: Option<LocalEnd>,
    /// How many of its processes the kernel killed for its memory.
    pub oom_kills: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalEnd {
    /// Its process ended by itself.
    Exited {
        /// With this code.
        code: i32,
    },
    /// A signal ended its process.
    Signaled {
        /// This one.
        signal: i32,
    },
    /// There never was a process.
    NotStarted {
        /// Why.
        message: String,
        /// What a shell would exit with: 127 where the program is not there, 126 where it cannot be executed.
        code: i32,
    },
    /// It was killed for the storage it took.
    StorageExceeded {
        /// What it may take.
        limit: MemoryBytes,
    },
    /// Who watched over it was killed, or the machine went down.
    Lost,
}

/// Why a job was made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocalStop {
    /// Somebody asked for it.
    Cancelled,
    /// Its time was over.
    Deadline,
}

/// Tells what became of a job.
///
/// ```
/// use runway_core::status::{LocalAttempt, LocalEnd, LocalSeen, Phase, Reason, classify_local};
/// use runway_core::units::{MemoryBytes, Seconds, Timestamp};
///
/// let at = Timestamp::from_seconds;
/// let attempt = LocalAttempt {
///     scheduled: at(100),
///     started: Some(at(100)),
///     ended: Some(at(107)),
///     end: Some(LocalEnd::Signaled { signal: 9 }),
///     oom_kills: 1,
/// };
/// let status = classify_local(&LocalSeen {
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
pub fn classify_local(seen: &LocalSeen<'_>) -> Status {
    let last = seen.attempts.last();
    let cause = last.and_then(|attempt| seen.cause(attempt));
    let went_well = last.is_some_and(LocalAttempt::has_succeeded);
    let (phase, reason, message, hint) = match (seen.stop, seen.finished_at) {
        (Some(LocalStop::Cancelled), finished) => {
            let ending = if finished.is_some() { "" } else { "; what runs of it is being ended" };
            (Phase::Cancelled, None, format!("cancelled{ending}"), None)
        }
        (Some(LocalStop::Deadline), finished) => seen.too_late(finished.is_some()),
        (None, None) => seen.open(),
        (None, Some(_)) => match (&cause, went_well) {
            (Some(cause), true) => {
                let message = format!("succeeded{}, {}", seen.nth(), cause.what);
                (Phase::Succeeded, Some(cause.reason), message, cause.hint.clone())
            }
            (None, true) => (Phase::Succeeded, None, format!("succeeded{}", seen.nth()), None),
            (Some(cause), false) => {
                let message = format!("{}{}", cause.what, seen.nth());
                (Phase::Failed, Some(cause.reason), message, cause.hint.clone())
            }
            (None, false) => {
                let cause = lost();
                (Phase::Failed, Some(cause.reason), cause.what, cause.hint)
            }
        },
    };
    let newest_end = seen.attempts.iter().rev().find_map(|attempt| attempt.end.as_ref());
    Status {
        phase,
        reason,
        message,
        hint,
        exit_code: newest_end.and_then(|end| end.exit_code()).filter(|_| phase != Phase::Cancelled),
        attempts: u32::try_from(seen.attempts.len()).unwrap_or(u32::MAX),
        evidence: seen.evidence(),
        started_at: seen.started_at,
        finished_at: seen.finished_at,
        runs: seen.attempts.iter().map(|a| Attempt { scheduled: a.scheduled, ended: a.ended }).collect(),
        holds: seen.finished_at.is_none(),
    }
}

type Told = (Phase, Option<Reason>, String, Option<String>);

impl LocalSeen<'_> {
    /// Neither over nor being ended.
    fn open(&self) -> Told {
        let Some(last) = self.attempts.last() else {
            return (Phase::Pending, None, "about to be started".to_owned(), None);
        };
        let doing = match (&last.end, last.started) {
            (Some(_), _) => "ended",
            (None, Some(_)) => "runs",
            (None, None) if self.attempts.len() == 1 => {
                return (Phase::Pending, None, "about to be started".to_owned(), None);
            }
            (None, None) => "is being started again",
        };
        let mut message = format!("{doing}{}", self.nth());
        let before = self.attempts.iter().rev().skip(1).find_map(|attempt| self.cause(attempt));
        if let Some(cause) = before {
            message = format!("{message}; attempt {}: {}", self.attempts.len() - 1, cause.what);
        }
        (Phase::Running, None, message, None)
    }

    fn too_late(&self, is_over: bool) -> Told {
        let before = self.attempts.iter().rev().skip(1).find_map(|attempt| self.cause(attempt));
        let before = before.map(|cause| format!("; before that: {}", cause.what)).unwrap_or_default();
        let nth = if self.attempts.len() > 1 { self.nth() } else { String::new() };
        let ending = if is_over { "" } else { "; what runs of it is being ended" };
        let message = format!("took longer than its timeout of {}{nth}{before}{ending}", self.timeout);
        let hint =
            "raise `timeout`, as far as the policy allows, or give it less to do; retries count".to_owned();
        let phase = if is_over { Phase::Failed } else { Phase::Running };
        (phase, Some(Reason::DeadlineExceeded), message, Some(hint))
    }

    /// Why an attempt was none that it should have been.
    fn cause(&self, attempt: &LocalAttempt) -> Option<Cause> {
        let limit = self.memory.to_string();
        match attempt.end.as_ref()? {
            LocalEnd::NotStarted { message, .. } => Some(not_started(Some(message), Place::Machine)),
            LocalEnd::StorageExceeded { limit } => Some(storage_exceeded(*limit)),
            LocalEnd::Lost => Some(lost()),
            LocalEnd::Exited { code: 0 } => {
                (attempt.oom_kills > 0).then(|| child_out_of_memory(Some(&limit)))
            }
            _ if attempt.oom_kills > 0 => Some(out_of_memory(Some(&limit))),
            LocalEnd::Signaled { signal } => Some(signaled(*signal, signal.saturating_add(128))),
            // What a shell makes of a signal: the same as on a cluster.
            LocalEnd::Exited { code: code @ 129..=192 } => Some(signaled(code.saturating_sub(128), *code)),
            LocalEnd::Exited { code } => Some(exited(*code, Place::Machine)),
        }
    }

    /// Which attempt the newest is, where there may be more than one.
    fn nth(&self) -> String {
        let allowed = self.retries.saturating_add(1);
        match (allowed, self.attempts.len()) {
            (1, _) | (_, 0) => String::new(),
            (allowed, attempt) => format!(", attempt {attempt} of {allowed}"),
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut seen = Vec::new();
        for (index, attempt) in self.attempts.iter().enumerate().rev() {
            let path = format!("attempt {}", index + 1);
            let mut see =
                |name: &str, value: &str| seen.push(evidence("kernel", Some(name), path.as_str(), value));
            if attempt.oom_kills > 0 {
                see("oom_kill", &attempt.oom_kills.to_string());
            }
            match &attempt.end {
                Some(LocalEnd::Exited { code }) => see("process", &format!("exit code {code}")),
                Some(LocalEnd::Signaled { signal }) => see("process", &format!("signal {signal}")),
                Some(LocalEnd::NotStarted { message, .. }) => see("process", message),
                Some(LocalEnd::StorageExceeded { limit }) => see("storage", &format!("more than {limit}")),
                Some(LocalEnd::Lost) | None => {}
            }
        }
        seen
    }
}

impl LocalAttempt {
    fn has_succeeded(&self) -> bool {
        self.end == Some(LocalEnd::Exited { code: 0 })
    }
}

impl LocalEnd {
    /// The exit code; 128 + n where signal n ended the process.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exited { code } | Self::NotStarted { code, .. } => Some(*code),
            Self::Signaled { signal } => Some(signal.saturating_add(128)),
            Self::StorageExceeded { .. } => Some(137),
            Self::Lost => None,
        }
    }

    /// Whether the job has done what it was to do.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Exited { code: 0 })
    }
}

fn storage_exceeded(limit: MemoryBytes) -> Cause {
    let what = format!("thrown out for taking more than its {limit} of ephemeral storage");
    Cause::new(Reason::Evicted, what)
        .hint("raise `resources.ephemeral_storage`, or write less: `/tmp` and the logs count")
}

fn lost() -> Cause {
    Cause::new(Reason::Disrupted, "lost: what watched over it was killed, or the machine went down")
        .hint("nothing is wrong with the job itself: submit it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_000);

    fn attempt(end: Option<LocalEnd>, oom_kills: u64) -> LocalAttempt {
        let ended = end.as_ref().map(|_| NOW);
        LocalAttempt { scheduled: NOW, started: Some(NOW), ended, end, oom_kills }
    }

    fn classify(retries: u32, attempts: &[LocalAttempt], stop: Option<LocalStop>, over: bool) -> Status {
        classify_local(&LocalSeen {
            timeout: Seconds::new(60),
            memory: MemoryBytes::new(64 << 20),
            retries,
            started_at: Some(NOW),
            attempts,
            stop,
            finished_at: over.then_some(NOW),
        })
    }

    #[test]
    fn every_end_has_a_reason_of_its_own() {
        use LocalEnd::*;
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
            assert!(!status.holds && status.finished_at.is_some());
            assert!(status.hint.is_some() || phase == Phase::Succeeded, "{end:?}");
        }
    }

    #[test]
    fn a_living_job_is_pending_until_its_process_is_there() {
        assert_eq!(classify(0, &[], None, false).phase, Phase::Pending);
        let waiting = LocalAttempt { started: None, ..attempt(None, 0) };
        assert_eq!(classify(0, std::slice::from_ref(&waiting), None, false).phase, Phase::Pending);
        let running = classify(0, &[attempt(None, 0)], None, false);
        assert_eq!((running.phase, running.message.as_str(), running.holds), (Phase::Running, "runs", true));
        let again = classify(2, &[attempt(Some(LocalEnd::Exited { code: 3 }), 0), waiting], None, false);
        assert_eq!(again.phase, Phase::Running);
        assert_eq!(
            again.message,
            "is being started again, attempt 2 of 3; attempt 1: ended with exit code 3"
        );
    }

    #[test]
    fn what_was_made_to_end_says_why_whatever_its_process_made_of_it() {
        let clean = [attempt(Some(LocalEnd::Exited { code: 0 }), 0)];
        let cancelled = classify(0, &clean, Some(LocalStop::Cancelled), true);
        assert_eq!((cancelled.phase, cancelled.exit_code), (Phase::Cancelled, None));
        let late = classify(0, &clean, Some(LocalStop::Deadline), true);
        assert_eq!((late.phase, late.reason), (Phase::Failed, Some(Reason::DeadlineExceeded)));
        let ending = classify(0, &[attempt(None, 0)], Some(LocalStop::Deadline), false);
        assert_eq!((ending.phase, ending.holds), (Phase::Running, true));
    }

    #[test]
    fn the_last_attempt_decides() {
        let failed = || attempt(Some(LocalEnd::Exited { code: 1 }), 0);
        let status = classify(1, &[failed(), attempt(Some(LocalEnd::Exited { code: 0 }), 0)], None, true);
        assert_eq!((status.phase, status.message.as_str()), (Phase::Succeeded, "succeeded, attempt 2 of 2"));
        let status = classify(1, &[failed(), failed()], None, true);
        assert_eq!((status.phase, status.attempts, status.runs.len()), (Phase::Failed, 2, 2));
    }
}
