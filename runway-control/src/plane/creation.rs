//! Creates an admitted job and tracks the request until its outcome is known.

use super::Inner;
use super::submission::SubmitError;
use crate::backend::{CreateError, Observation, Order, Unavailable};
use crate::jobs::JobRecord;
use runway_core::JobId;
use std::sync::Arc;
use tokio::time::Instant;

/// A job whose create request has no known outcome yet.
pub(super) struct Creation {
    /// The create request, including the values of secrets.
    pub order: Arc<Order>,
    /// Generation of the task that owns this creation. A task with an older generation must stop.
    turn: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A task sends the request, retries it, and waits for the response.
    Asking,
    /// The caller received `Uncertain`. A task polls the backend until the job exists or the request has
    /// expired.
    Searching,
}

/// The result of a create request that succeeded.
pub(super) enum Created {
    /// This request created the job.
    New(Arc<JobRecord>),
    /// The job existed already, created by a request of another process.
    Before(Arc<JobRecord>),
}

impl Creation {
    pub(super) fn begin(order: &Arc<Order>) -> Self {
        Self { order: Arc::clone(order), turn: 0, stage: Stage::Asking }
    }

    pub(super) const fn turn(&self) -> u64 {
        self.turn
    }

    /// Returns `true` if a task polls for the job and no caller waits for it.
    pub(super) fn is_searched(&self) -> bool {
        self.stage == Stage::Searching
    }

    /// Takes the creation over from the polling task, to send the request again. Returns the new generation,
    /// or `None` if another task is sending the request.
    pub(super) fn resume(&mut self) -> Option<u64> {
        if self.stage == Stage::Asking {
            return None;
        }
        self.stage = Stage::Asking;
        self.turn += 1;
        Some(self.turn)
    }
}

impl Inner {
    /// Sends the create request of an admitted job, and confirms or releases its hold.
    ///
    /// If a response is lost, the same request is sent again. Its job has the same name, so the response
    /// shows whether the first request created it. If the outcome is still unknown at the end of
    /// `create_timeout`, the caller receives `Uncertain`, and a task polls for the job.
    pub(super) async fn create(
        self: Arc<Self>,
        order: Arc<Order>,
        turn: u64,
    ) -> Result<Created, SubmitError> {
        let id = order.id;
        let began = monotonic();
        // An earlier task may have sent the request of a resumed creation.
        let mut doubt = (turn > 0).then(|| Unavailable::new("an earlier request got no response"));
        for pause in self.backoff() {
            let asked = monotonic();
            let answer = self.backend.create(&order).await;
            self.observer.create_answered(asked.elapsed());
            match answer {
                Ok(seen) => return Ok(Created::New(self.created(seen))),
                Err(CreateError::IdConflict(seen)) => {
                    let digest = order.admitted.spec_digest();
                    if seen.tenant == order.admitted.job().tenant && seen.spec_digest == Some(digest) {
                        let job = self.created(*seen);
                        return Ok(if doubt.is_some() { Created::New(job) } else { Created::Before(job) });
                    }
                    self.not_created(id);
                    let now = self.now();
                    self.state().take_in_change(*seen, now);
                    return Err(SubmitError::KeyReused { id });
                }
                Err(CreateError::Uncertain(cause)) => doubt = Some(cause),
                // The backend may have accepted an earlier request, although it rejects this one.
                Err(CreateError::Rejected { .. } | CreateError::Unavailable(_)) if doubt.is_some() => {}
                Err(error @ (CreateError::Rejected { .. } | CreateError::Unavailable(_))) => {
                    self.not_created(id);
                    return Err(SubmitError::Create { id, error });
                }
            }
            if began.elapsed() + pause >= self.settings.create_budget {
                break;
            }
            tokio::time::sleep(pause).await;
            // The watch may have reported the job during the delay. It may even have reported the removal;
            // then the request must not be sent again.
            let told = self.state().jobs.get(id).cloned();
            if let Some(record) = told {
                return Ok(Created::New(self.created(record.seen.clone())));
            }
        }
        let cause = doubt.unwrap_or_else(|| Unavailable::new("no response"));
        tracing::warn!(job = %id, %cause, "unknown outcome of a create request; polling for the job");
        self.begin_search(order, turn);
        Err(SubmitError::Create { id, error: CreateError::Uncertain(cause) })
    }

    /// Starts to poll for a job whose creation has an unknown outcome. The create request is not sent again.
    pub(super) fn begin_search(self: Arc<Self>, order: Arc<Order>, turn: u64) {
        match self.state().creations.get_mut(&order.id) {
            Some(creation) if creation.turn == turn => creation.stage = Stage::Searching,
            _ => return,
        }
        tokio::spawn(self.search(order, turn, monotonic()));
    }

    /// Polls for a job whose create request got no response, until the job exists or the request has expired.
    async fn search(self: Arc<Self>, order: Arc<Order>, turn: u64, last_sent: Instant) {
        let (id, job) = (order.id, order.job());
        for pause in self.backoff() {
            tokio::time::sleep(pause).await;
            if !self.is_searched_for(id, turn) {
                return;
            }
            let is_too_late = last_sent.elapsed() >= self.backend.timing().create_expiry;
            let found = self.backend.find(&job).await;
            if !self.is_searched_for(id, turn) {
                return;
            }
            match found {
                Ok(Some(seen)) => {
                    tracing::info!(job = %id, "job found after a lost create response");
                    self.created(seen);
                    return;
                }
                Ok(None) if is_too_late => {
                    tracing::info!(job = %id, "job not created; its create request has expired");
                    self.not_created(id);
                    return;
                }
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn is_searched_for(&self, id: JobId, turn: u64) -> bool {
        let state = self.state();
        state.creations.get(&id).is_some_and(|c| c.turn == turn && c.stage == Stage::Searching)
    }

    /// Records that the job exists. Confirms its hold, unless the watch has already reported that the job
    /// occupies no resources.
    fn created(&self, seen: Observation) -> Arc<JobRecord> {
        let now = self.now();
        let mut state = self.state();
        let id = seen.id;
        state.creations.remove(&id);
        let is_held = state.gate.confirm(id, seen.created_at).is_ok();
        if !seen.status.holds {
            state.gate.release(id);
        }
        match state.jobs.get(id) {
            // The watch has already reported a newer state than the response.
            Some(record) if record.seen.created_at >= seen.created_at || !is_held => Arc::clone(record),
            _ => {
                let record = state.jobs.see(seen, now);
                if !is_held {
                    state.jobs.leave(id, now);
                }
                record
            }
        }
    }

    fn not_created(&self, id: JobId) {
        let mut state = self.state();
        state.creations.remove(&id);
        if let Err(error) = state.gate.abort(id) {
            // The watch reported the job before it was rolled back, and will report its removal.
            tracing::debug!(job = %id, %error, "rolled-back job still exists");
        }
    }
}

/// The clock of the runtime. Changes of the system time do not affect it, and tests can pause it.
#[expect(clippy::disallowed_methods, reason = "it only measures durations")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}
