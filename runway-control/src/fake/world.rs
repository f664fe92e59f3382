//! The state of the cluster, which all connections share.

use super::{Call, Calm, Chaos, EventFault, Fault};
use crate::backend::{Observation, Order};
use crate::surroundings::Surroundings;
use runway_core::JobId;
use runway_core::price::Attempt;
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
    pub(super) surroundings: Arc<dyn Surroundings>,
}

/// A job in the cluster.
#[derive(Debug, Clone)]
pub struct FakeJob {
    /// The state that the cluster reports.
    pub seen: Observation,
    /// The number of the connection that created the job.
    pub by: usize,
    /// Whether no running process could have known about the job when it was created. There are two cases.
    /// The connection had been killed, and another process had connected. Or an earlier job with this id was
    /// removed after the request was sent.
    pub late: bool,
    /// Distinguishes this job from other jobs with the same id.
    incarnation: usize,
}

struct World {
    chaos: Box<dyn Chaos>,
    jobs: BTreeMap<JobId, FakeJob>,
    log: Vec<Change>,
    landed: Vec<Landing>,
    connections: usize,
}

/// The record of a job that was created at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Landing {
    /// The id of the job.
    pub id: JobId,
    /// The time at which its create request was sent.
    pub sent: Timestamp,
    /// The time at which the job was created.
    pub at: Timestamp,
    /// The time at which the job was removed. `None` if it still exists.
    pub left: Option<Timestamp>,
}

/// One change that watches receive.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Seen(Box<Observation>),
    Gone(JobId),
}

impl FakeCluster {
    /// Creates a cluster without faults.
    #[must_use]
    pub fn new(surroundings: Arc<dyn Surroundings>) -> Self {
        Self::with_chaos(surroundings, Box::new(Calm))
    }

    /// Creates a cluster with a fault plan.
    #[must_use]
    pub fn with_chaos(surroundings: Arc<dyn Surroundings>, chaos: Box<dyn Chaos>) -> Self {
        let (jobs, log, landed) = (BTreeMap::new(), Vec::new(), Vec::new());
        let world = World { chaos, jobs, log, landed, connections: 0 };
        let (changes, _) = watch::channel(0);
        Self { world: Arc::new(Mutex::new(world)), changes, surroundings }
    }

    /// Returns the number of a new connection.
    pub(super) fn next_connection(&self) -> usize {
        let mut world = self.world();
        world.connections += 1;
        world.connections
    }

    /// Replaces the fault plan.
    pub fn set_chaos(&self, chaos: Box<dyn Chaos>) {
        self.world().chaos = chaos;
    }

    /// Returns the jobs in the cluster.
    #[must_use]
    pub fn jobs(&self) -> BTreeMap<JobId, FakeJob> {
        self.world().jobs.clone()
    }

    /// Returns the records of all jobs that were ever created, in order.
    #[must_use]
    pub fn landed(&self) -> Vec<Landing> {
        self.world().landed.clone()
    }

    /// Inserts a job that was created without Runway. Its state never changes by itself.
    pub fn put(&self, seen: Observation) {
        let now = self.surroundings.now();
        let mut world = self.world();
        let incarnation = world.landed.len();
        world.landed.push(Landing { id: seen.id, sent: now, at: now, left: None });
        world.log.push(Change::Seen(Box::new(seen.clone())));
        world.jobs.insert(seen.id, FakeJob { seen, by: 0, late: false, incarnation });
        drop(world);
        self.tell();
    }

    /// Deletes a job without Runway. Its pod takes some time to terminate.
    pub fn delete(&self, id: JobId, lingers: Duration) {
        let Some(incarnation) = self.world().jobs.get(&id).map(|job| job.incarnation) else { return };
        let cluster = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(lingers).await;
            cluster.remove(id, incarnation);
        });
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fault(&self, call: Call) -> Fault {
        self.world().chaos.call(call)
    }

    pub(super) fn event_fault(&self) -> EventFault {
        self.world().chaos.event()
    }

    /// Returns all jobs and the number of changes so far.
    pub(super) fn snapshot(&self) -> (Vec<Observation>, usize) {
        let world = self.world();
        (world.jobs.values().map(|job| job.seen.clone()).collect(), world.log.len())
    }

    pub(super) fn find(&self, id: JobId) -> Option<Observation> {
        self.world().jobs.get(&id).map(|job| job.seen.clone())
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
    pub(super) fn land(
        &self,
        order: &Order,
        (by, orphaned): (usize, bool),
        sent: Timestamp,
    ) -> Result<Observation, Box<Observation>> {
        let now = self.surroundings.now();
        let mut world = self.world();
        if let Some(job) = world.jobs.get(&order.id) {
            return Err(Box::new(job.seen.clone()));
        }
        let seen = Observation::created(order, now);
        let incarnation = world.landed.len();
        let made_before = |landing: &Landing| landing.id == order.id && landing.left >= Some(sent);
        let late = (orphaned && world.connections > by) || world.landed.iter().any(made_before);
        world.jobs.insert(order.id, FakeJob { seen: seen.clone(), by, late, incarnation });
        world.landed.push(Landing { id: order.id, sent, at: now, left: None });
        world.log.push(Change::Seen(Box::new(seen.clone())));
        let World { chaos, jobs, .. } = &mut *world;
        chaos.landed(jobs);
        let life = chaos.life(order.id);
        drop(world);
        self.tell();
        tokio::spawn(self.clone().live(order.id, incarnation, life));
        Ok(seen)
    }

    async fn live(self, id: JobId, incarnation: usize, life: super::Life) {
        tokio::time::sleep(life.waits).await;
        let now = self.surroundings.now();
        self.update(id, incarnation, |status| {
            status.phase = Phase::Running;
            status.message = "runs".to_owned();
            status.attempts = 1;
            status.started_at = Some(now);
            status.runs = vec![Attempt { scheduled: now, ended: None }];
        });
        tokio::time::sleep(life.runs).await;
        let now = self.surroundings.now();
        self.update(id, incarnation, |status| {
            status.phase = if life.succeeds { Phase::Succeeded } else { Phase::Failed };
            status.reason = (!life.succeeds).then_some(Reason::NonZeroExit);
            status.exit_code = Some(i32::from(!life.succeeds));
            status.message = format!("ended with exit code {}", i32::from(!life.succeeds));
            status.finished_at = Some(now);
            status.runs.iter_mut().for_each(|run| run.ended = Some(now));
            status.holds = life.lingers > Duration::ZERO;
        });
        tokio::time::sleep(life.lingers).await;
        self.update(id, incarnation, |status| status.holds = false);
        tokio::time::sleep(life.ttl).await;
        self.remove(id, incarnation);
    }

    fn update(&self, id: JobId, incarnation: usize, change: impl FnOnce(&mut Status)) {
        let mut world = self.world();
        let World { jobs, log, .. } = &mut *world;
        let Some(job) = jobs.get_mut(&id).filter(|job| job.incarnation == incarnation) else { return };
        let before = job.seen.status.clone();
        // A job that is being deleted does not change.
        if before.phase != Phase::Cancelled {
            change(&mut job.seen.status);
        }
        if job.seen.status != before {
            log.push(Change::Seen(Box::new(job.seen.clone())));
        }
        drop(world);
        self.tell();
    }

    /// Marks a job as cancelled. Removes it after its grace period.
    pub(super) fn cancel(&self, id: JobId) -> crate::backend::Cancelled {
        use crate::backend::Cancelled;
        let Some(job) = self.world().jobs.get(&id).cloned() else { return Cancelled::Gone };
        match job.seen.status.phase {
            Phase::Cancelled => return Cancelled::Begun,
            phase if phase.is_final() => return Cancelled::Finished,
            _ => {}
        }
        self.update(id, job.incarnation, |status| status.phase = Phase::Cancelled);
        self.delete(id, Duration::from_secs(job.seen.grace.get()));
        Cancelled::Begun
    }

    fn remove(&self, id: JobId, incarnation: usize) {
        let now = self.surroundings.now();
        let mut world = self.world();
        if world.jobs.get(&id).is_some_and(|job| job.incarnation == incarnation) {
            world.jobs.remove(&id);
            world.log.push(Change::Gone(id));
            if let Some(landing) = world.landed.get_mut(incarnation) {
                landing.left = Some(now);
            }
        }
        drop(world);
        self.tell();
    }

    fn tell(&self) {
        let count = self.world().log.len();
        self.changes.send_replace(count);
    }
}

impl fmt::Debug for FakeCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeCluster").field("jobs", &self.world().jobs.len()).finish_non_exhaustive()
    }
}
