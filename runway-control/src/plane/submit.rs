//! Submits a job: looks up the key, calls the gate, and starts the creation.

use super::creation::{CreateOutcome, PendingCreation, monotonic_now};
use super::submission::{SubmitError, Submitted};
use super::{ControlPlane, IdempotencyKey, Inner};
use crate::backend::{CreateError, CreateRequest, Unavailable};
use crate::jobs::JobRecord;
use futures::FutureExt;
use runway_core::{Decision, JobId, Outcome, Submission};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// The next step of a submission.
pub(crate) enum SubmitPlan {
    /// An earlier submission with the same key created the job.
    Replay(Arc<JobRecord>),
    /// The job must be created.
    Create(Creation),
}

/// The creation of an admitted job. The hold is reserved, so the caller must run it.
#[must_use]
pub(crate) struct Creation {
    inner: Arc<Inner>,
    request: Arc<CreateRequest>,
    /// The decision that admitted the job. `None` if an earlier submission with the same key was admitted.
    decision: Option<Box<Decision>>,
    generation: u64,
}

/// Records a creation. The task that creates the job calls both methods, whether or not a caller still waits.
pub(crate) trait CreationRecorder: Send + 'static {
    /// The creation of an admitted job begins. `decision` is `None` if an earlier submission with the same key
    /// was admitted.
    fn on_start(&mut self, id: JobId, decision: Option<&Decision>);

    /// The creation ended.
    fn on_end(self, id: JobId, result: &Result<Submitted, SubmitError>);
}

/// Records nothing.
impl CreationRecorder for () {
    fn on_start(&mut self, _: JobId, _: Option<&Decision>) {}

    fn on_end(self, _: JobId, _: &Result<Submitted, SubmitError>) {}
}

impl Creation {
    /// Creates the job in a task, which continues even if the caller stops waiting.
    pub(crate) async fn run(self, mut recorder: impl CreationRecorder) -> Result<Submitted, SubmitError> {
        let Self { inner, request, decision, generation } = self;
        let id = request.id;
        let uncertain = move |cause| SubmitError::Create { id, error: CreateError::Uncertain(cause) };
        let task = tokio::spawn(async move {
            recorder.on_start(id, decision.as_deref());
            let creation = Arc::clone(&inner).create(Arc::clone(&request), generation);
            let result = match AssertUnwindSafe(creation).catch_unwind().await {
                Ok(Ok(CreateOutcome::Created(job))) => Ok(Submitted::Created { job, decision }),
                Ok(Ok(CreateOutcome::AlreadyExists(job))) => Ok(Submitted::Replayed { job }),
                Ok(Err(error)) => Err(error),
                Err(_) => {
                    // A request that was sent before the panic can still create the job.
                    inner.begin_polling(request, generation);
                    Err(uncertain(Unavailable::new("the creation of the job panicked")))
                }
            };
            recorder.on_end(id, &result);
            result
        });
        // The task does not panic, so an error means that the runtime is shutting down.
        task.await.unwrap_or_else(|error| {
            Err(uncertain(Unavailable::caused_by("the task that creates the job ended early", error)))
        })
    }
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
        match self.plan_submission(&submission, key)? {
            SubmitPlan::Replay(job) => Ok(Submitted::Replayed { job }),
            SubmitPlan::Create(creation) => creation.run(()).await,
        }
    }

    /// Looks up the key and calls the gate. Reserves the hold of an admitted job.
    pub(crate) fn plan_submission(
        &self,
        submission: &Submission,
        key: Option<&IdempotencyKey>,
    ) -> Result<SubmitPlan, SubmitError> {
        if !self.is_ready() {
            return Err(SubmitError::NotReady);
        }
        self.inner.plan(submission, key)
    }
}

impl Inner {
    /// Looks up the key, then calls the gate. Both happen under one lock, so only one of two concurrent
    /// submissions with the same key continues.
    fn plan(
        self: &Arc<Self>,
        submission: &Submission,
        key: Option<&IdempotencyKey>,
    ) -> Result<SubmitPlan, SubmitError> {
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
                        let (inner, request) = (Arc::clone(self), Arc::clone(&creation.request));
                        Ok(SubmitPlan::Create(Creation { inner, request, decision: None, generation }))
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
        drop(state);
        let (inner, decision) = (Arc::clone(self), Some(Box::new(decision)));
        Ok(SubmitPlan::Create(Creation { inner, request, decision, generation }))
    }
}
