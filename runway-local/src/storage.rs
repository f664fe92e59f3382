//! Measures the disk usage of a job, so that the supervisor can evict a job above its limit.
//!
//! Linux has no directory quota that every file system supports, so the directory is measured. The smaller
//! the remaining space, the sooner the next measurement. It is skipped if nothing on the file system has
//! changed. A job can exceed its limit only by what it writes between two measurements, and is then evicted,
//! as by a kubelet. Deleted files that are still open count too.

use crate::tree;
use rustix::fs::Stat;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Assumed upper bound of the write rate, in bytes per second.
const FASTEST: u64 = 4 << 30;
/// Minimum time between two measurements.
const SHORTEST: Duration = Duration::from_millis(10);
/// Maximum time between two measurements.
const LONGEST: Duration = Duration::from_millis(500);

/// Measures one directory.
#[derive(Debug)]
pub(crate) struct Meter {
    folder: PathBuf,
    limit: u64,
    used: u64,
    /// Free blocks and inodes of the file system at the last measurement.
    free: Option<(u64, u64)>,
    next: Instant,
}

impl Meter {
    pub(crate) fn new(folder: &Path, limit: u64, now: Instant) -> Self {
        let mut meter = Self { folder: folder.to_owned(), limit, used: 0, free: None, next: now };
        meter.schedule(0, now);
        meter
    }

    /// Returns the time of the next measurement.
    pub(crate) const fn next(&self) -> Instant {
        self.next
    }

    /// Returns whether the directory, the deleted files that these processes hold open, and `other_bytes`
    /// exceed the limit.
    pub(crate) fn is_exceeded(
        &mut self,
        besides: u64,
        processes: impl FnOnce() -> Vec<u32>,
        now: Instant,
    ) -> bool {
        let free = rustix::fs::statvfs(&self.folder).ok().map(|of| (of.f_bfree, of.f_ffree));
        if free.is_none() || free != self.free {
            self.free = free;
            // A directory that cannot be measured, for example because it is too deep, counts as exceeding
            // the limit.
            let named = tree::usage(&self.folder, self.limit).unwrap_or(u64::MAX);
            self.used = named.saturating_add(self.removed(&processes()));
        }
        self.schedule(besides, now);
        self.used.saturating_add(besides) > self.limit
    }

    fn schedule(&mut self, besides: u64, now: Instant) {
        let room = self.limit.saturating_sub(self.used.saturating_add(besides));
        let millis = room / (FASTEST / 1000);
        self.next = now + Duration::from_millis(millis).clamp(SHORTEST, LONGEST);
    }

    /// Returns the size of the deleted files on this file system that the processes hold open.
    fn removed(&self, processes: &[u32]) -> u64 {
        let Ok(folder) = rustix::fs::stat(&self.folder) else { return 0 };
        let mut seen = BTreeSet::new();
        let mut total = 0u64;
        for process in processes {
            let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            for file in open.filter_map(|entry| fs::metadata(entry.path()).ok()) {
                if is_removed(&file, &folder) && seen.insert(file.ino()) {
                    total = total.saturating_add(file.blocks().saturating_mul(512));
                }
            }
        }
        total
    }
}

fn is_removed(file: &fs::Metadata, folder: &Stat) -> bool {
    file.is_file() && file.nlink() == 0 && file.dev() == folder.st_dev
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_limit_is_exact_and_the_less_room_the_sooner() {
        let folder = std::env::temp_dir().join(format!("runway-meter-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let now = Instant::now();
        fs::write(folder.join("a"), vec![1; 1 << 20]).unwrap();
        let exact = tree::usage(&folder, u64::MAX).unwrap();
        let mut meter = Meter::new(&folder, exact, now);
        assert!(!meter.is_exceeded(0, Vec::new, now));
        assert_eq!(meter.next() - now, SHORTEST);
        assert!(meter.is_exceeded(1, Vec::new, now));
        let roomy = Meter::new(&folder, 20 << 30, now);
        assert_eq!(roomy.next() - now, LONGEST);
        tree::remove(&folder).unwrap();
    }

    #[test]
    fn a_file_without_a_name_counts_as_long_as_it_is_open() {
        let folder = std::env::temp_dir().join(format!("runway-unnamed-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut file = fs::File::create(folder.join("a")).unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        fs::remove_file(folder.join("a")).unwrap();
        let now = Instant::now();
        let me = || vec![std::process::id()];
        assert!(Meter::new(&folder, 1 << 19, now).is_exceeded(0, me, now));
        assert!(!Meter::new(&folder, 1 << 19, now).is_exceeded(0, Vec::new, now));
        drop(file);
        assert!(!Meter::new(&folder, 1 << 19, now).is_exceeded(0, me, now));
        tree::remove(&folder).unwrap();
    }
}
