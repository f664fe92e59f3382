//! A submission from its key to its answer.

use super::creation::{Created, Creation, monotonic};
use super::submission::{SubmitError, Submitted};
use super::{ControlPlane, IdempotencyKey, Inner};
use crate::backend::{CreateError, Order, Unavailable};
use crate::jobs::JobRecord;
use runway_core::{Decision, JobId, Outcome, Submission};
use std::sync::Arc;

/// What is to be done about a submission.
enum Plan {
    Replay(Arc<JobRecord>),
    Create { order: Arc<Order>, decision: Option<Box<Decision>>, turn: u64 },
}

impl ControlPlane {
    /// Submits a job. With a key, the same submission again returns the same job.
    ///
    /// What has been admitted is seen through to its end even if the caller stops waiting for it.
    ///
    /// # Errors
    /// [`SubmitError`], which says whether a job may have been made.
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
                // It panicked, or the runtime ends. What it had sent may still land.
                Arc::clone(&self.inner).begin_search(order, turn);
                let cause = Unavailable::caused_by("the task that was to create it has ended", error);
                Err(SubmitError::Create { id, error: CreateError::Uncertain(cause) })
            }
        }
    }
}

impl Inner {
    /// Looks the key up, then asks the gate: all under one lock, so that of two equal requests one is first.
    fn plan(&self, submission: &Submission, key: Option<&IdempotencyKey>) -> Result<Plan, SubmitError> {
        let now = self.now();
        let keyed = key.and_then(|key| Some(JobId::from_key(&submission.tenant()?, key.as_str())));
        let mut state = self.state();
        let id = match keyed {
            Some(id) => {
                // What could not be read of it makes it another body than any that was admitted.
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
        // A hold without a job that is known: seen, but not yet told of.
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
