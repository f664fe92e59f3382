//! The jobs in the backend, and the final records of jobs that were removed from it.

use crate::backend::Observation;
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
    pub seen: Observation,
    /// The time of the last update of this record.
    pub observed_at: Timestamp,
    /// Whether the job was removed from the backend. If so, this record is history.
    pub gone: bool,
}

impl JobRecord {
    /// Returns the cost up to `now`, or the final cost of a finished job. `None` if the job lost its quote.
    #[must_use]
    pub fn bill(&self, now: Timestamp) -> Option<Bill> {
        self.seen.bill(now)
    }
}

/// A filter for a list of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
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
    /// The position at which the next page starts. `None` on the last page.
    pub next: Option<PageToken>,
}

/// The records of all jobs, indexed by id and by age.
///
/// The number of removed jobs is limited. The job that was removed first is dropped first.
#[derive(Debug)]
pub(crate) struct Jobs {
    by_id: BTreeMap<JobId, Entry>,
    by_age: BTreeSet<(Timestamp, JobId)>,
    left: VecDeque<JobId>,
    /// The maximum number of removed jobs to keep.
    remembered: usize,
    /// The number of lists that have started.
    listings: u64,
    /// The jobs that have finished since the last [`drain_finished`](Self::drain_finished).
    ended: Vec<Arc<JobRecord>>,
}

#[derive(Debug)]
struct Entry {
    record: Arc<JobRecord>,
    /// The value of [`JobStore::lists`] at the last update of this job.
    seen_in: u64,
}

impl Jobs {
    pub(crate) fn new(remembered: usize) -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_age: BTreeSet::new(),
            left: VecDeque::new(),
            remembered,
            listings: 0,
            ended: Vec::new(),
        }
    }

    pub(crate) fn get(&self, id: JobId) -> Option<&Arc<JobRecord>> {
        self.by_id.get(&id).map(|entry| &entry.record)
    }

    pub(crate) fn begin_listing(&mut self) {
        self.listings = self.listings.saturating_add(1);
    }

    /// Inserts or updates the record of a job that exists in the backend.
    pub(crate) fn see(&mut self, seen: Observation, now: Timestamp) -> Arc<JobRecord> {
        let id = seen.id;
        let record = Arc::new(JobRecord { seen, observed_at: now, gone: false });
        let had_ended = self.get(id).is_some_and(|before| before.gone || before.seen.status.phase.is_final());
        if record.seen.status.phase.is_final() && !had_ended {
            self.ended.push(Arc::clone(&record));
        }
        self.put(id, &record);
        record
    }

    fn put(&mut self, id: JobId, record: &Arc<JobRecord>) {
        let entry = Entry { record: Arc::clone(record), seen_in: self.listings };
        let created_at = record.seen.created_at;
        if let Some(Entry { record: before, .. }) = self.by_id.insert(id, entry) {
            if before.gone {
                self.left.retain(|left| *left != id);
            }
            if before.seen.created_at == created_at {
                return;
            }
            self.by_age.remove(&(before.seen.created_at, id));
        }
        self.by_age.insert((created_at, id));
    }

    /// Marks a job as removed from the backend. A job whose phase is not final gets the phase `Unknown`.
    pub(crate) fn leave(&mut self, id: JobId, now: Timestamp) {
        let Some(entry) = self.by_id.get_mut(&id).filter(|entry| !entry.record.gone) else { return };
        let record = Arc::make_mut(&mut entry.record);
        record.gone = true;
        record.observed_at = now;
        let status = &mut record.seen.status;
        if status.phase.is_final() {
            status.holds = false;
            // A cancelled job finishes when its last pod has terminated.
            status.finished_at = status.finished_at.or(Some(now));
        } else {
            let Status { attempts, exit_code, started_at, runs, .. } =
                std::mem::replace(status, Status::gone());
            *status =
                Status { attempts, exit_code, started_at, runs, finished_at: Some(now), ..Status::gone() };
            self.ended.push(Arc::clone(&entry.record));
        }
        self.left.push_back(id);
        while self.left.len() > self.remembered {
            if let Some(forgotten) = self.left.pop_front().and_then(|id| self.by_id.remove(&id)) {
                let seen = &forgotten.record.seen;
                self.by_age.remove(&(seen.created_at, seen.id));
            }
        }
    }

    /// Returns the jobs that have finished since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Arc<JobRecord>> {
        std::mem::take(&mut self.ended)
    }

    /// Returns the number of jobs in each phase. Removed jobs do not count.
    pub(crate) fn phases(&self) -> BTreeMap<Phase, usize> {
        let mut phases: BTreeMap<_, _> = Phase::ALL.map(|phase| (phase, 0)).into();
        for entry in self.by_id.values().filter(|entry| !entry.record.gone) {
            *phases.entry(entry.record.seen.status.phase).or_default() += 1;
        }
        phases
    }

    /// Applies a list of all jobs. Returns the jobs that the list does not contain; they are now marked as
    /// removed.
    pub(crate) fn listed(&mut self, listed: Vec<Observation>, now: Timestamp) -> Vec<JobId> {
        let ids: BTreeSet<_> = listed.iter().map(|seen| seen.id).collect();
        // The list need not contain a job that was updated after the list had started.
        let missing = |(id, entry): (&JobId, &Entry)| {
            let is_missing = !entry.record.gone && entry.seen_in < self.listings && !ids.contains(id);
            is_missing.then_some(*id)
        };
        let missing: Vec<_> = self.by_id.iter().filter_map(missing).collect();
        for seen in listed {
            self.see(seen, now);
        }
        for id in &missing {
            self.leave(*id, now);
        }
        missing
    }

    /// Returns a page of the jobs, newest first. A page starts after the last job of the previous page, even
    /// if jobs were added or removed in between.
    pub(crate) fn page(&self, selection: &Selection) -> Page {
        let limit = selection.limit.unwrap_or(usize::MAX);
        let after = selection.after.map(|token| (token.created_at, token.id));
        let older = match after {
            Some(after) => self.by_age.range(..after),
            None => self.by_age.range(..),
        };
        let is_selected = |record: &&Arc<JobRecord>| {
            selection.tenant.as_ref().is_none_or(|tenant| record.seen.tenant == *tenant)
                && selection.phase.is_none_or(|phase| record.seen.status.phase == phase)
        };
        let mut found = older.rev().filter_map(|(_, id)| self.get(*id)).filter(is_selected).cloned();
        let items: Vec<_> = found.by_ref().take(limit).collect();
        let next = match (items.last(), found.next()) {
            (Some(last), Some(_)) => Some(PageToken { created_at: last.seen.created_at, id: last.seen.id }),
            _ => None,
        };
        Page { items, next }
    }
}
