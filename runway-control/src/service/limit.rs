//! The limit on concurrent submissions per tenant. A submission above the limit is refused at once;
//! submissions never queue.

use runway_core::Tenant;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts the submissions in flight of each tenant. Clones share the counts.
#[derive(Debug, Clone)]
pub(super) struct SubmissionLimit {
    in_flight: Arc<Mutex<BTreeMap<Tenant, usize>>>,
    max_per_tenant: usize,
}

/// Counts one submission until it is dropped.
#[derive(Debug)]
pub(super) struct SubmissionPermit {
    in_flight: Arc<Mutex<BTreeMap<Tenant, usize>>>,
    tenant: Tenant,
}

impl SubmissionLimit {
    pub(super) fn new(max_per_tenant: usize) -> Self {
        Self { in_flight: Arc::default(), max_per_tenant }
    }

    pub(super) const fn max_per_tenant(&self) -> usize {
        self.max_per_tenant
    }

    /// Counts a submission in flight. Returns `None` if the tenant has reached its limit.
    pub(super) fn try_acquire(&self, tenant: &Tenant) -> Option<SubmissionPermit> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let count = in_flight.get(tenant).copied().unwrap_or_default();
        if count >= self.max_per_tenant {
            return None;
        }
        in_flight.insert(tenant.clone(), count + 1);
        Some(SubmissionPermit { in_flight: Arc::clone(&self.in_flight), tenant: tenant.clone() })
    }
}

impl Drop for SubmissionPermit {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        match in_flight.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                in_flight.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_permit_allows_another_submission() {
        let limit = SubmissionLimit::new(2);
        let [one, other]: [Tenant; 2] = ["one", "other"].map(|name| name.parse().unwrap());
        let permits: Vec<_> = (0..2).map(|_| limit.try_acquire(&one).unwrap()).collect();
        assert!(limit.try_acquire(&one).is_none());
        assert!(limit.try_acquire(&other).is_some());
        drop(permits);
        assert!(limit.try_acquire(&one).is_some());
        assert!(limit.in_flight.lock().unwrap().is_empty());
    }
}
