//! Submits a job: looks up the key, calls the gate, and starts the creation.

use super::creation::{CreateOutcome, PendingCreation, monotonic_now};
use super::submission::{SubmitError, Submitted};
use super::{ControlPlane, IdempotencyKey, Inner};
use crate::backend::{CreateError, CreateRequest, Unavailable};
use crate::jobs::JobRecord;
use runway_core::{Decision, JobId, Outcome, Submission};
use std::sync::Arc;

/// The next step of a submission.
enum SubmitPlan {
    Replay(Arc<JobRecord>),
    Create { request: Arc<CreateRequest>, decision: Option<Box<Decision>>, generation: u64 },
}

impl ControlPlane {
    /// Submits a job. With an idempotency key, a repeated submission returns the same job.
    ///
    /// The creation of an admitted job continues even if the caller stops waiting.
    ///
    /// # Errors
    /// [`SubmitError`] if no job was created, or if the outcome is unknown. The variant says which.
    pub async fn submit(
        &self,
        submission: Submission,
        key: Option<&IdempotencyKey>,
    ) -> Result<Submitted, SubmitError> {
        if !self.is_ready() {
            return Err(SubmitError::NotReady);
        }
        let (request, decision, generation) = match self.inner.plan(&submission, key)? {
            SubmitPlan::Replay(job) => return Ok(Submitted::Replayed { job }),
            SubmitPlan::Create { request, decision, generation } => (request, decision, generation),
        };
        let id = request.id;
        let creation = tokio::spawn(Arc::clone(&self.inner).create(Arc::clone(&request), generation));
        match creation.await {
            Ok(Ok(CreateOutcome::Created(job))) => Ok(Submitted::Created { job, decision }),
            Ok(Ok(CreateOutcome::AlreadyExists(job))) => Ok(Submitted::Replayed { job }),
            Ok(Err(error)) => Err(error),
            Err(error) => {
                // The task panicked, or the runtime is shutting down. A request that the task sent can still
                // create the job.
                Arc::clone(&self.inner).begin_polling(request, generation);
                let cause = Unavailable::caused_by("the task that creates the job ended early", error);
                Err(SubmitError::Create { id, error: CreateError::Uncertain(cause) })
            }
        }
    }
}

impl Inner {
    /// Looks up the key, then calls the gate. Both happen under one lock, so only one of two concurrent
    /// submissions with the same key continues.
    fn plan(&self, submission: &Submission, key: Option<&IdempotencyKey>) -> Result<SubmitPlan, SubmitError> {
        let now = self.now();
        let id_from_key = key.and_then(|key| Some(JobId::from_key(&submission.tenant()?, key.as_str())));
        let mut state = self.state();
        let id = match id_from_key {
            Some(id) => {
                // A submission with parse violations is incomplete, so it never equals an admitted one.
                let is_same =
                    |digest| submission.parse_violations.is_empty() && submission.spec.digest() == digest;
                if let Some(creation) = state.pending_creations.get_mut(&id) {
                    return if !is_same(creation.request.admitted.spec_digest()) {
                        Err(SubmitError::KeyReused { id })
                    } else if let Some(generation) = creation.resume() {
                        let request = Arc::clone(&creation.request);
                        Ok(SubmitPlan::Create { request, decision: None, generation })
                    } else {
                        Err(SubmitError::InFlight { id })
                    };
                }
                if let Some(job) = state.jobs.get(id) {
                    let is_same = job.snapshot.spec_digest.is_some_and(is_same);
                    let replay = is_same.then(|| SubmitPlan::Replay(Arc::clone(job)));
                    return replay.ok_or(SubmitError::KeyReused { id });
                }
                id
            }
            None => loop {
                let id = JobId::from_random(self.env.random());
                if state.jobs.get(id).is_none() && state.gate.ledger().hold(id).is_none() {
                    break id;
                }
            },
        };
        // The ledger can have a hold with this id although the store has no such job. The gate then returns
        // an error.
        let started = monotonic_now();
        let decision = state.gate.submit(id, submission, now).map_err(|_| SubmitError::InFlight { id })?;
        self.observer.on_decision(started.elapsed());
        let Outcome::Admitted(admitted) = &decision.outcome else {
            return Err(SubmitError::Refused(Box::new(decision)));
        };
        let policy = Arc::clone(state.gate.policy());
        let request = Arc::new(CreateRequest { id, admitted: admitted.clone(), policy });
        let creation = PendingCreation::new(&request);
        let generation = creation.generation();
        state.pending_creations.insert(id, creation);
        Ok(SubmitPlan::Create { request, decision: Some(Box::new(decision)), generation })
    }
}
