//! The state of the cluster, which all connections share.

use super::{Call, EventFault, Fault, FaultPlan, NoFaults};
use crate::backend::{CreateRequest, JobSnapshot};
use crate::env::Env;
use runway_core::JobId;
use runway_core::price::AttemptSpan;
use runway_core::status::{Phase, Reason, Status};
use runway_core::units::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// An in-memory cluster. Clones share their state.
#[derive(Clone)]
pub struct FakeCluster {
    world: Arc<Mutex<World>>,
    /// The number of changes so far, for tasks that wait for the next one.
    changes: watch::Sender<usize>,
    pub(super) env: Arc<dyn Env>,
}

/// A job in the cluster.
#[derive(Debug, Clone)]
pub struct FakeJob {
    /// The state that the cluster reports.
    pub snapshot: JobSnapshot,
    /// The number of the connection that created the job.
    pub connection_id: usize,
    /// Whether no running process could have counted the job when the cluster created it. There are two
    /// cases. In the first case, the process that sent the request was killed, and another process had
    /// connected. In the second case, an earlier job with this id was removed after the request was sent.
    pub untracked: bool,
    /// Distinguishes this job from other jobs with the same id.
    incarnation: usize,
}

struct World {
    fault_plan: Box<dyn FaultPlan>,
    jobs: BTreeMap<JobId, FakeJob>,
    log: Vec<Change>,
    created_jobs: Vec<CreatedJob>,
    connections: usize,
}

/// The record of the creation of one job. It remains after the job is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedJob {
    /// The id of the job.
    pub id: JobId,
    /// The time at which its create request was sent.
    pub sent_at: Timestamp,
    /// The time at which the job was created.
    pub created_at: Timestamp,
    /// The time at which the job was removed. `None` if it still exists.
    pub removed_at: Option<Timestamp>,
}

/// One change that watches receive.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Updated(Box<JobSnapshot>),
    Removed(JobId),
}

impl FakeCluster {
    /// Creates a cluster without faults.
    #[must_use]
    pub fn new(env: Arc<dyn Env>) -> Self {
        Self::with_fault_plan(env, Box::new(NoFaults))
    }

    /// Creates a cluster with a fault plan.
    #[must_use]
    pub fn with_fault_plan(env: Arc<dyn Env>, fault_plan: Box<dyn FaultPlan>) -> Self {
        let (jobs, log, created_jobs) = (BTreeMap::new(), Vec::new(), Vec::new());
        let world = World { fault_plan, jobs, log, created_jobs, connections: 0 };
        let (changes, _) = watch::channel(0);
        Self { world: Arc::new(Mutex::new(world)), changes, env }
    }

    /// Returns the number of a new connection.
    pub(super) fn next_connection(&self) -> usize {
        let mut world = self.world();
        world.connections += 1;
        world.connections
    }

    /// Replaces the fault plan.
    pub fn set_fault_plan(&self, fault_plan: Box<dyn FaultPlan>) {
        self.world().fault_plan = fault_plan;
    }

    /// Returns the jobs in the cluster.
    #[must_use]
    pub fn jobs(&self) -> BTreeMap<JobId, FakeJob> {
        self.world().jobs.clone()
    }

    /// Returns the records of all jobs that were ever created, in order.
    #[must_use]
    pub fn created_jobs(&self) -> Vec<CreatedJob> {
        self.world().created_jobs.clone()
    }

    /// Inserts a job that was created without Runway. Its state never changes by itself.
    pub fn insert_job(&self, snapshot: JobSnapshot) {
        let now = self.env.now();
        let mut world = self.world();
        let incarnation = world.created_jobs.len();
        world.created_jobs.push(CreatedJob {
            id: snapshot.id,
            sent_at: now,
            created_at: now,
            removed_at: None,
        });
        world.log.push(Change::Updated(Box::new(snapshot.clone())));
        world.jobs.insert(snapshot.id, FakeJob { snapshot, connection_id: 0, untracked: false, incarnation });
        drop(world);
        self.notify_watchers();
    }

    /// Deletes a job without Runway. The cluster removes the job after `termination_time`, which is the time
    /// that its pod takes to terminate.
    pub fn delete(&self, id: JobId, termination_time: Duration) {
        let Some(incarnation) = self.world().jobs.get(&id).map(|job| job.incarnation) else { return };
        let cluster = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(termination_time).await;
            cluster.remove(id, incarnation);
        });
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fault(&self, call: Call) -> Fault {
        self.world().fault_plan.call(call)
    }

    pub(super) fn event_fault(&self) -> EventFault {
        self.world().fault_plan.event()
    }

    /// Returns all jobs and the number of changes so far.
    pub(super) fn snapshot(&self) -> (Vec<JobSnapshot>, usize) {
        let world = self.world();
        (world.jobs.values().map(|job| job.snapshot.clone()).collect(), world.log.len())
    }

    pub(super) fn find(&self, id: JobId) -> Option<JobSnapshot> {
        self.world().jobs.get(&id).map(|job| job.snapshot.clone())
    }

    /// Waits until a job is finished. Returns `false` if the job was removed before.
    pub(super) async fn finished(&self, id: JobId) -> bool {
        let mut changes = self.changes.subscribe();
        loop {
            match self.find(id) {
                None => return false,
                Some(seen) if seen.status.phase.is_final() => return true,
                Some(_) => {}
            }
            if changes.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits for the change with this number and returns it.
    pub(super) async fn change(&self, number: usize) -> Option<Change> {
        let mut changes = self.changes.subscribe();
        changes.wait_for(|count| *count > number).await.ok()?;
        self.world().log.get(number).cloned()
    }

    /// Applies a create request. Returns the existing job as an error if there is one with this id.
    pub(super) fn apply_create(
        &self,
        request: &CreateRequest,
        (connection_id, is_killed): (usize, bool),
        sent_at: Timestamp,
    ) -> Result<JobSnapshot, Box<JobSnapshot>> {
        let now = self.env.now();
        let mut world = self.world();
        if let Some(job) = world.jobs.get(&request.id) {
            return Err(Box::new(job.snapshot.clone()));
        }
        let snapshot = JobSnapshot::initial(request, now);
        let incarnation = world.created_jobs.len();
        let was_removed_after_send =
            |created: &CreatedJob| created.id == request.id && created.removed_at >= Some(sent_at);
        let untracked = (is_killed && world.connections > connection_id)
            || world.created_jobs.iter().any(was_removed_after_send);
        world.jobs.insert(
            request.id,
            FakeJob { snapshot: snapshot.clone(), connection_id, untracked, incarnation },
        );
        world.created_jobs.push(CreatedJob { id: request.id, sent_at, created_at: now, removed_at: None });
        world.log.push(Change::Updated(Box::new(snapshot.clone())));
        let World { fault_plan, jobs, .. } = &mut *world;
        fault_plan.on_created(jobs);
        let timings = fault_plan.timings(request.id);
        drop(world);
        self.notify_watchers();
        tokio::spawn(self.clone().run_job(request.id, incarnation, timings));
        Ok(snapshot)
    }

    async fn run_job(self, id: JobId, incarnation: usize, timings: super::JobTimings) {
        tokio::time::sleep(timings.queue_time).await;
        let now = self.env.now();
        self.update(id, incarnation, |status| {
            status.phase = Phase::Running;
            status.message = "runs".to_owned();
            status.attempts = 1;
            status.started_at = Some(now);
            status.attempt_spans = vec![AttemptSpan { scheduled: now, ended: None }];
        });
        tokio::time::sleep(timings.run_time).await;
        let now = self.env.now();
        self.update(id, incarnation, |status| {
            status.phase = if timings.succeeds { Phase::Succeeded } else { Phase::Failed };
            status.reason = (!timings.succeeds).then_some(Reason::NonZeroExit);
            status.exit_code = Some(i32::from(!timings.succeeds));
            status.message = format!("ended with exit code {}", i32::from(!timings.succeeds));
            status.finished_at = Some(now);
            status.attempt_spans.iter_mut().for_each(|run| run.ended = Some(now));
            status.occupies_resources = timings.termination_time > Duration::ZERO;
        });
        tokio::time::sleep(timings.termination_time).await;
        self.update(id, incarnation, |status| status.occupies_resources = false);
        tokio::time::sleep(timings.ttl).await;
        self.remove(id, incarnation);
    }

    fn update(&self, id: JobId, incarnation: usize, change: impl FnOnce(&mut Status)) {
        let mut world = self.world();
        let World { jobs, log, .. } = &mut *world;
        let Some(job) = jobs.get_mut(&id).filter(|job| job.incarnation == incarnation) else { return };
        let before = job.snapshot.status.clone();
        // The status of a cancelled job no longer changes.
        if before.phase != Phase::Cancelled {
            change(&mut job.snapshot.status);
        }
        if job.snapshot.status != before {
            log.push(Change::Updated(Box::new(job.snapshot.clone())));
        }
        drop(world);
        self.notify_watchers();
    }

    /// Marks a job as cancelled. Removes it after its grace period.
    pub(super) fn cancel(&self, id: JobId) -> crate::backend::CancelOutcome {
        use crate::backend::CancelOutcome;
        let Some(job) = self.world().jobs.get(&id).cloned() else { return CancelOutcome::NotFound };
        match job.snapshot.status.phase {
            Phase::Cancelled => return CancelOutcome::Started,
            phase if phase.is_final() => return CancelOutcome::AlreadyFinished,
            _ => {}
        }
        self.update(id, job.incarnation, |status| status.phase = Phase::Cancelled);
        self.delete(id, Duration::from_secs(job.snapshot.grace.get()));
        CancelOutcome::Started
    }

    fn remove(&self, id: JobId, incarnation: usize) {
        let now = self.env.now();
        let mut world = self.world();
        if world.jobs.get(&id).is_some_and(|job| job.incarnation == incarnation) {
            world.jobs.remove(&id);
            world.log.push(Change::Removed(id));
            if let Some(created) = world.created_jobs.get_mut(incarnation) {
                created.removed_at = Some(now);
            }
        }
        drop(world);
        self.notify_watchers();
    }

    fn notify_watchers(&self) {
        let count = self.world().log.len();
        self.changes.send_replace(count);
    }
}

impl fmt::Debug for FakeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeCluster").field("jobs", &self.world().jobs.len()).finish_non_exhaustive()
    }
}
