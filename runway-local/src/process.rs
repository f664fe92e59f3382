//! Identifies processes by pid and start time, because the kernel reuses pids. Kills the processes of a job.

use crate::cgroup::JobCgroups;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Identifies a process even if its pid is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    /// The pid.
    pub pid: u32,
    /// The start time, in clock ticks since boot.
    pub started: u64,
}

impl ProcessId {
    /// Returns the id of the process with this pid. Returns `None` if no such process exists, or if it has
    /// exited.
    pub(crate) fn lookup(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program is in parentheses and can contain any character. The start time is the 20th
        // field after it.
        let (_, fields) = stat.rsplit_once(')')?;
        // The states `Z` (zombie) and `X` (dead) belong to processes that have exited.
        if fields.trim_start().starts_with(['Z', 'X']) {
            return None;
        }
        let started = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }

    /// Returns whether the process still runs.
    #[must_use]
    pub(crate) fn is_alive(self) -> bool {
        Self::lookup(self.pid) == Some(self)
    }

    /// Kills the process if it still runs.
    pub(crate) fn kill(self) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        // The descriptor refers to the same process even if the pid is reused. The process is therefore
        // checked after the descriptor is opened.
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.is_alive() {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

/// Kills the processes in the control groups, and then init, whose exit ends all processes in its PID
/// namespace. Returns whether all of them have ended before the timeout.
pub(crate) fn kill_processes(cgroups: &JobCgroups, init: Option<ProcessId>, timeout: Duration) -> bool {
    let began = Instant::now();
    if !cgroups.kill_all(timeout) {
        return false;
    }
    // Without control groups, only the pid of init is known.
    let mut delay = Duration::from_micros(100);
    while let Some(init) = init.filter(|init| init.is_alive()) {
        if began.elapsed() > timeout {
            return false;
        }
        init.kill();
        sleep(delay);
        delay = (delay * 2).min(Duration::from_millis(20));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_id_with_another_start_time_is_not_alive() {
        let me = ProcessId::lookup(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessId { started: me.started + 1, ..me }.is_alive());
    }

    #[test]
    fn kill_ignores_a_reused_pid() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = ProcessId::lookup(child.id()).unwrap();
        ProcessId { started: process.started + 1, ..process }.kill();
        assert!(child.try_wait().unwrap().is_none());
        process.kill();
        assert!(!child.wait().unwrap().success());
    }
}
