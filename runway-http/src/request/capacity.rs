//! How much is done at a time. Who comes when there is no room is told so at once; nobody queues.

use crate::state::RequestLimits;
use runway_core::Tenant;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much is done at a time. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Capacity {
    requests: Counted,
    log_readers: Counted,
    submissions: Arc<Mutex<BTreeMap<Tenant, usize>>>,
    tenant_submissions: usize,
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

/// A submission that is counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Submitting {
    submissions: Arc<Mutex<BTreeMap<Tenant, usize>>>,
    tenant: Tenant,
}

impl Capacity {
    pub(crate) fn new(limits: &RequestLimits) -> Self {
        Self {
            requests: Counted::new(limits.requests),
            log_readers: Counted::new(limits.log_readers),
            submissions: Arc::default(),
            tenant_submissions: limits.tenant_submissions,
        }
    }

    /// Room for one more request; it is taken until what is returned is dropped.
    pub(crate) fn request(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.enter()
    }

    /// Room for one more reader of logs.
    pub(crate) fn log_reader(&self) -> Option<OwnedSemaphorePermit> {
        self.log_readers.enter()
    }

    /// Room for one more submission of a tenant.
    pub(crate) fn submission(&self, tenant: &Tenant) -> Option<Submitting> {
        let mut submissions = self.submissions.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = submissions.get(tenant).copied().unwrap_or_default();
        if inside >= self.tenant_submissions {
            return None;
        }
        submissions.insert(tenant.clone(), inside + 1);
        Some(Submitting { submissions: Arc::clone(&self.submissions), tenant: tenant.clone() })
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

impl Drop for Submitting {
    fn drop(&mut self) {
        let mut submissions = self.submissions.lock().unwrap_or_else(PoisonError::into_inner);
        match submissions.get_mut(&self.tenant) {
            Some(inside) if *inside > 1 => *inside -= 1,
            _ => {
                submissions.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_as_much_room_as_it_may_and_leaves_nothing_behind() {
        let capacity = Capacity::new(&RequestLimits { tenant_submissions: 2, ..RequestLimits::default() });
        let [one, other]: [Tenant; 2] = ["one", "other"].map(|name| name.parse().unwrap());
        let inside: Vec<_> = (0..2).map(|_| capacity.submission(&one).unwrap()).collect();
        assert!(capacity.submission(&one).is_none());
        assert!(capacity.submission(&other).is_some());
        drop(inside);
        assert!(capacity.submission(&one).is_some());
        assert!(capacity.submissions.lock().unwrap().is_empty());
    }
}
