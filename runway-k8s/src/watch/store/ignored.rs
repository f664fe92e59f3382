//! Objects with Runway's labels that are not Runway's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeSet;

/// The maximum number of objects to remember. Above it, an object can be logged and counted again.
const MAX_REMEMBERED: usize = 1024;

/// The objects that the store ignores. Each one is logged and counted once, although every change and every
/// list contains it.
#[derive(Default)]
pub(super) struct IgnoredObjects {
    uids: BTreeSet<String>,
    /// The number of objects since the last [`take_count`](Self::take_count).
    count: u64,
}

impl IgnoredObjects {
    pub(super) fn record(&mut self, kind: &'static str, meta: &ObjectMeta, reason: &'static str) {
        if self.uids.len() >= MAX_REMEMBERED {
            self.uids.clear();
        }
        if self.uids.insert(meta.uid.clone().unwrap_or_default()) {
            self.count = self.count.saturating_add(1);
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            tracing::warn!(kind, namespace, name, reason, "ignoring an object with Runway's labels");
        }
    }

    /// Returns the number of objects since the last call.
    pub(super) fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }
}
