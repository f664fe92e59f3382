//! Identifies processes by pid and start time, because the kernel reuses pids. Kills the processes of a job.

use crate::cgroup::Groups;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Identifies a process even if its pid is reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The pid.
    pub pid: u32,
    /// The start time, in clock ticks since boot.
    pub started: u64,
}

impl Seen {
    /// Returns the id of the process with this pid. Returns `None` if there is none, or if it has exited.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name is in parentheses and can contain anything. The start time is the 20th field after it.
        let (_, fields) = stat.rsplit_once(')')?;
        // A zombie: it has exited, but its parent has not waited for it.
        if fields.trim_start().starts_with(['Z', 'X']) {
            return None;
        }
        let started = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }

    /// Returns whether the process still runs.
    #[must_use]
    pub(crate) fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills the process if it still runs.
    pub(crate) fn kill(self) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        // The pid cannot be reused while this descriptor is open.
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.lives() {
            let _ = pidfd_send_signal(held, Signal::KILL);
        }
    }
}

/// Kills the processes in the control groups and init, whose end kills its namespace. Returns whether all of
/// them have ended before the timeout.
pub(crate) fn kill_processes(groups: &Groups, init: Option<Seen>, within: Duration) -> bool {
    let began = Instant::now();
    if !groups.kill_all(within) {
        return false;
    }
    // Without control groups, init is the only known process.
    let mut pause = Duration::from_micros(100);
    while let Some(init) = init.filter(|init| init.lives()) {
        if began.elapsed() > within {
            return false;
        }
        init.kill();
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let me = Seen::of(std::process::id()).unwrap();
        assert!(me.lives());
        assert!(!Seen { started: me.started + 1, ..me }.lives());
    }

    #[test]
    fn only_the_process_that_was_seen_is_killed() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let seen = Seen::of(child.id()).unwrap();
        Seen { started: seen.started + 1, ..seen }.kill();
        assert!(child.try_wait().unwrap().is_none());
        seen.kill();
        assert!(!child.wait().unwrap().success());
    }
}
