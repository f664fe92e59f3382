//! Measures the disk usage of a job, so that the supervisor can evict a job above its limit.
//!
//! Linux has no directory quota that every file system supports, so the directory is measured. The smaller
//! the remaining space, the sooner the next measurement. A measurement is skipped if the free space of the
//! file system has not changed since the last one. A job can exceed its limit only by what it writes between
//! two measurements, and is then evicted, as by a kubelet. Deleted files that the job still holds open count
//! too.

use crate::tree;
use rustix::fs::Stat;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Assumed upper bound of the write rate, in bytes per second.
const MAX_WRITE_RATE: u64 = 4 << 30;
/// Minimum time between two measurements.
const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Maximum time between two measurements.
const MAX_INTERVAL: Duration = Duration::from_millis(500);

/// Measures one directory.
#[derive(Debug)]
pub(crate) struct StorageMeter {
    dir: PathBuf,
    limit: u64,
    used: u64,
    /// Free blocks and inodes of the file system at the last measurement.
    free: Option<(u64, u64)>,
    next_check: Instant,
}

impl StorageMeter {
    pub(crate) fn new(dir: &Path, limit: u64, now: Instant) -> Self {
        let mut meter = Self { dir: dir.to_owned(), limit, used: 0, free: None, next_check: now };
        meter.schedule(0, now);
        meter
    }

    /// Returns the time of the next measurement.
    pub(crate) const fn next_check(&self) -> Instant {
        self.next_check
    }

    /// Returns whether the directory, the deleted files that these processes hold open, and `other_bytes`
    /// together exceed the limit.
    pub(crate) fn is_exceeded(
        &mut self,
        other_bytes: u64,
        processes: impl FnOnce() -> Vec<u32>,
        now: Instant,
    ) -> bool {
        let free = rustix::fs::statvfs(&self.dir).ok().map(|of| (of.f_bfree, of.f_ffree));
        if free.is_none() || free != self.free {
            self.free = free;
            // A directory that cannot be measured, for example because it is too deep, counts as exceeding
            // the limit.
            let visible = tree::disk_usage(&self.dir, self.limit).unwrap_or(u64::MAX);
            self.used = visible.saturating_add(self.unlinked_bytes(&processes()));
        }
        self.schedule(other_bytes, now);
        self.used.saturating_add(other_bytes) > self.limit
    }

    fn schedule(&mut self, other_bytes: u64, now: Instant) {
        let remaining = self.limit.saturating_sub(self.used.saturating_add(other_bytes));
        let millis = remaining / (MAX_WRITE_RATE / 1000);
        self.next_check = now + Duration::from_millis(millis).clamp(MIN_INTERVAL, MAX_INTERVAL);
    }

    /// Returns the size of the deleted files on this file system that the processes hold open.
    fn unlinked_bytes(&self, processes: &[u32]) -> u64 {
        let Ok(dir) = rustix::fs::stat(&self.dir) else { return 0 };
        let mut counted = BTreeSet::new();
        let mut total = 0u64;
        for process in processes {
            let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            for file in open.filter_map(|entry| fs::metadata(entry.path()).ok()) {
                if is_unlinked(&file, &dir) && counted.insert(file.ino()) {
                    total = total.saturating_add(file.blocks().saturating_mul(512));
                }
            }
        }
        total
    }
}

fn is_unlinked(file: &fs::Metadata, dir: &Stat) -> bool {
    file.is_file() && file.nlink() == 0 && file.dev() == dir.st_dev
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn limit_is_exact_and_less_space_checks_sooner() {
        let dir = std::env::temp_dir().join(format!("runway-meter-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let now = Instant::now();
        fs::write(dir.join("a"), vec![1; 1 << 20]).unwrap();
        let exact = tree::disk_usage(&dir, u64::MAX).unwrap();
        let mut meter = StorageMeter::new(&dir, exact, now);
        assert!(!meter.is_exceeded(0, Vec::new, now));
        assert_eq!(meter.next_check() - now, MIN_INTERVAL);
        assert!(meter.is_exceeded(1, Vec::new, now));
        let roomy = StorageMeter::new(&dir, 20 << 30, now);
        assert_eq!(roomy.next_check() - now, MAX_INTERVAL);
        tree::remove(&dir).unwrap();
    }

    #[test]
    fn unlinked_files_count_while_they_are_open() {
        let dir = std::env::temp_dir().join(format!("runway-unnamed-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let mut file = fs::File::create(dir.join("a")).unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        fs::remove_file(dir.join("a")).unwrap();
        let now = Instant::now();
        let me = || vec![std::process::id()];
        assert!(StorageMeter::new(&dir, 1 << 19, now).is_exceeded(0, me, now));
        assert!(!StorageMeter::new(&dir, 1 << 19, now).is_exceeded(0, Vec::new, now));
        drop(file);
        assert!(!StorageMeter::new(&dir, 1 << 19, now).is_exceeded(0, me, now));
        tree::remove(&dir).unwrap();
    }
}
