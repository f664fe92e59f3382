//! Caches a value for all tenants together, and one for each tenant whose value is in use.

use runway_core::Tenant;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Cached values by scope. Clients choose the names of tenants, so the cache keeps the value of a tenant only
/// while a caller has its slot.
#[derive(Debug)]
pub(crate) struct ScopedCache<T> {
    all_tenants: Arc<CacheSlot<T>>,
    tenants: SyncMutex<BTreeMap<Tenant, Weak<CacheSlot<T>>>>,
}

/// The cached value of one scope.
#[derive(Debug)]
pub(crate) struct CacheSlot<T> {
    last: Mutex<Option<(Instant, Arc<T>)>>,
}

impl<T> Default for ScopedCache<T> {
    fn default() -> Self {
        Self { all_tenants: Arc::new(CacheSlot::new()), tenants: SyncMutex::default() }
    }
}

impl<T> ScopedCache<T> {
    /// Returns the slot of a tenant, or of all tenants together.
    pub(crate) fn slot(&self, tenant: Option<&Tenant>) -> Arc<CacheSlot<T>> {
        let Some(tenant) = tenant else { return Arc::clone(&self.all_tenants) };
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = tenants.get(tenant).and_then(Weak::upgrade) {
            return slot;
        }
        tenants.retain(|_, slot| slot.strong_count() > 0);
        let slot = Arc::new(CacheSlot::new());
        tenants.insert(tenant.clone(), Arc::downgrade(&slot));
        slot
    }
}

impl<T> CacheSlot<T> {
    fn new() -> Self {
        Self { last: Mutex::new(None) }
    }

    /// Returns the cached value if it is younger than `max_age`. Otherwise computes it. Concurrent callers wait
    /// for one computation and share its value.
    pub(crate) async fn get(&self, max_age: Duration, compute: impl FnOnce() -> T) -> Arc<T> {
        let mut last = self.last.lock().await;
        if let Some((computed_at, value)) = &*last
            && computed_at.elapsed() < max_age
        {
            return Arc::clone(value);
        }
        let value = Arc::new(compute());
        *last = Some((Instant::now(), Arc::clone(&value)));
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn value_is_computed_once_per_scope_and_age() {
        let cache = ScopedCache::default();
        let [one, other]: [Tenant; 2] = ["one", "other"].map(|name| name.parse().unwrap());
        let computed = AtomicUsize::new(0);
        let max_age = Duration::from_secs(1);
        let compute = || computed.fetch_add(1, Ordering::Relaxed);
        let slots = [cache.slot(None), cache.slot(None), cache.slot(Some(&one)), cache.slot(Some(&one))];
        let values = futures::future::join_all(slots.iter().map(|slot| slot.get(max_age, compute))).await;
        assert_eq!(values.iter().map(|value| **value).collect::<Vec<_>>(), [0, 0, 1, 1]);
        tokio::time::advance(max_age).await;
        assert_eq!(*slots[0].get(max_age, compute).await, 2);
        // The value of a tenant is dropped with its last slot. The value of all tenants is kept.
        drop(slots);
        assert_eq!(*cache.slot(None).get(max_age, compute).await, 2);
        assert_eq!(*cache.slot(Some(&other)).get(max_age, compute).await, 3);
        assert_eq!(cache.tenants.lock().unwrap().len(), 1);
    }
}
