//! Forwards signals to the job of `runway run`: the first one cancels the job, the second one kills it.

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

/// The received signals.
pub(super) struct Signals {
    incoming: Mutex<Incoming>,
    handle: Handle,
    first: AtomicI32,
}

impl Signals {
    /// Registers for SIGINT, SIGTERM and SIGHUP, except for those that the process ignores, as under `nohup`.
    pub(super) fn register() -> io::Result<Self> {
        let ignored_mask = parse_ignored_signals(&fs::read_to_string("/proc/self/status")?);
        let handled =
            [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored_mask >> (signal - 1) & 1 == 0);
        let incoming = Incoming::new(handled)?;
        let handle = incoming.handle();
        Ok(Self { incoming: Mutex::new(incoming), handle, first: AtomicI32::new(0) })
    }

    /// Starts a thread that forwards the signals to the job until `close`.
    pub(super) fn forward_to<'scope>(&'scope self, job: &'scope Job, scope: &'scope Scope<'scope, '_>) {
        scope.spawn(move || {
            let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
            for signal in incoming.forever() {
                // If the job's directory is not writable, the job ends when this process exits: the
                // supervisor notices that.
                let _ = if self.record(signal) { job.cancel() } else { job.kill() };
            }
        });
    }

    /// Records a signal. Returns whether it is the first.
    fn record(&self, signal: i32) -> bool {
        self.first.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) fn record_broken_pipe(&self) {
        self.record(SIGPIPE);
    }

    /// Returns the first signal.
    pub(super) fn first(&self) -> Option<i32> {
        Some(self.first.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    pub(super) fn close(&self) {
        self.handle.close();
    }
}
