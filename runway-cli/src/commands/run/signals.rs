//! Handles signals to `runway run`: the first one cancels the job, and the second one kills it.

use runway_local::Job;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Incoming};
use std::fs;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::Scope;

/// Parses the mask of ignored signals from `/proc/self/status`. Bit 0 stands for signal 1.
fn parse_ignored_signals(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
}

/// Receives signals for the job, and stores the first one.
pub(super) struct Signals {
    incoming: Mutex<Incoming>,
    handle: Handle,
    first: AtomicI32,
}

impl Signals {
    /// Installs handlers for SIGINT, SIGTERM and SIGHUP. Signals that this process already ignores, for
    /// example under `nohup`, stay ignored.
    pub(super) fn register() -> io::Result<Self> {
        let ignored_mask = parse_ignored_signals(&fs::read_to_string("/proc/self/status")?);
        let handled =
            [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored_mask >> (signal - 1) & 1 == 0);
        let incoming = Incoming::new(handled)?;
        let handle = incoming.handle();
        Ok(Self { incoming: Mutex::new(incoming), handle, first: AtomicI32::new(0) })
    }

    /// Starts a thread that cancels the job at the first signal and kills it at the next one. The thread ends
    /// after a call of [`Signals::close`].
    pub(super) fn forward_to<'scope>(&'scope self, job: &'scope Job, scope: &'scope Scope<'scope, '_>) {
        scope.spawn(move || {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            for signal in incoming.forever() {
                // Ignore errors, such as a job directory that is not writable. The supervisor still cancels
                // the job when this process exits.
                let _ = if self.record(signal) { job.cancel() } else { job.kill() };
            }
        });
    }

    /// Stores a signal if it is the first one. Returns whether it is the first one.
    fn record(&self, signal: i32) -> bool {
        self.first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn record_broken_pipe(&self) {
        self.record(SIGPIPE);
    }

    /// Returns the first signal, or `None` if no signal was received.
    pub(super) fn first(&self) -> Option<i32> {
        Some(self.first.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    pub(super) fn close(&self) {
        self.handle.close();
    }
}
