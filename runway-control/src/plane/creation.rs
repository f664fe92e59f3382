//! The creation of an admitted job, from the first try to the certainty that it is there or is not.

use super::Inner;
use super::submit::SubmitError;
use crate::backend::{CreateError, Observation, Order, Unavailable};
use crate::jobs::JobRecord;
use runway_core::JobId;
use std::sync::Arc;
use tokio::time::Instant;

/// A job whose creation has not been settled.
pub(super) struct Creation {
    /// What is to be created, secrets included.
    pub order: Arc<Order>,
    /// Counts those who work on it, one after the other: who is not the last of them has been relieved.
    turn: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Somebody waits for its answer.
    Asking,
    /// Whoever asked has been told that nobody knows. The job is looked for until it is there, or cannot come any more.
    Searching,
}

/// A job that is there now.
pub(super) enum Created {
    /// It was made.
    New(Arc<JobRecord>),
    /// It was there before, from a request that another process had sent.
    Before(Arc<JobRecord>),
}

impl Creation {
    pub(super) fn begin(order: &Arc<Order>) -> Self {
        Self { order: Arc::clone(order), turn: 0, stage: Stage::Asking }
    }

    pub(super) const fn turn(&self) -> u64 {
        self.turn
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_searched(&self) -> bool {
        self.stage == Stage::Searching
    }

    /// Takes over from the search, to ask again. `None` while somebody asks.
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
    /// Creates what was admitted, and settles its hold.
    ///
    /// Where an answer is lost the same job is created again under the same name, which tells whether it is there. If that
    /// brings no certainty in time, the submitter is told so and a task goes on looking.
    pub(super) async fn create(
        self: Arc<Self>,
        order: Arc<Order>,
        turn: u64,
    ) -> Result<Created, SubmitError> {
        let id = order.id;
        let began = monotonic();
        // A resumed creation may have been sent before.
        let mut doubt = (turn > 0).then(|| Unavailable::new("an earlier attempt was not answered"));
        for pause in self.settings.backoff() {
            let asked = monotonic();
            let answer = self.backend.create(&order).await;
            self.observer.create_answered(asked.elapsed());
            match answer {
                Ok(seen) => return Ok(Created::New(self.created(seen))),
                Err(CreateError::Taken(seen)) => {
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
                // What is turned down now may have been taken a moment ago.
                Err(CreateError::Rejected { .. } | CreateError::Unreachable(_)) if doubt.is_some() => {}
                Err(CreateError::Rejected { reason }) => {
                    self.not_created(id);
                    return Err(SubmitError::Rejected { id, reason });
                }
                Err(CreateError::Unreachable(cause)) => {
                    self.not_created(id);
                    return Err(SubmitError::Unreachable { id, cause });
                }
            }
            if began.elapsed() + pause >= self.settings.create_budget {
                break;
            }
            tokio::time::sleep(pause).await;
            // The watch may have told meanwhile; it may even have seen the end of it, and then it must not be made again.
            let told = self.state().jobs.get(id).cloned();
            if let Some(record) = told {
                return Ok(Created::New(self.created(record.seen.clone())));
            }
        }
        let cause = doubt.unwrap_or_else(|| Unavailable::new("no answer"));
        tracing::warn!(job = %id, %cause, "whether the job was created is not known; looking for it");
        self.begin_search(order, turn);
        Err(SubmitError::Uncertain { id, cause })
    }

    /// Goes on looking for a job of which nobody knows whether it was created; nothing is sent any more.
    pub(super) fn begin_search(self: Arc<Self>, order: Arc<Order>, turn: u64) {
        match self.state().creations.get_mut(&order.id) {
            Some(creation) if creation.turn == turn => creation.stage = Stage::Searching,
            _ => return,
        }
        tokio::spawn(self.search(order, turn, monotonic()));
    }

    /// Looks for a job whose creation was not answered, until it is there or cannot come any more.
    async fn search(self: Arc<Self>, order: Arc<Order>, turn: u64, last_sent: Instant) {
        let (id, job) = (order.id, order.job());
        for pause in self.settings.backoff() {
            tokio::time::sleep(pause).await;
            if !self.is_searched_for(id, turn) {
                return;
            }
            let is_too_late = last_sent.elapsed() >= self.settings.request_lifetime;
            let found = self.backend.find(&job).await;
            if !self.is_searched_for(id, turn) {
                return;
            }
            match found {
                Ok(Some(seen)) => {
                    tracing::info!(job = %id, "the job was created after all");
                    self.created(seen);
                    return;
                }
                Ok(None) if is_too_late => {
                    tracing::info!(job = %id, "the job was not created");
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

    /// The job is there: it holds what it was given, unless the watch has seen the end of it already.
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
            // The watch is ahead: what it has told is newer than the answer.
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
            // It was seen before it was undone: the watch will tell when it is gone.
            tracing::debug!(job = %id, %error, "a job that was undone still runs");
        }
    }
}

/// The runtime's clock, which does not jump when the machine's is set, and which tests can pause.
#[expect(clippy::disallowed_methods, reason = "only how long something takes is measured by it")]
pub(super) fn monotonic() -> Instant {
    Instant::now()
}
