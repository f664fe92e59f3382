//! Settings of the backend.

use runway_core::Policy;
use std::time::Duration;

/// Where jobs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All in one namespace.
    Namespace(String),
    /// Each tenant's in a namespace of its own: all of them are watched.
    All,
}

/// How the cluster is talked to.
#[derive(Debug, Clone)]
pub struct KubernetesSettings {
    /// Where jobs are.
    pub scope: Scope,
    /// How long a call may take. Watches and logs may take longer.
    pub call_timeout: Duration,
    /// How many jobs are created at a time, at least one. More wait for their turn, first come, first served, for as long as a call may
    /// take: here, and not at an API server that others need too.
    pub creations: usize,
    /// How many objects a page of a listing has at most.
    pub page_size: u32,
    /// After how long everything is listed again, though nothing seems to be wrong.
    pub relist_after: Duration,
    /// How often it is looked whether a job that is followed has begun, or begun anew.
    pub log_pause: Duration,
    /// Waiting for an answer longer than this, a Job whose Secret is still missing was given up by whoever made it.
    pub abandoned_after: Duration,
}

impl KubernetesSettings {
    /// What fits a policy, with times that fit most clusters.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let run = policy.run();
        Self {
            scope: if run.is_per_tenant() { Scope::All } else { Scope::Namespace(run.namespace.clone()) },
            call_timeout: Duration::from_secs(10),
            creations: 64,
            page_size: 500,
            relist_after: Duration::from_secs(300),
            log_pause: Duration::from_secs(1),
            abandoned_after: Duration::from_secs(120),
        }
    }
}
