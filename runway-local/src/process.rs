//! Identifies processes by pid and start time, because the kernel reuses pids, and kills the processes of a job.

use crate::cgroup::Groups;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A process that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks since the machine did.
    pub started: u64,
}

impl Seen {
    /// The process of this number, if there is one.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may hold anything; the start is the 20th field behind it.
        let (_, fields) = stat.rsplit_once(')')?;
        // One that has ended and waits to be asked how.
        if fields.trim_start().starts_with(['Z', 'X']) {
            return None;
        }
        let started = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, started })
    }

    /// Whether it is still there.
    #[must_use]
    pub(crate) fn lives(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Kills it, if it is still there.
    pub(crate) fn kill(self) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        // Once it is held by descriptor its number cannot be given to another.
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        if self.lives() {
            let _ = pidfd_send_signal(held, Signal::KILL);
        }
    }
}

/// Kills what is in the groups, and the first process of the namespaces, with which all in there dies. Whether nothing is left.
pub(crate) fn kill_processes(groups: &Groups, init: Option<Seen>, within: Duration) -> bool {
    let began = Instant::now();
    if !groups.kill_all(within) {
        return false;
    }
    // Without groups this is all there is to go by.
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
