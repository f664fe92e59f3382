//! Submits a job: looks up the key, calls the gate, and starts the creation.

use super::creation::{Created, Creation, monotonic};
use super::submission::{SubmitError, Submitted};
use super::{ControlPlane, IdempotencyKey, Inner};
use crate::backend::{CreateError, Order, Unavailable};
use crate::jobs::JobRecord;
use runway_core::{Decision, JobId, Outcome, Submission};
use std::sync::Arc;

/// The next step of a submission.
enum Plan {
    Replay(Arc<JobRecord>),
    Create { order: Arc<Order>, decision: Option<Box<Decision>>, turn: u64 },
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
        let (order, decision, turn) = match self.inner.plan(&submission, key)? {
            Plan::Replay(job) => return Ok(Submitted::Replayed { job }),
            Plan::Create { order, decision, turn } => (order, decision, turn),
        };
        let id = order.id;
        let creation = tokio::spawn(Arc::clone(&self.inner).create(Arc::clone(&order), turn));
        match creation.await {
            Ok(Ok(Created::New(job))) => Ok(Submitted::Created { job, decision }),
            Ok(Ok(Created::Before(job))) => Ok(Submitted::Replayed { job }),
            Ok(Err(error)) => Err(error),
            Err(error) => {
                // The task panicked, or the runtime is shutting down. A request that it sent can still create
                // the job.
                Arc::clone(&self.inner).begin_search(order, turn);
                let cause = Unavailable::caused_by("the task that creates the job ended early", error);
                Err(SubmitError::Create { id, error: CreateError::Uncertain(cause) })
            }
        }
    }
}

impl Inner {
    /// Looks up the key, then calls the gate. Both happen under one lock, so only one of two equal concurrent
    /// submissions continues.
    fn plan(&self, submission: &Submission, key: Option<&IdempotencyKey>) -> Result<Plan, SubmitError> {
        let now = self.now();
        let keyed = key.and_then(|key| Some(JobId::from_key(&submission.tenant()?, key.as_str())));
        let mut state = self.state();
        let id = match keyed {
            Some(id) => {
                // A submission with parse violations is incomplete, so it never equals an admitted one.
                let is_same = |digest| submission.faults.is_empty() && submission.spec.digest() == digest;
                if let Some(creation) = state.creations.get_mut(&id) {
                    return if !is_same(creation.order.admitted.spec_digest()) {
                        Err(SubmitError::KeyReused { id })
                    } else if let Some(turn) = creation.resume() {
                        let order = Arc::clone(&creation.order);
                        Ok(Plan::Create { order, decision: None, turn })
                    } else {
                        Err(SubmitError::InFlight { id })
                    };
                }
                if let Some(job) = state.jobs.get(id) {
                    let is_same = job.seen.spec_digest.is_some_and(is_same);
                    let replay = is_same.then(|| Plan::Replay(Arc::clone(job)));
                    return replay.ok_or(SubmitError::KeyReused { id });
                }
                id
            }
            None => loop {
                let id = JobId::from_random(self.surroundings.random());
                if state.jobs.get(id).is_none() && state.gate.ledger().hold(id).is_none() {
                    break id;
                }
            },
        };
        // The ledger can have a hold with this id although the store has no such job. `submit` fails then.
        let began = monotonic();
        let decision = state.gate.submit(id, submission, now).map_err(|_| SubmitError::InFlight { id })?;
        self.observer.decided(began.elapsed());
        let Outcome::Admitted(admitted) = &decision.outcome else {
            return Err(SubmitError::Refused(Box::new(decision)));
        };
        let policy = Arc::clone(state.gate.policy());
        let order = Arc::new(Order { id, admitted: admitted.clone(), policy });
        let creation = Creation::begin(&order);
        let turn = creation.turn();
        state.creations.insert(id, creation);
        Ok(Plan::Create { order, decision: Some(Box::new(decision)), turn })
    }
}
