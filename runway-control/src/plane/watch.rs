//! Consumes the backend's watch: updates the ledger and the job store, and settles pending creations.

use super::creation::Creation;
use super::{Inner, State};
use crate::audit;
use crate::backend::{JobRef, Observation, Unavailable, WatchEvent};
use crate::jobs::JobRecord;
use backon::Retryable;
use futures::StreamExt;
use runway_core::JobId;
use runway_core::quota::{Listing, Sighting};
use runway_core::units::Timestamp;
use std::sync::Arc;

impl Inner {
    pub(super) async fn follow(self: Arc<Self>) {
        let mut events = self.backend.watch();
        let mut listing = None;
        // A watch never ends. If a backend ends its stream anyway, no more events can arrive.
        while let Some(event) = events.next().await {
            self.take_in(event, &mut listing);
        }
        tracing::error!("the backend's watch stream ended");
    }

    fn take_in(self: &Arc<Self>, event: WatchEvent, listing: &mut Option<Listing>) {
        let now = self.now();
        let was_ready = *self.ready.borrow();
        let mut state = self.state();
        let seen = match &event {
            WatchEvent::Changed(seen) => std::slice::from_ref(&**seen),
            WatchEvent::Listed(jobs) => jobs,
            _ => &[],
        };
        for ghost in seen.iter().filter(|seen| state.is_ghost(seen)) {
            tracing::warn!(job = %ghost.id, "cancelling a duplicate job created by a late request");
            tokio::spawn(Arc::clone(self).lay(ghost.job()));
        }
        let is_heard = !matches!(event, WatchEvent::Interrupted(_));
        state.watch.connected = is_heard;
        if is_heard {
            state.watch.heard_at = Some(now);
        }
        match event {
            WatchEvent::ListingBegan => {
                *listing = Some(state.gate.begin_listing());
                state.jobs.begin_listing();
            }
            WatchEvent::Listed(jobs) => {
                if let Some(listing) = listing.take() {
                    state.take_in_listing(jobs, listing, now);
                    self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
                }
            }
            WatchEvent::Changed(seen) => state.take_in_change(*seen, now),
            WatchEvent::Gone(id) => state.take_in_end(id, now),
            WatchEvent::Interrupted(cause) => {
                state.watch.interruptions = state.watch.interruptions.saturating_add(1);
                tracing::warn!(%cause, "watch interrupted");
            }
        }
        let ended = state.jobs.take_ended();
        drop(state);
        // The first list contains jobs that finished before this process started. They are not reported.
        for job in ended.iter().filter(|_| was_ready) {
            audit::log_finished(job, now);
            self.observer.ended(job, now);
        }
    }
}

impl Inner {
    /// Cancels a job that a late create request created for a second time.
    async fn lay(self: Arc<Self>, ghost: JobRef) {
        let cancel = || self.backend.cancel(&ghost);
        let failed =
            |cause: &Unavailable, _| tracing::warn!(job = %ghost.id, %cause, "cancelling a duplicate job failed; retrying");
        // The retries never end, so the result is a success.
        let _ = cancel.retry(self.backoff()).notify(failed).await;
    }
}

impl State {
    /// Returns `true` if the job is a duplicate that a late create request created.
    ///
    /// A create request without a response is sent again. The first request can still arrive after the job of
    /// the second one was cancelled and removed. It then creates a job with the same id and a later creation
    /// time.
    fn is_ghost(&self, seen: &Observation) -> bool {
        let is_later = |before: &JobRecord| before.gone && before.seen.created_at < seen.created_at;
        let had_left = self.jobs.get(seen.id).is_some_and(|record| is_later(record));
        had_left && seen.status.holds && !self.creations.contains_key(&seen.id)
    }

    fn take_in_listing(&mut self, jobs: Vec<Observation>, listing: Listing, now: Timestamp) {
        let first = self.watch.listings == 0;
        self.watch.listings = self.watch.listings.saturating_add(1);
        let holding = jobs.iter().filter(|seen| seen.status.holds).map(Observation::observed);
        let drift = match self.gate.reconcile(listing, holding) {
            Ok(drift) => drift,
            Err(error) => {
                tracing::error!(%error, "list not applied");
                return;
            }
        };
        for seen in &jobs {
            self.settle(seen);
        }
        let count = jobs.len();
        let missing = self.jobs.listed(jobs, now);
        let wrong = drift.adopted.len() + drift.dropped.len() + drift.corrected.len();
        if first {
            tracing::info!(jobs = count, holding = drift.adopted.len(), "ledger rebuilt from the first list");
        } else if wrong > 0 {
            self.watch.drift = self.watch.drift.saturating_add(u64::try_from(wrong).unwrap_or(u64::MAX));
            tracing::warn!(
                adopted = ?drift.adopted,
                dropped = ?drift.dropped,
                corrected = ?drift.corrected,
                missing = missing.len(),
                "ledger corrected after drift"
            );
        }
    }

    /// Applies the new state of a job.
    pub(super) fn take_in_change(&mut self, seen: Observation, now: Timestamp) {
        if seen.status.holds && self.gate.observe(seen.observed()) == Sighting::Adopted {
            tracing::warn!(job = %seen.id, tenant = %seen.tenant, "adopting a job that this process did not create");
        }
        self.settle(&seen);
        self.jobs.see(seen, now);
    }

    fn take_in_end(&mut self, id: JobId, now: Timestamp) {
        self.gate.release(id);
        self.jobs.leave(id, now);
        self.end_search(id);
    }

    /// Ends the polling for an observed job, and releases its hold once the job no longer occupies resources.
    fn settle(&mut self, seen: &Observation) {
        if !seen.status.holds {
            self.gate.release(seen.id);
        }
        self.end_search(seen.id);
    }

    /// Ends the polling for a job that the watch reported. A creation that still waits for a response is not
    /// affected.
    fn end_search(&mut self, id: JobId) {
        if self.creations.get(&id).is_some_and(Creation::is_searched) {
            self.creations.remove(&id);
        }
    }
}
