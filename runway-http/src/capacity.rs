//! Concurrency limits. A request above a limit is rejected at once; requests never queue.

use crate::limits::RequestLimits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The concurrency limits of the server. Clones share their permits.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    requests: Counted,
    log_readers: Counted,
}

#[derive(Debug, Clone)]
struct Counted {
    room: Arc<Semaphore>,
    limit: usize,
}

impl Counted {
    fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { room: Arc::new(Semaphore::new(limit)), limit }
    }

    fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.room).try_acquire_owned().ok()
    }

    fn inside(&self) -> usize {
        self.limit.saturating_sub(self.room.available_permits())
    }
}

impl Capacity {
    pub(crate) fn new(limits: &RequestLimits) -> Self {
        Self { requests: Counted::new(limits.requests), log_readers: Counted::new(limits.log_readers) }
    }

    /// Returns a permit for one request, or `None` if all permits are in use. Dropping the permit releases
    /// it.
    pub(crate) fn request(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.enter()
    }

    /// Returns a permit for one log reader, or `None` if all permits are in use.
    pub(crate) fn log_reader(&self) -> Option<OwnedSemaphorePermit> {
        self.log_readers.enter()
    }

    /// The number of requests in progress.
    pub(crate) fn requests(&self) -> usize {
        self.requests.inside()
    }

    /// The number of connected log readers.
    pub(crate) fn log_readers(&self) -> usize {
        self.log_readers.inside()
    }
}
