//! How much is done at a time. Who comes when there is no room is told so at once; nobody queues.

use crate::limits::RequestLimits;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much is done at a time. Clones count together.
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

    /// Room for one more request; it is taken until what is returned is dropped.
    pub(crate) fn request(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.enter()
    }

    /// Room for one more reader of logs.
    pub(crate) fn log_reader(&self) -> Option<OwnedSemaphorePermit> {
        self.log_readers.enter()
    }

    /// Requests in progress.
    pub(crate) fn requests(&self) -> usize {
        self.requests.inside()
    }

    /// Readers of logs.
    pub(crate) fn log_readers(&self) -> usize {
        self.log_readers.inside()
    }
}
