//! The jobs that are known: those that are there, and the outcomes of those that have left.

use crate::backend::Observation;
use runway_core::price::Bill;
use runway_core::status::{Phase, Status};
use runway_core::units::Timestamp;
use runway_core::{JobId, Tenant};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A job as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// The last that was seen of it.
    pub seen: Observation,
    /// When that was.
    pub observed_at: Timestamp,
    /// Whether it has left the backend: this is what is remembered of it.
    pub gone: bool,
}

impl JobRecord {
    /// What it has cost so far, or in the end. `None` where its quote was lost.
    #[must_use]
    pub fn bill(&self, now: Timestamp) -> Option<Bill> {
        self.seen.bill(now)
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Those of one tenant.
    pub tenant: Option<Tenant>,
    /// Those in one phase.
    pub phase: Option<Phase>,
    /// How many at most.
    pub limit: Option<usize>,
    /// Those after the last one of an earlier page.
    pub after: Option<PageToken>,
}

/// The last job of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageToken {
    /// When it was created.
    pub created_at: Timestamp,
    /// Its id.
    pub id: JobId,
}

/// Some jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The jobs.
    pub items: Vec<Arc<JobRecord>>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<PageToken>,
}

/// All jobs that are known, by id and by age. Those that have left are bounded in number: the first to leave is the
/// first to be forgotten.
#[derive(Debug)]
pub(crate) struct Jobs {
    by_id: BTreeMap<JobId, Entry>,
    by_age: BTreeSet<(Timestamp, JobId)>,
    left: VecDeque<JobId>,
    /// How many of those that have left are remembered.
    remembered: usize,
    /// How many listings have begun.
    listings: u64,
    /// Those that have come to their end since somebody asked for them last.
    ended: Vec<Arc<JobRecord>>,
}

#[derive(Debug)]
struct Entry {
    record: Arc<JobRecord>,
    /// The number of listings that had begun when it was last seen outside of one.
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

    /// Takes note of a job that is there.
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

    /// A job has left: what was seen of its end is what it is remembered by.
    pub(crate) fn leave(&mut self, id: JobId, now: Timestamp) {
        let Some(entry) = self.by_id.get_mut(&id).filter(|entry| !entry.record.gone) else { return };
        let record = Arc::make_mut(&mut entry.record);
        record.gone = true;
        record.observed_at = now;
        let status = &mut record.seen.status;
        if status.phase.is_final() {
            status.holds = false;
            // A cancelled job has ended when the last of it has.
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

    /// Those that have come to their end since this was asked last.
    pub(crate) fn take_ended(&mut self) -> Vec<Arc<JobRecord>> {
        std::mem::take(&mut self.ended)
    }

    /// How many there are in each phase, without those that have left.
    pub(crate) fn phases(&self) -> BTreeMap<Phase, usize> {
        let mut phases: BTreeMap<_, _> = Phase::ALL.map(|phase| (phase, 0)).into();
        for entry in self.by_id.values().filter(|entry| !entry.record.gone) {
            *phases.entry(entry.record.seen.status.phase).or_default() += 1;
        }
        phases
    }

    /// Takes over a listing. Returns the jobs that have left without anybody saying so.
    pub(crate) fn listed(&mut self, listed: Vec<Observation>, now: Timestamp) -> Vec<JobId> {
        let ids: BTreeSet<_> = listed.iter().map(|seen| seen.id).collect();
        // What was created while the listing was made need not be in it.
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

    /// A page of the jobs, newest first. A page begins where the one before ended, whatever came or went meanwhile.
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
