//! An in-memory cluster with injected faults, for tests of code that uses a [`Backend`](crate::Backend).
//!
//! A [`FakeCluster`] outlives the simulated processes that connect to it. A [`FakeBackend`] is the connection
//! of one simulated process. A test can kill such a process, and its later calls then have no effect. A
//! [`FaultPlan`] decides which faults happen. All delays use the clock of tokio, so a test with a paused
//! clock simulates hours in milliseconds.

mod backend;
mod connection;
mod watch_stream;
mod world;

pub use connection::FakeBackend;
pub use world::{CreatedJob, FakeCluster, FakeJob};

use runway_core::JobId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Decides which faults the cluster injects.
pub trait FaultPlan: Send {
    /// Returns the fault of a call.
    fn call(&mut self, call: Call) -> Fault;
    /// Returns the fault of an event on its way to a watch.
    fn event(&mut self) -> EventFault;
    /// Returns the timings of a new job.
    fn timings(&mut self, id: JobId) -> JobTimings;
    /// Called after a create request has created a job. `_jobs` are all jobs in the cluster.
    fn on_created(&mut self, _jobs: &BTreeMap<JobId, FakeJob>) {}
}

/// A call of a backend method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A call of [`Backend::create`](crate::Backend::create).
    Create(JobId),
    /// A call of [`Backend::find`](crate::Backend::find).
    Find(JobId),
    /// A call of [`Backend::list`](crate::Backend::list), or the list of a watch.
    List,
    /// A call of [`Backend::cancel`](crate::Backend::cancel).
    Cancel(JobId),
}

/// The fault of a call. The default is no fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fault {
    /// The time that the request takes to arrive.
    pub request_delay: Duration,
    /// The time that the response takes to arrive.
    pub response_delay: Duration,
    /// The kind of response that the caller receives.
    pub response: Response,
    /// The step of the call at which the calling process crashes. `None` if it does not crash.
    pub crash: Option<CrashPoint>,
}

/// The response to a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Response {
    /// The cluster processes the request, and its response arrives.
    #[default]
    Delivered,
    /// The cluster processes the request, but its response is lost.
    Lost,
    /// The request is lost. The caller cannot distinguish this from a lost response.
    RequestLost,
    /// The cluster rejects the request.
    Rejected,
    /// The connection to the cluster fails.
    Unreachable,
}

/// The step of a call at which the calling process crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before it sends the request.
    BeforeSending,
    /// After it sent the request, before the request arrives. The request can still arrive.
    WhileSent,
    /// After the cluster has processed the request, before the response arrives.
    BeforeResponse,
}

/// The fault of an event on its way to a watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventFault {
    /// The event arrives without a fault.
    #[default]
    None,
    /// The event arrives late, and so do all later ones.
    Late(Duration),
    /// The event arrives twice.
    Twice,
    /// The connection is interrupted before the event. The watch resumes with this event.
    Cut,
    /// The connection is interrupted before the event, and the cluster no longer has the watch's position.
    /// The watch relists.
    Expired,
}

/// How long each phase of a job takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobTimings {
    /// The time that the job waits for a node.
    pub queue_time: Duration,
    /// The time that the job runs.
    pub run_time: Duration,
    /// The time that the job's pod takes to terminate after the end of the job.
    pub termination_time: Duration,
    /// The time after the termination until the job is deleted.
    pub ttl: Duration,
    /// Whether the job succeeds.
    pub succeeds: bool,
}

impl Default for JobTimings {
    fn default() -> Self {
        Self {
            queue_time: Duration::from_secs(1),
            run_time: Duration::from_secs(10),
            termination_time: Duration::ZERO,
            ttl: Duration::from_secs(300),
            succeeds: true,
        }
    }
}

/// A plan without faults.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFaults;

impl FaultPlan for NoFaults {
    fn call(&mut self, _: Call) -> Fault {
        Fault::default()
    }

    fn event(&mut self) -> EventFault {
        EventFault::None
    }

    fn timings(&mut self, _: JobId) -> JobTimings {
        JobTimings::default()
    }
}
