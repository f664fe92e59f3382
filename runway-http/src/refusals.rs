//! Counts the refused submissions of the last hour by code, in one bucket per minute.

use runway_core::Code;
use runway_core::units::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// Length of the window in minutes.
const WINDOW_MINUTES: u64 = 60;

/// A sliding window of refused submissions.
#[derive(Debug, Default)]
pub(crate) struct RefusalWindow {
    minutes: VecDeque<(u64, BTreeMap<Code, u64>)>,
}

/// The number of refusals whose first violation has this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefusalCount {
    pub code: Code,
    pub count: u64,
}

fn minute_of(time: Timestamp) -> u64 {
    time.nanos() / 60_000_000_000
}

impl RefusalWindow {
    pub(crate) fn record(&mut self, code: Code, now: Timestamp) {
        let current = minute_of(now);
        self.drop_expired(current);
        match self.minutes.back_mut() {
            // Refusals of the same minute share a bucket. If the clock was set back, refusals are counted in
            // the latest bucket.
            Some((latest, counts)) if *latest >= current => *counts.entry(code).or_default() += 1,
            _ => self.minutes.push_back((current, BTreeMap::from([(code, 1)]))),
        }
    }

    /// Returns the counts per code, the highest count first.
    pub(crate) fn counts(&mut self, now: Timestamp) -> Vec<RefusalCount> {
        self.drop_expired(minute_of(now));
        let mut sums: BTreeMap<Code, u64> = BTreeMap::new();
        for (code, times) in self.minutes.iter().flat_map(|(_, counts)| counts) {
            *sums.entry(*code).or_default() += times;
        }
        let mut counts: Vec<_> =
            sums.into_iter().map(|(code, times)| RefusalCount { code, count: times }).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.count));
        counts
    }

    fn drop_expired(&mut self, current: u64) {
        while self.minutes.front().is_some_and(|(minute, _)| minute + WINDOW_MINUTES <= current) {
            self.minutes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_expire_after_an_hour() {
        let mut refusals = RefusalWindow::default();
        let at = |minutes: u64| Timestamp::from_seconds(1_000_000_020 + minutes * 60);
        refusals.record(Code::CpuAboveMax, at(0));
        refusals.record(Code::RateLimited, at(0));
        refusals.record(Code::RateLimited, at(30));
        let counts_at = |refusals: &mut RefusalWindow, minutes| -> Vec<_> {
            refusals.counts(at(minutes)).into_iter().map(|count| (count.code, count.count)).collect()
        };
        assert_eq!(counts_at(&mut refusals, 59), [(Code::RateLimited, 2), (Code::CpuAboveMax, 1)]);
        assert_eq!(counts_at(&mut refusals, 60), [(Code::RateLimited, 1)]);
        assert_eq!(counts_at(&mut refusals, 90), []);
        refusals.record(Code::RateLimited, at(200));
        refusals.record(Code::RateLimited, at(100));
        assert_eq!(counts_at(&mut refusals, 200), [(Code::RateLimited, 2)], "a clock that was set back");
    }
}
