//! Concurrency limits. A request above a limit is rejected at once; requests never queue.

use crate::limits::RequestLimits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The concurrency limits of the server. Clones share their permits.
#[derive(Debug, Clone)]
pub(crate) struct ConcurrencyLimits {
    requests: CountedSemaphore,
    log_readers: CountedSemaphore,
}

#[derive(Debug, Clone)]
struct CountedSemaphore {
    permits: Arc<Semaphore>,
    limit: usize,
}

impl CountedSemaphore {
    fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(limit)), limit }
    }

    fn try_acquire(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    fn in_use(&self) -> usize {
        self.limit.saturating_sub(self.permits.available_permits())
    }
}

impl ConcurrencyLimits {
    pub(crate) fn new(limits: &RequestLimits) -> Self {
        Self {
            requests: CountedSemaphore::new(limits.max_requests),
            log_readers: CountedSemaphore::new(limits.max_log_readers),
        }
    }

    /// Returns a permit for one request, or `None` if all permits are in use. Dropping the permit releases
    /// it.
    pub(crate) fn try_acquire_request(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.try_acquire()
    }

    /// Returns a permit for one log reader, or `None` if all permits are in use.
    pub(crate) fn try_acquire_log_reader(&self) -> Option<OwnedSemaphorePermit> {
        self.log_readers.try_acquire()
    }

    /// The number of requests in progress.
    pub(crate) fn requests_in_use(&self) -> usize {
        self.requests.in_use()
    }

    /// The number of connected log readers.
    pub(crate) fn log_readers_in_use(&self) -> usize {
        self.log_readers.in_use()
    }
}
