//! Settings of the backend.

use runway_core::Policy;
use std::time::Duration;

/// The namespaces that the backend watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchScope {
    /// One namespace, which has the jobs of all tenants.
    Namespace(String),
    /// All namespaces, because each tenant has its own.
    AllNamespaces,
}

/// Settings for the communication with the cluster.
#[derive(Debug, Clone)]
pub struct KubernetesSettings {
    /// The namespaces that the backend watches.
    pub scope: WatchScope,
    /// The time limit of each attempt of a call. The limit of a watch or a log stream applies to the head of
    /// the response.
    pub call_timeout: Duration,
    /// The time without an event after which a watch is opened again, at the same position. The API server
    /// normally sends a bookmark once a minute. A server that does not respond is therefore noticed after this
    /// time plus `call_timeout`.
    pub watch_idle_timeout: Duration,
    /// The maximum number of concurrent creates, at least one. Further creates wait for a permit in order of
    /// arrival, at most for `call_timeout`. They wait in this process, so they do not overload the API
    /// server.
    pub max_concurrent_creates: usize,
    /// The maximum number of objects on a page of a list.
    pub page_size: u32,
    /// The interval at which the backend lists everything again, even if nothing seems wrong.
    pub relist_interval: Duration,
    /// The interval at which a log follower polls for the end of an attempt and the start of the next one.
    pub log_poll_interval: Duration,
    /// The age after which an incomplete Job counts as abandoned by the process that was creating it. The
    /// first list after a start ignores the age.
    pub abandoned_after: Duration,
}

impl KubernetesSettings {
    /// Returns the settings for a policy, with times that suit most clusters.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let run = policy.run_settings();
        Self {
            scope: if run.is_per_tenant() {
                WatchScope::AllNamespaces
            } else {
                WatchScope::Namespace(run.namespace.clone())
            },
            call_timeout: Duration::from_secs(10),
            watch_idle_timeout: Duration::from_secs(75),
            max_concurrent_creates: 64,
            page_size: 500,
            relist_interval: Duration::from_secs(300),
            log_poll_interval: Duration::from_secs(1),
            abandoned_after: Duration::from_secs(120),
        }
    }
}
