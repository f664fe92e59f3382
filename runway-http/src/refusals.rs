//! Counts the refused submissions of the last hour by code, in one bucket per minute.

use runway_core::Code;
use runway_core::units::Timestamp;
use std::collections::{BTreeMap, VecDeque};

/// Length of the window in minutes.
const MINUTES: u64 = 60;

/// A sliding window of refused submissions.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    minutes: VecDeque<(u64, BTreeMap<Code, u64>)>,
}

/// The number of refusals whose first violation has this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub code: Code,
    pub times: u64,
}

fn minute(time: Timestamp) -> u64 {
    time.nanos() / 60_000_000_000
}

impl Refusals {
    pub(crate) fn note(&mut self, code: Code, now: Timestamp) {
        let this = minute(now);
        self.forget(this);
        match self.minutes.back_mut() {
            // After the clock was set back, count in the latest minute of the window.
            Some((last, counts)) if *last >= this => *counts.entry(code).or_default() += 1,
            _ => self.minutes.push_back((this, BTreeMap::from([(code, 1)]))),
        }
    }

    /// Returns the counts per code, the highest count first.
    pub(crate) fn counts(&mut self, now: Timestamp) -> Vec<Count> {
        self.forget(minute(now));
        let mut sums: BTreeMap<Code, u64> = BTreeMap::new();
        for (code, times) in self.minutes.iter().flat_map(|(_, counts)| counts) {
            *sums.entry(*code).or_default() += times;
        }
        let mut counts: Vec<_> = sums.into_iter().map(|(code, times)| Count { code, times }).collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.times));
        counts
    }

    fn forget(&mut self, this: u64) {
        while self.minutes.front().is_some_and(|(minute, _)| minute + MINUTES <= this) {
            self.minutes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_remembered() {
        let mut refusals = Refusals::default();
        let at = |minutes: u64| Timestamp::from_seconds(1_000_000_020 + minutes * 60);
        refusals.note(Code::CpuAboveMax, at(0));
        refusals.note(Code::RateLimited, at(0));
        refusals.note(Code::RateLimited, at(30));
        let told = |refusals: &mut Refusals, minutes| -> Vec<_> {
            refusals.counts(at(minutes)).into_iter().map(|count| (count.code, count.times)).collect()
        };
        assert_eq!(told(&mut refusals, 59), [(Code::RateLimited, 2), (Code::CpuAboveMax, 1)]);
        assert_eq!(told(&mut refusals, 60), [(Code::RateLimited, 1)]);
        assert_eq!(told(&mut refusals, 90), []);
        refusals.note(Code::RateLimited, at(200));
        refusals.note(Code::RateLimited, at(100));
        assert_eq!(told(&mut refusals, 200), [(Code::RateLimited, 2)], "a clock that was set back");
    }
}
