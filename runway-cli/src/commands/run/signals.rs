//! Signals to `runway run` are for its job: the first asks it to end, the second ends it.

use runway_local::Job;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Incoming};
use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::Scope;

/// The signals that a process ignores by what the kernel tells of it: the lowest bit stands for the first.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// Those who want the program to end.
pub(super) struct Signals {
    incoming: Mutex<Incoming>,
    handle: Handle,
    first: AtomicI32,
}

impl Signals {
    /// Hears all but those that whoever started this has it ignore, as `nohup` does.
    pub(super) fn listen() -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status")?);
        let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let incoming = Incoming::new(heard)?;
        let handle = incoming.handle();
        Ok(Self { incoming: Mutex::new(incoming), handle, first: AtomicI32::new(0) })
    }

    /// Hands them on until it is closed.
    pub(super) fn hand_on_to<'scope>(&'scope self, job: &'scope Job, scope: &'scope Scope<'scope, '_>) {
        scope.spawn(move || {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            for signal in incoming.forever() {
                // Where the job's folder cannot be written to, its supervisor notices that this program has ended.
                let _ = if self.note(signal) { job.stop() } else { job.kill() };
            }
        });
    }

    /// Whether it was the first.
    fn note(&self, signal: i32) -> bool {
        self.first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn note_broken_pipe(&self) {
        self.note(SIGPIPE);
    }

    /// The first that came.
    pub(super) fn first(&self) -> Option<i32> {
        Some(self.first.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    pub(super) fn close(&self) {
        self.handle.close();
    }
}
