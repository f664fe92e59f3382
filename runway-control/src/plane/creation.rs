//! Creates an admitted job and tracks the request until its outcome is known.

use super::Inner;
use super::submission::SubmitError;
use crate::backend::{CreateError, CreateRequest, JobSnapshot, Unavailable};
use crate::jobs::JobRecord;
use runway_core::JobId;
use std::sync::Arc;
use tokio::time::Instant;

/// A job whose create request has no known outcome yet.
pub(super) struct PendingCreation {
    /// The create request, including the values of secrets.
    pub request: Arc<CreateRequest>,
    /// Generation of the task that owns this creation. A task with an older generation must stop.
    generation: u64,
    state: CreationState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CreationState {
    /// A task sends the request, retries it, and waits for the response.
    Requesting,
    /// The caller received `Uncertain`. A task polls the backend until the job exists or the request has
    /// expired.
    Polling,
}

/// The result of a create request that succeeded.
pub(super) enum CreateOutcome {
    /// This request created the job.
    Created(Arc<JobRecord>),
    /// The first request of this creation found a job with the same id, tenant and spec. An earlier request,
    /// usually of another process, created that job.
    AlreadyExists(Arc<JobRecord>),
}

impl PendingCreation {
    pub(super) fn new(request: &Arc<CreateRequest>) -> Self {
        Self { request: Arc::clone(request), generation: 0, state: CreationState::Requesting }
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Returns `true` if a task polls for the job and no caller waits for it.
    pub(super) fn is_polling(&self) -> bool {
        self.state == CreationState::Polling
    }

    /// Takes the creation over from the polling task, to send the request again. Returns the new generation,
    /// or `None` if another task is sending the request.
    pub(super) fn resume(&mut self) -> Option<u64> {
        if self.state == CreationState::Requesting {
            return None;
        }
        self.state = CreationState::Requesting;
        self.generation += 1;
        Some(self.generation)
    }
}

impl Inner {
    /// Sends the create request of an admitted job.
    ///
    /// If the job exists, the hold is confirmed. If the job was definitely not created, the hold is released.
    ///
    /// If the outcome of an attempt is unknown, the same request is sent again. All attempts use the same id,
    /// so a later response shows whether an earlier attempt created the job. If the outcome is still unknown
    /// when `create_timeout` allows no further attempt, the caller receives `Uncertain`. The hold then stays,
    /// and a task polls for the job.
    pub(super) async fn create(
        self: Arc<Self>,
        request: Arc<CreateRequest>,
        generation: u64,
    ) -> Result<CreateOutcome, SubmitError> {
        let id = request.id;
        let started = monotonic_now();
        // A generation above 0 is a resumed creation. An earlier task may have sent its request.
        let mut uncertain_cause =
            (generation > 0).then(|| Unavailable::new("an earlier request got no response"));
        for delay in self.backoff() {
            let sent_at = monotonic_now();
            let response = self.backend.create(&request).await;
            self.observer.on_create_response(sent_at.elapsed());
            let retry_after = match response {
                Ok(snapshot) => return Ok(CreateOutcome::Created(self.on_created(snapshot))),
                Err(CreateError::IdConflict(existing)) => {
                    let digest = request.admitted.spec_digest();
                    if existing.tenant == request.admitted.job().tenant
                        && existing.spec_digest == Some(digest)
                    {
                        let job = self.on_created(*existing);
                        return Ok(if uncertain_cause.is_some() {
                            CreateOutcome::Created(job)
                        } else {
                            CreateOutcome::AlreadyExists(job)
                        });
                    }
                    self.on_not_created(id);
                    let now = self.now();
                    self.state().on_update(*existing, now);
                    return Err(SubmitError::KeyReused { id });
                }
                Err(CreateError::Uncertain(cause)) => {
                    let retry_after = cause.retry_after;
                    uncertain_cause = Some(cause);
                    retry_after
                }
                // The outcome of an earlier attempt is unknown, so it may have created the job, although this
                // attempt failed.
                Err(CreateError::Unavailable(cause)) if uncertain_cause.is_some() => cause.retry_after,
                Err(CreateError::Rejected { .. }) if uncertain_cause.is_some() => None,
                Err(error @ (CreateError::Rejected { .. } | CreateError::Unavailable(_))) => {
                    self.on_not_created(id);
                    return Err(SubmitError::Create { id, error });
                }
            };
            let delay = delay.max(retry_after.unwrap_or_default());
            if started.elapsed() + delay >= self.settings.create_timeout {
                break;
            }
            tokio::time::sleep(delay).await;
            // The watch may have reported the job during the delay, and even its removal. In both cases an
            // earlier attempt created the job, so the request must not be sent again.
            let known = self.state().jobs.get(id).cloned();
            if let Some(record) = known {
                return Ok(CreateOutcome::Created(self.on_created(record.snapshot.clone())));
            }
        }
        let cause = uncertain_cause.unwrap_or_else(|| Unavailable::new("no response"));
        tracing::warn!(job = %id, %cause, "unknown outcome of a create request; polling for the job");
        self.begin_polling(request, generation);
        Err(SubmitError::Create { id, error: CreateError::Uncertain(cause) })
    }

    /// Starts a task that polls for a job whose creation has an unknown outcome. The task does not send the
    /// create request again. Does nothing if the creation is settled or has another generation.
    pub(super) fn begin_polling(self: Arc<Self>, request: Arc<CreateRequest>, generation: u64) {
        match self.state().pending_creations.get_mut(&request.id) {
            Some(creation) if creation.generation == generation => creation.state = CreationState::Polling,
            _ => return,
        }
        tokio::spawn(self.poll(request, generation, monotonic_now()));
    }

    /// Polls for a job whose creation has an unknown outcome.
    ///
    /// The polling ends when the backend finds the job, or when it does not find the job after the create
    /// request has expired. In the second case the hold is released. The polling also ends when the watch
    /// settles the creation, or when a repeated submission resumes it. A failed call never ends the polling.
    async fn poll(self: Arc<Self>, request: Arc<CreateRequest>, generation: u64, last_sent: Instant) {
        let (id, job) = (request.id, request.job_ref());
        for delay in self.backoff() {
            tokio::time::sleep(delay).await;
            if !self.must_poll(id, generation) {
                return;
            }
            let has_expired = last_sent.elapsed() >= self.backend.timing().create_expiry;
            let found = self.backend.find(&job).await;
            if !self.must_poll(id, generation) {
                return;
            }
            match found {
                Ok(Some(snapshot)) => {
                    tracing::info!(job = %id, "job found after a lost create response");
                    self.on_created(snapshot);
                    return;
                }
                Ok(None) if has_expired => {
                    tracing::info!(job = %id, "job not created; its create request has expired");
                    self.on_not_created(id);
                    return;
                }
                Ok(None) | Err(_) => {}
            }
        }
    }

    fn must_poll(&self, id: JobId, generation: u64) -> bool {
        let state = self.state();
        state
            .pending_creations
            .get(&id)
            .is_some_and(|c| c.generation == generation && c.state == CreationState::Polling)
    }

    /// Records that the job exists, and ends its pending creation.
    ///
    /// Confirms the hold, unless the watch has already released it. Releases the hold if the job no longer
    /// occupies resources.
    fn on_created(&self, snapshot: JobSnapshot) -> Arc<JobRecord> {
        let now = self.now();
        let mut state = self.state();
        let id = snapshot.id;
        state.pending_creations.remove(&id);
        let is_held = state.gate.confirm(id, snapshot.created_at).is_ok();
        if !snapshot.status.occupies_resources {
            state.gate.release(id);
        }
        match state.jobs.get(id) {
            // The stored record is not older than `snapshot`, or the watch has already released the hold. The
            // stored record then stays.
            Some(record) if record.snapshot.created_at >= snapshot.created_at || !is_held => {
                Arc::clone(record)
            }
            _ => {
                let record = state.jobs.upsert(snapshot, now);
                if !is_held {
                    state.jobs.mark_gone(id, now);
                }
                record
            }
        }
    }

    fn on_not_created(&self, id: JobId) {
        let mut state = self.state();
        state.pending_creations.remove(&id);
        if let Err(error) = state.gate.abort(id) {
            // The watch has reported a job with this id, so the hold is live. The job is rolled back, or it
            // is another job with this id. The watch reports its end later and releases the hold.
            tracing::debug!(job = %id, %error, "rolled-back job still exists");
        }
    }
}

/// Returns the time of the tokio clock. Changes of the system time do not affect this clock, and tests can
/// pause it.
#[expect(clippy::disallowed_methods, reason = "it only measures durations")]
pub(super) fn monotonic_now() -> Instant {
    Instant::now()
}
