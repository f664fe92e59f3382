//! Consumes the backend's watch: updates the ledger and the job store, and settles pending creations.

use super::creation::PendingCreation;
use super::{Inner, State, WatchState};
use crate::audit;
use crate::backend::{JobRef, JobSnapshot, Unavailable, WatchEvent};
use crate::jobs::JobRecord;
use backon::Retryable;
use futures::StreamExt;
use runway_core::JobId;
use runway_core::quota::{ListToken, ObserveOutcome};
use runway_core::units::Timestamp;
use std::sync::Arc;

impl Inner {
    pub(super) async fn run_watch(self: Arc<Self>) {
        let mut events = self.backend.watch();
        let mut list_token = None;
        // A backend must never end this stream. If it does, the loop ends, because no more events can arrive.
        while let Some(event) = events.next().await {
            self.on_event(event, &mut list_token);
        }
        tracing::error!("the backend's watch stream ended");
    }

    fn on_event(self: &Arc<Self>, event: WatchEvent, list_token: &mut Option<ListToken>) {
        let now = self.now();
        let was_ready = *self.ready.borrow();
        let mut state = self.state();
        let snapshots = match &event {
            WatchEvent::Updated(snapshot) => std::slice::from_ref(&**snapshot),
            WatchEvent::Listed(jobs) => jobs,
            _ => &[],
        };
        for duplicate in snapshots.iter().filter(|seen| state.is_late_duplicate(seen)) {
            tracing::warn!(job = %duplicate.id, "cancelling a duplicate job created by a late request");
            tokio::spawn(Arc::clone(self).cancel_duplicate(duplicate.job_ref()));
        }
        state.watch.on_event(&event, now);
        match event {
            WatchEvent::ListStarted => {
                *list_token = Some(state.gate.begin_list());
                state.jobs.begin_list();
            }
            WatchEvent::Listed(jobs) => {
                if let Some(list_token) = list_token.take() {
                    state.on_list(jobs, list_token, now);
                    self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
                }
            }
            WatchEvent::Updated(snapshot) => state.on_update(*snapshot, now),
            WatchEvent::Removed(id) => state.on_removed(id, now),
            WatchEvent::ObjectsIgnored(count) => {
                state.watch.ignored_objects = state.watch.ignored_objects.saturating_add(count);
            }
            WatchEvent::Connected => {}
            WatchEvent::Interrupted(cause) => {
                state.watch.interruptions = state.watch.interruptions.saturating_add(1);
                tracing::warn!(%cause, "watch interrupted");
            }
        }
        let finished = state.jobs.drain_finished();
        drop(state);
        // The first list contains jobs that finished before this process started. No process may have logged
        // their end. Metrics do not count them, because an earlier process may have counted them.
        for job in &finished {
            audit::log_finished(job, now, !was_ready);
            if was_ready {
                self.observer.on_finished(job, now);
            }
        }
    }
}

impl WatchState {
    /// Records whether the watch works. Only responses of the backend count, so a backend that accepts
    /// connections and does not respond is not connected.
    const fn on_event(&mut self, event: &WatchEvent, now: Timestamp) {
        match event {
            WatchEvent::Listed(_) | WatchEvent::Connected => {
                self.connected = true;
                self.last_event_at = Some(now);
            }
            WatchEvent::Updated(_) | WatchEvent::Removed(_) => self.last_event_at = Some(now),
            WatchEvent::Interrupted(_) => self.connected = false,
            WatchEvent::ListStarted | WatchEvent::ObjectsIgnored(_) => {}
        }
    }
}

impl Inner {
    /// Cancels a job that a late create request created for a second time.
    async fn cancel_duplicate(self: Arc<Self>, duplicate: JobRef) {
        let cancel = || self.backend.cancel(&duplicate);
        let failed = |cause: &Unavailable, _| tracing::warn!(job = %duplicate.id, %cause, "cancelling a duplicate job failed; retrying");
        // The retries continue until a call succeeds, so the result is never an error.
        let _ = cancel.retry(self.backoff()).notify(failed).await;
    }
}

impl State {
    /// Returns `true` if the job is a duplicate that a late create request created.
    ///
    /// A create request without a response is sent again, and the second request creates the job. The first
    /// request can still arrive after that job was removed. It then creates another job with the same id and
    /// a later creation time.
    fn is_late_duplicate(&self, snapshot: &JobSnapshot) -> bool {
        let is_later = |before: &JobRecord| before.gone && before.snapshot.created_at < snapshot.created_at;
        let was_gone = self.jobs.get(snapshot.id).is_some_and(|record| is_later(record));
        was_gone && snapshot.status.occupies_resources && !self.pending_creations.contains_key(&snapshot.id)
    }

    fn on_list(&mut self, jobs: Vec<JobSnapshot>, list_token: ListToken, now: Timestamp) {
        let is_first = self.watch.lists == 0;
        self.watch.lists = self.watch.lists.saturating_add(1);
        let holds =
            jobs.iter().filter(|snapshot| snapshot.status.occupies_resources).map(JobSnapshot::to_hold);
        let drift = match self.gate.reconcile(list_token, holds) {
            Ok(drift) => drift,
            Err(error) => {
                tracing::error!(%error, "list not applied");
                return;
            }
        };
        for snapshot in &jobs {
            self.settle_creation(snapshot);
        }
        let count = jobs.len();
        let missing = self.jobs.sync(jobs, now);
        let corrections = drift.adopted.len() + drift.dropped.len() + drift.corrected.len();
        if is_first {
            tracing::info!(jobs = count, holding = drift.adopted.len(), "ledger rebuilt from the first list");
        } else if corrections > 0 {
            self.watch.drift =
                self.watch.drift.saturating_add(u64::try_from(corrections).unwrap_or(u64::MAX));
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
    pub(super) fn on_update(&mut self, snapshot: JobSnapshot, now: Timestamp) {
        if snapshot.status.occupies_resources
            && self.gate.observe(snapshot.to_hold()) == ObserveOutcome::Adopted
        {
            tracing::warn!(job = %snapshot.id, tenant = %snapshot.tenant, "adopting a job that this process did not create");
        }
        self.settle_creation(&snapshot);
        self.jobs.upsert(snapshot, now);
    }

    fn on_removed(&mut self, id: JobId, now: Timestamp) {
        self.gate.release(id);
        self.jobs.mark_gone(id, now);
        self.end_polling(id);
    }

    /// Ends the polling for an observed job, and releases its hold once the job no longer occupies resources.
    fn settle_creation(&mut self, snapshot: &JobSnapshot) {
        if !snapshot.status.occupies_resources {
            self.gate.release(snapshot.id);
        }
        self.end_polling(snapshot.id);
    }

    /// Ends the polling for a job that the watch reported. A creation that still waits for a response is not
    /// affected.
    fn end_polling(&mut self, id: JobId) {
        if self.pending_creations.get(&id).is_some_and(PendingCreation::is_polling) {
            self.pending_creations.remove(&id);
        }
    }
}
