//! Retries with a growing delay, up to a time limit.

use crate::client::Trouble;
use crate::failure::Failure;
use crate::output;
use std::time::{Duration, Instant};

/// The first delay. Each delay is twice as long as the previous one.
const SHORTEST: Duration = Duration::from_millis(200);

/// Maximum delay, unless the server requests a longer one with `Retry-After`.
const LONGEST: Duration = Duration::from_secs(5);

/// Maximum value of the time limit: one week.
const MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Limits the time for retries. The time starts at the first failure after a success.
#[derive(Debug)]
pub(crate) struct Patience {
    limit: Duration,
    until: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit: limit.min(MOST), until: None, pause: SHORTEST }
    }

    /// Records a success: the next failure starts a new time limit.
    pub(crate) const fn renew(&mut self) {
        (self.until, self.pause) = (None, SHORTEST);
    }

    /// Returns the remaining time for retries, or `None` if no failure is pending.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits for the delay before the next attempt.
    ///
    /// # Errors
    ///
    /// Returns `error` if a retry cannot succeed, or if the time limit would pass during the delay.
    pub(crate) fn bear(&mut self, trouble: Trouble) -> Result<(), Failure> {
        let Some(pause) = self.next(&trouble, Instant::now()) else { return Err(trouble.into()) };
        if self.pause == SHORTEST * 2 {
            // Report only the first failure.
            output::print_aside(&format!("{trouble}\nretrying for up to {} s …\n", self.limit.as_secs()))?;
        }
        std::thread::sleep(pause);
        Ok(())
    }

    fn next(&mut self, trouble: &Trouble, now: Instant) -> Option<Duration> {
        let until = *self.until.get_or_insert_with(|| now + self.limit);
        let pause = self.pause.max(trouble.retry_after().unwrap_or_default());
        let is_late = now.checked_add(pause).is_none_or(|then| then > until);
        if !trouble.is_worth_repeating() || is_late {
            return None;
        }
        self.pause = (self.pause * 2).min(LONGEST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> Trouble {
        Trouble::NoAnswer { url: String::new(), cause: String::new() }
    }

    #[test]
    fn it_lasts_exactly_as_long_as_it_may() {
        let (limit, now) = (Duration::from_secs(1), Instant::now());
        let mut patience = Patience::new(limit);
        assert_eq!(patience.next(&lost(), now), Some(SHORTEST));
        assert_eq!(patience.next(&lost(), now + limit - SHORTEST * 2), Some(SHORTEST * 2));
        assert_eq!(patience.next(&lost(), now + limit - SHORTEST * 4 + Duration::from_nanos(1)), None);
        patience.renew();
        assert_eq!(patience.next(&lost(), now + limit * 9), Some(SHORTEST));
    }

    #[test]
    fn a_server_is_given_the_time_it_asks_for_or_none() {
        let now = Instant::now();
        let busy = |seconds| {
            let told =
                crate::client::Told::read(503, br#"{"title":"t"}"#, Some(Duration::from_secs(seconds)));
            Trouble::Problem(Box::new(told.unwrap()))
        };
        assert_eq!(Patience::new(LONGEST).next(&busy(5), now), Some(LONGEST));
        assert_eq!(Patience::new(LONGEST).next(&busy(6), now), None);
        assert_eq!(Patience::new(LONGEST).next(&busy(u64::MAX / 2), now), None);
    }
}
