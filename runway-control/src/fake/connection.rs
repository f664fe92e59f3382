//! The connection of one process to the cluster.

use super::world::FakeCluster;
use super::{Answer, Call, CrashPoint, Fault, watching};
use crate::backend::{
    Backend, Cancelled, CreateError, JobRef, LogError, LogEvent, LogOptions, LogStream, Observation, Order,
    Unavailable, WatchEvent,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a process waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The connection of one process to a [`FakeCluster`].
#[derive(Debug, Clone)]
pub struct FakeBackend {
    pub(super) cluster: FakeCluster,
    /// Which connection it is.
    number: usize,
    alive: Arc<AtomicBool>,
}

impl FakeBackend {
    pub(super) fn new(cluster: FakeCluster, number: usize) -> Self {
        Self { cluster, number, alive: Arc::new(AtomicBool::new(true)) }
    }

    /// Kills the process: nothing that it does from now on has an effect, and nothing reaches it any more.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }

    /// Whether the process lives.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Nothing happens any more in a process that is dead.
    pub(super) async fn go_on(&self) {
        if !self.is_alive() {
            std::future::pending::<()>().await;
        }
    }

    async fn crash_if(&self, dies: bool) {
        if dies {
            self.kill();
        }
        self.go_on().await;
    }

    pub(super) async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.go_on().await;
    }

    /// A call: the request arrives, has its effect in the cluster, and is answered.
    async fn call<T: Send + 'static>(
        &self,
        fault: Fault,
        effect: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        self.crash_if(fault.crash == Some(CrashPoint::BeforeSending)).await;
        match fault.answer {
            Answer::Rejected => {
                self.sleep(fault.there + fault.back).await;
                return Err(NoAnswer::Rejected);
            }
            Answer::Unreachable => {
                self.sleep(fault.back).await;
                return Err(NoAnswer::Unreachable);
            }
            Answer::NeverArrived => {
                self.crash_if(fault.crash.is_some()).await;
                self.sleep(TIMEOUT).await;
                return Err(NoAnswer::Lost);
            }
            Answer::True | Answer::Lost => {}
        }
        let (answer, answered) = oneshot::channel();
        // What is on its way arrives, whatever becomes of who sent it.
        tokio::spawn(async move {
            tokio::time::sleep(fault.there).await;
            let _ = answer.send(effect());
        });
        self.crash_if(fault.crash == Some(CrashPoint::WhileSent)).await;
        if fault.answer == Answer::Lost {
            self.sleep(TIMEOUT).await;
            return Err(NoAnswer::Lost);
        }
        let Ok(Ok(value)) = tokio::time::timeout(TIMEOUT, answered).await else {
            self.go_on().await;
            return Err(NoAnswer::Lost);
        };
        self.crash_if(fault.crash == Some(CrashPoint::BeforeAnswer)).await;
        self.sleep(fault.back).await;
        Ok(value)
    }

    pub(super) async fn snapshot(&self) -> Result<(Vec<Observation>, usize), Unavailable> {
        let cluster = self.cluster.clone();
        let fault = self.cluster.fault(Call::List);
        Ok(self.call(fault, move || cluster.snapshot()).await?)
    }
}

/// Why a call has no answer.
enum NoAnswer {
    Rejected,
    Unreachable,
    Lost,
}

impl From<NoAnswer> for Unavailable {
    fn from(none: NoAnswer) -> Self {
        Self::new(match none {
            NoAnswer::Rejected => "the fake cluster turned the request down",
            NoAnswer::Unreachable => "the fake cluster cannot be reached",
            NoAnswer::Lost => "the fake cluster did not answer",
        })
    }
}

impl Backend for FakeBackend {
    fn create<'a>(&'a self, order: &'a Order) -> BoxFuture<'a, Result<Observation, CreateError>> {
        async move {
            let (cluster, order, number) = (self.cluster.clone(), order.clone(), self.number);
            let fault = self.cluster.fault(Call::Create(order.id));
            let alive = Arc::clone(&self.alive);
            let sent = cluster.surroundings.now();
            let land = move || cluster.land(&order, (number, !alive.load(Ordering::SeqCst)), sent);
            match self.call(fault, land).await {
                Ok(Ok(seen)) => Ok(seen),
                Ok(Err(there)) => Err(CreateError::Taken(there)),
                Err(NoAnswer::Rejected) => {
                    Err(CreateError::Rejected { reason: "the fake cluster turned it down".to_owned() })
                }
                Err(unreachable @ NoAnswer::Unreachable) => Err(CreateError::Unreachable(unreachable.into())),
                Err(lost @ NoAnswer::Lost) => Err(CreateError::Uncertain(lost.into())),
            }
        }
        .boxed()
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<Observation>, Unavailable>> {
        async move {
            let (cluster, id) = (self.cluster.clone(), job.id);
            let fault = self.cluster.fault(Call::Find(id));
            Ok(self.call(fault, move || cluster.find(id)).await?)
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Observation>, Unavailable>> {
        async move { Ok(self.snapshot().await?.0) }.boxed()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        watching::watch(self)
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Cancelled, Unavailable>> {
        async move {
            let (cluster, id) = (self.cluster.clone(), job.id);
            let fault = self.cluster.fault(Call::Cancel(id));
            Ok(self.call(fault, move || cluster.cancel(id)).await?)
        }
        .boxed()
    }

    /// A job prints a line when it begins and one when it ends; whoever follows it gets the second when it comes.
    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        async move {
            let (cluster, id) = (self.cluster.clone(), job.id);
            let seen = cluster.find(id).ok_or(LogError::Gone)?;
            if seen.status.attempts == 0 && !options.follow {
                return Err(LogError::NotStarted);
            }
            let line = |text: String| Ok(LogEvent::Bytes(Bytes::from(text)));
            let (first, last) =
                (line(format!("{} begins\n", job.name)), line(format!("{} ends\n", job.name)));
            let lines = if options.follow {
                let end = stream::once(async move { cluster.finished(id).await.then_some(last) });
                stream::iter([first]).chain(end.filter_map(futures::future::ready)).boxed()
            } else if seen.status.phase.is_final() {
                let skipped = options.tail.map_or(0, |tail| 2_u32.saturating_sub(tail));
                stream::iter([first, last]).skip(usize::try_from(skipped).unwrap_or(0)).boxed()
            } else {
                stream::iter([first]).take(usize::try_from(options.tail.unwrap_or(1)).unwrap_or(1)).boxed()
            };
            Ok(stream::iter([Ok(LogEvent::Attempt(1))]).chain(lines).boxed())
        }
        .boxed()
    }
}
