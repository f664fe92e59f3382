//! A cluster in memory, with faults on demand: for tests of everything that stands on a [`Backend`](crate::Backend).
//!
//! A [`FakeCluster`] outlives the processes that connect to it; a [`FakeBackend`] is the connection of one of them and can be
//! killed, after which nothing that its process does has any effect. What goes wrong, and when, is up to a [`Chaos`].
//! Time is `tokio`'s, so a paused clock makes a history of hours run in milliseconds.

mod backend;
mod connection;
mod watching;
mod world;

pub use connection::FakeBackend;
pub use world::{FakeCluster, FakeJob, Landing};

use runway_core::JobId;
use std::collections::BTreeMap;
use std::time::Duration;

/// Decides what goes wrong.
pub trait Chaos: Send {
    /// What becomes of a call.
    fn call(&mut self, call: Call) -> Fault;
    /// What becomes of an event on its way to a watcher.
    fn event(&mut self) -> EventFault;
    /// How the life of a job goes.
    fn life(&mut self, id: JobId) -> Life;
    /// A job has landed; these are all that there are now.
    fn landed(&mut self, _jobs: &BTreeMap<JobId, FakeJob>) {}
}

/// A call of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// [`Backend::create`](crate::Backend::create).
    Create(JobId),
    /// [`Backend::find`](crate::Backend::find).
    Find(JobId),
    /// [`Backend::list`](crate::Backend::list), or the listing of a watch.
    List,
    /// [`Backend::cancel`](crate::Backend::cancel).
    Cancel(JobId),
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fault {
    /// How long the request is on its way, answered or not.
    pub there: Duration,
    /// How long the answer is on its way.
    pub back: Duration,
    /// What the answer is.
    pub answer: Answer,
    /// When the process that calls dies, if it does.
    pub crash: Option<CrashPoint>,
}

/// What the answer to a call is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answer {
    /// The true one.
    #[default]
    True,
    /// The request has its effect, and the answer is lost.
    Lost,
    /// The request is lost, which looks the same.
    NeverArrived,
    /// The cluster turns it down.
    Rejected,
    /// The cluster cannot be reached, and says so.
    Unreachable,
}

/// When a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before it sends the request.
    BeforeSending,
    /// While the request is on its way: it may land later.
    WhileSent,
    /// After the request had its effect, before the answer.
    BeforeAnswer,
}

/// What becomes of an event on its way to a watcher.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EventFault {
    /// It arrives.
    #[default]
    None,
    /// It arrives late, and all after it.
    Late(Duration),
    /// It arrives twice.
    Twice,
    /// The connection is cut before it; the watch goes on from there.
    Cut,
    /// The connection is cut before it, and the cluster has forgotten where it was: the watch lists again.
    Expired,
}

/// How the life of a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// How long it waits for a node.
    pub waits: Duration,
    /// How long it runs.
    pub runs: Duration,
    /// How long its pod is still there after it has ended.
    pub lingers: Duration,
    /// How long after that it is deleted.
    pub ttl: Duration,
    /// Whether it succeeds.
    pub succeeds: bool,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            waits: Duration::from_secs(1),
            runs: Duration::from_secs(10),
            lingers: Duration::ZERO,
            ttl: Duration::from_secs(300),
            succeeds: true,
        }
    }
}

/// Nothing goes wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Calm;

impl Chaos for Calm {
    fn call(&mut self, _: Call) -> Fault {
        Fault::default()
    }

    fn event(&mut self) -> EventFault {
        EventFault::None
    }

    fn life(&mut self, _: JobId) -> Life {
        Life::default()
    }
}
