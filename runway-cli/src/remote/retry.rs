//! Retries with a growing delay, up to a time limit.

use crate::client::ClientError;
use crate::error::CliError;
use crate::output;
use std::time::{Duration, Instant};

/// Delay after the first failure. Each further delay is twice as long as the previous one, up to
/// [`MAX_DELAY`].
const INITIAL_DELAY: Duration = Duration::from_millis(200);

/// Maximum delay between two attempts, unless the server requests a longer one with `Retry-After`.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// Maximum value of the time limit: one week.
const MAX_RETRY_TIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Limits the time for retries. The time starts at the first failure after a success.
#[derive(Debug)]
pub(crate) struct RetryPolicy {
    limit: Duration,
    deadline: Option<Instant>,
    delay: Duration,
}

impl RetryPolicy {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit: limit.min(MAX_RETRY_TIME), deadline: None, delay: INITIAL_DELAY }
    }

    /// Records a success: the next failure starts a new time limit.
    pub(crate) const fn reset(&mut self) {
        (self.deadline, self.delay) = (None, INITIAL_DELAY);
    }

    /// Returns the remaining time for retries, or `None` if no request has failed since the last success.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Waits for the delay before the next attempt. Prints the error if it is the first one since the last
    /// success.
    ///
    /// # Errors
    ///
    /// Returns `error` if a retry cannot succeed, or if the delay would end after the time limit.
    ///
    /// [`CliError::Output`] if the message cannot be printed.
    pub(crate) fn wait_or_fail(&mut self, error: ClientError) -> Result<(), CliError> {
        let Some(delay) = self.next_delay(&error, Instant::now()) else { return Err(error.into()) };
        if self.delay == INITIAL_DELAY * 2 {
            // The next delay has this value only after the first failure. Later failures are not reported.
            output::eprint(&format!("{error}\nretrying for up to {} s …\n", self.limit.as_secs()))?;
        }
        std::thread::sleep(delay);
        Ok(())
    }

    fn next_delay(&mut self, error: &ClientError, now: Instant) -> Option<Duration> {
        let deadline = *self.deadline.get_or_insert_with(|| now + self.limit);
        let delay = self.delay.max(error.retry_after().unwrap_or_default());
        let exceeds_deadline = now.checked_add(delay).is_none_or(|then| then > deadline);
        if !error.is_retryable() || exceeds_deadline {
            return None;
        }
        self.delay = (self.delay * 2).min(MAX_DELAY);
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_response() -> ClientError {
        ClientError::NoResponse { url: String::new(), cause: String::new() }
    }

    #[test]
    fn retries_end_exactly_at_the_time_limit() {
        let (limit, now) = (Duration::from_secs(1), Instant::now());
        let mut retry_policy = RetryPolicy::new(limit);
        assert_eq!(retry_policy.next_delay(&no_response(), now), Some(INITIAL_DELAY));
        assert_eq!(
            retry_policy.next_delay(&no_response(), now + limit - INITIAL_DELAY * 2),
            Some(INITIAL_DELAY * 2)
        );
        assert_eq!(
            retry_policy
                .next_delay(&no_response(), now + limit - INITIAL_DELAY * 4 + Duration::from_nanos(1)),
            None
        );
        retry_policy.reset();
        assert_eq!(retry_policy.next_delay(&no_response(), now + limit * 9), Some(INITIAL_DELAY));
    }

    #[test]
    fn retry_after_beyond_the_time_limit_is_not_awaited() {
        let now = Instant::now();
        let busy = |seconds| {
            let problem = crate::client::ProblemBody::parse(
                503,
                br#"{"title":"t"}"#,
                Some(Duration::from_secs(seconds)),
            );
            ClientError::Problem(Box::new(problem.unwrap()))
        };
        assert_eq!(RetryPolicy::new(MAX_DELAY).next_delay(&busy(5), now), Some(MAX_DELAY));
        assert_eq!(RetryPolicy::new(MAX_DELAY).next_delay(&busy(6), now), None);
        assert_eq!(RetryPolicy::new(MAX_DELAY).next_delay(&busy(u64::MAX / 2), now), None);
    }
}
