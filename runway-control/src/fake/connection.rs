//! The connection of one process to the cluster.

use super::world::FakeCluster;
use super::{Answer, Call, CrashPoint, Fault};
use crate::backend::{Observation, Unavailable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// The time that a process waits for a response.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The connection of one process to a [`FakeCluster`].
#[derive(Debug, Clone)]
pub struct FakeBackend {
    pub(super) cluster: FakeCluster,
    /// The number of the connection. The first one is 1.
    pub(super) number: usize,
    pub(super) alive: Arc<AtomicBool>,
}

impl FakeCluster {
    /// Connects a new process.
    #[must_use]
    pub fn connect(&self) -> FakeBackend {
        let (cluster, number) = (self.clone(), self.next_connection());
        FakeBackend { cluster, number, alive: Arc::new(AtomicBool::new(true)) }
    }
}

impl FakeBackend {
    /// Kills the process. From then on its calls have no effect, and it receives no responses.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }

    /// Returns `true` if the process has not been killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Never returns if the process was killed.
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

    /// Simulates a call: the request arrives, changes the cluster, and the response returns.
    pub(super) async fn call<T: Send + 'static>(
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
        // A request that was sent arrives, even if its sender is killed.
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

/// The reason that a call has no response.
pub(super) enum NoAnswer {
    Rejected,
    Unreachable,
    Lost,
}

impl From<NoAnswer> for Unavailable {
    fn from(none: NoAnswer) -> Self {
        Self::new(match none {
            NoAnswer::Rejected => "the fake cluster rejected the request",
            NoAnswer::Unreachable => "the fake cluster is unreachable",
            NoAnswer::Lost => "the fake cluster did not respond",
        })
    }
}
