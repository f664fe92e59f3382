//! How much a job has put on disk, looked at as often as it could have become too much.
//!
//! The kernel has no limit for a folder that every file system keeps. So the folder is measured: the less room is left, the
//! sooner again, and not at all where nothing on its file system has changed. What is taken beyond the limit before that is
//! seen is small; the job is thrown out then, as a kubelet does.

use crate::tree;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Nothing is written faster than this, in bytes a second.
const FASTEST: u64 = 4 << 30;
/// Never sooner again than this.
const SHORTEST: Duration = Duration::from_millis(10);
/// Never later.
const LONGEST: Duration = Duration::from_millis(500);

/// Measures one folder.
#[derive(Debug)]
pub(crate) struct Meter {
    folder: PathBuf,
    limit: u64,
    used: u64,
    /// Free blocks and files of the file system when the folder was last measured.
    free: Option<(u64, u64)>,
    next: Instant,
}

impl Meter {
    pub(crate) fn new(folder: &Path, limit: u64, now: Instant) -> Self {
        let mut meter = Self { folder: folder.to_owned(), limit, used: 0, free: None, next: now };
        meter.schedule(now);
        meter
    }

    /// When it is to be looked at again.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Whether the folder, and `besides`, are too much.
    pub(crate) fn is_exceeded(&mut self, besides: u64, now: Instant) -> bool {
        let free = rustix::fs::statvfs(&self.folder).ok().map(|of| (of.f_bfree, of.f_ffree));
        if free.is_none() || free != self.free {
            self.free = free;
            // Deeper than what can be opened, it cannot be measured: that is no way round the limit.
            self.used = tree::usage(&self.folder, self.limit).unwrap_or(u64::MAX);
        }
        let total = self.used.saturating_add(besides);
        if total > self.limit {
            return true;
        }
        self.used = total.saturating_sub(besides);
        self.schedule(now);
        false
    }

    fn schedule(&mut self, now: Instant) {
        let room = self.limit.saturating_sub(self.used);
        let millis = room / (FASTEST / 1000);
        self.next = now + Duration::from_millis(millis).clamp(SHORTEST, LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_exact_and_the_less_room_the_sooner() {
        let folder = std::env::temp_dir().join(format!("runway-meter-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let now = Instant::now();
        std::fs::write(folder.join("a"), vec![1; 1 << 20]).unwrap();
        let exact = tree::usage(&folder, u64::MAX).unwrap();
        let mut meter = Meter::new(&folder, exact, now);
        assert!(!meter.is_exceeded(0, now));
        assert_eq!(meter.next() - now, SHORTEST);
        assert!(meter.is_exceeded(1, now));
        let roomy = Meter::new(&folder, 20 << 30, now);
        assert_eq!(roomy.next() - now, LONGEST);
        tree::remove(&folder).unwrap();
    }
}
