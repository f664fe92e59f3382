//! The jobs in the backend, and the final records of jobs that were removed from it.

use crate::backend::JobSnapshot;
use runway_core::price::Bill;
use runway_core::status::{Phase, Status};
use runway_core::units::Timestamp;
use runway_core::{JobId, Tenant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// The record of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// The last snapshot that the backend reported.
    pub snapshot: JobSnapshot,
    /// The time of the last update of this record.
    pub observed_at: Timestamp,
    /// Whether the job was removed from the backend. If so, this record is history.
    pub gone: bool,
}

impl JobRecord {
    /// Returns the cost up to `now`, or the final cost of a finished job. `None` if the snapshot has no
    /// quote.
    #[must_use]
    pub fn bill(&self, now: Timestamp) -> Option<Bill> {
        self.snapshot.bill(now)
    }
}

/// A filter for a list of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// Only jobs of this tenant.
    pub tenant: Option<Tenant>,
    /// Only jobs in this phase.
    pub phase: Option<Phase>,
    /// The maximum number of jobs.
    pub limit: Option<usize>,
    /// Only jobs after this position, which is [`Page::next`] of the previous page.
    pub after: Option<PageToken>,
}

/// The position of the last job of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken {
    /// The creation time of the job.
    pub created_at: Timestamp,
    /// The id of the job.
    pub id: JobId,
}

/// One page of a list of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The jobs.
    pub items: Vec<Arc<JobRecord>>,
    /// The position of the last job of this page, to pass as [`JobFilter::after`]. `None` on the last page.
    pub next: Option<PageToken>,
}

/// The records of all jobs, indexed by id and by age.
///
/// The number of removed jobs is limited. The job that was removed first is dropped first.
#[derive(Debug)]
pub(crate) struct JobStore {
    by_id: BTreeMap<JobId, Entry>,
    by_age: BTreeSet<(Timestamp, JobId)>,
    gone_ids: VecDeque<JobId>,
    /// The maximum number of removed jobs to keep.
    history_limit: usize,
    /// The number of lists that have started.
    lists: u64,
    /// The jobs that have finished and released their resources, or were removed before their end was observed,
    /// since the last [`drain_finished`](Self::drain_finished).
    finished: Vec<Arc<JobRecord>>,
}

#[derive(Debug)]
struct Entry {
    record: Arc<JobRecord>,
    /// The value of [`JobStore::lists`] at the last update of this job.
    lists_at_update: u64,
    /// Whether [`JobStore::finished`] has contained this job.
    is_end_reported: bool,
}

impl JobStore {
    pub(crate) fn new(history_limit: usize) -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_age: BTreeSet::new(),
            gone_ids: VecDeque::new(),
            history_limit,
            lists: 0,
            finished: Vec::new(),
        }
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Arc<JobRecord>> {
        self.by_id.get(&id).map(|entry| &entry.record)
    }

    pub(crate) fn begin_list(&mut self) {
        self.lists = self.lists.saturating_add(1);
    }

    /// Inserts or updates the record of a job that exists in the backend.
    pub(crate) fn upsert(&mut self, snapshot: JobSnapshot, now: Timestamp) -> Arc<JobRecord> {
        let id = snapshot.id;
        let record = Arc::new(JobRecord { snapshot, observed_at: now, gone: false });
        // The cost of a cancelled job grows until its last pod has terminated.
        let status = &record.snapshot.status;
        let has_ended = status.phase.is_final() && !status.occupies_resources;
        let was_reported = self.by_id.get(&id).is_some_and(|entry| entry.is_end_reported);
        if has_ended && !was_reported {
            self.finished.push(Arc::clone(&record));
        }
        self.insert(id, &record, was_reported || has_ended);
        record
    }

    fn insert(&mut self, id: JobId, record: &Arc<JobRecord>, is_end_reported: bool) {
        let entry = Entry { record: Arc::clone(record), lists_at_update: self.lists, is_end_reported };
        let created_at = record.snapshot.created_at;
        if let Some(Entry { record: before, .. }) = self.by_id.insert(id, entry) {
            if before.gone {
                self.gone_ids.retain(|left| *left != id);
            }
            if before.snapshot.created_at == created_at {
                return;
            }
            self.by_age.remove(&(before.snapshot.created_at, id));
        }
        self.by_age.insert((created_at, id));
    }

    /// Marks a job as removed from the backend. A job whose phase is not final gets the phase `Unknown`.
    pub(crate) fn mark_gone(&mut self, id: JobId, now: Timestamp) {
        let Some(entry) = self.by_id.get_mut(&id).filter(|entry| !entry.record.gone) else { return };
        let record = Arc::make_mut(&mut entry.record);
        record.gone = true;
        record.observed_at = now;
        let status = &mut record.snapshot.status;
        if status.phase.is_final() {
            status.occupies_resources = false;
            // A cancelled job finishes when its last pod has terminated.
            status.finished_at = status.finished_at.or(Some(now));
        } else {
            let Status { attempts, exit_code, started_at, attempt_spans: runs, .. } =
                std::mem::replace(status, Status::gone());
            *status = Status {
                attempts,
                exit_code,
                started_at,
                attempt_spans: runs,
                finished_at: Some(now),
                ..Status::gone()
            };
        }
        if !std::mem::replace(&mut entry.is_end_reported, true) {
            self.finished.push(Arc::clone(&entry.record));
        }
        self.gone_ids.push_back(id);
        while self.gone_ids.len() > self.history_limit {
            if let Some(forgotten) = self.gone_ids.pop_front().and_then(|id| self.by_id.remove(&id)) {
                let snapshot = &forgotten.record.snapshot;
                self.by_age.remove(&(snapshot.created_at, snapshot.id));
            }
        }
    }

    /// Returns the jobs that have finished and released their resources, or were removed before their end was
    /// observed, since the last call.
    pub(crate) fn drain_finished(&mut self) -> Vec<Arc<JobRecord>> {
        std::mem::take(&mut self.finished)
    }

    /// Returns the number of jobs in each phase. Removed jobs do not count.
    pub(crate) fn phases(&self) -> BTreeMap<Phase, usize> {
        let mut phases: BTreeMap<_, _> = Phase::ALL.map(|phase| (phase, 0)).into();
        for entry in self.by_id.values().filter(|entry| !entry.record.gone) {
            *phases.entry(entry.record.snapshot.status.phase).or_default() += 1;
        }
        phases
    }

    /// Applies a list of all jobs. Returns the jobs that the list does not contain; they are now marked as
    /// removed.
    pub(crate) fn sync(&mut self, listed: Vec<JobSnapshot>, now: Timestamp) -> Vec<JobId> {
        let ids: BTreeSet<_> = listed.iter().map(|snapshot| snapshot.id).collect();
        // A job that was updated after the list had started may be newer than the list. It does not count as
        // missing.
        let missing = |(id, entry): (&JobId, &Entry)| {
            let is_missing = !entry.record.gone && entry.lists_at_update < self.lists && !ids.contains(id);
            is_missing.then_some(*id)
        };
        let missing: Vec<_> = self.by_id.iter().filter_map(missing).collect();
        for snapshot in listed {
            self.upsert(snapshot, now);
        }
        for id in &missing {
            self.mark_gone(*id, now);
        }
        missing
    }

    /// Returns a page of the jobs, newest first. A page starts after the position of the last job of the
    /// previous page, even if jobs were added or removed in between.
    pub(crate) fn page(&self, filter: &JobFilter) -> Page {
        let limit = filter.limit.unwrap_or(usize::MAX);
        let after = filter.after.map(|token| (token.created_at, token.id));
        let older = match after {
            Some(after) => self.by_age.range(..after),
            None => self.by_age.range(..),
        };
        let is_selected = |record: &&Arc<JobRecord>| {
            filter.tenant.as_ref().is_none_or(|tenant| record.snapshot.tenant == *tenant)
                && filter.phase.is_none_or(|phase| record.snapshot.status.phase == phase)
        };
        let mut found = older.rev().filter_map(|(_, id)| self.get(*id)).filter(is_selected).cloned();
        let items: Vec<_> = found.by_ref().take(limit).collect();
        let next = match (items.last(), found.next()) {
            (Some(last), Some(_)) => {
                Some(PageToken { created_at: last.snapshot.created_at, id: last.snapshot.id })
            }
            _ => None,
        };
        Page { items, next }
    }
}
