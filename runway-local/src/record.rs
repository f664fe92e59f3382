//! The records in a job's directory: `job.json` and `status.json`.

use crate::cgroup::JobCgroups;
use crate::process::ProcessId;
use crate::usage::Usage;
use runway_control::JobSnapshot;
use runway_core::digest::Digest;
use runway_core::name::{ClassName, JobName};
use runway_core::price::Quote;
use runway_core::status::{LocalAttempt, LocalJobState, StopReason, classify_local};
use runway_core::units::{CpuMillis, GpuCount, MemoryBytes, Seconds, Timestamp};
use runway_core::{JobId, Tenant};
use serde::{Deserialize, Serialize};

/// The content of `job.json`: the description of the job, written once before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobFile {
    pub id: JobId,
    pub name: JobName,
    pub tenant: Tenant,
    pub class: Option<ClassName>,
    pub cpu: CpuMillis,
    pub memory: MemoryBytes,
    pub gpus: Vec<String>,
    pub timeout: Seconds,
    pub grace: Seconds,
    pub retries: u32,
    pub created_at: Timestamp,
    pub quote: Quote,
    pub spec_digest: Digest,
    /// How long the directory is kept after the job has finished.
    pub ttl_after_finished: Seconds,
    pub groups: JobCgroups,
    pub not_enforced: Vec<String>,
    /// Whether the job is cancelled when its launcher exits.
    pub attached: bool,
}

/// The content of `status.json`: the progress of the job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StatusFile {
    pub started_at: Option<Timestamp>,
    pub attempts: Vec<LocalAttempt>,
    pub stop: Option<StopReason>,
    pub finished_at: Option<Timestamp>,
    pub usage: Usage,
    /// The process that supervises the job.
    pub supervisor: Option<ProcessId>,
    /// The init process of the newest attempt.
    pub init: Option<ProcessId>,
}

impl StatusFile {
    /// Returns whether the job finished at least `ttl` ago.
    pub(crate) fn is_expired(&self, ttl: Seconds, now: Timestamp) -> bool {
        self.finished_at.is_some_and(|finished| finished.saturating_add(ttl) <= now)
    }
}

impl JobFile {
    /// Converts the record and the status to a snapshot.
    pub(crate) fn to_snapshot(&self, status: &StatusFile) -> JobSnapshot {
        JobSnapshot {
            id: self.id,
            name: self.name.clone(),
            tenant: self.tenant.clone(),
            class: self.class.clone(),
            gpus: GpuCount::new(u64::try_from(self.gpus.len()).unwrap_or(u64::MAX)),
            timeout: self.timeout,
            grace: self.grace,
            created_at: self.created_at,
            quote: Some(self.quote.clone()),
            spec_digest: Some(self.spec_digest),
            status: classify_local(&LocalJobState {
                timeout: self.timeout,
                memory: self.memory,
                retries: self.retries,
                started_at: status.started_at,
                attempts: &status.attempts,
                stop: status.stop,
                finished_at: status.finished_at,
            }),
        }
    }
}
