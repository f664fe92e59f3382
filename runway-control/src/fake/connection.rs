//! The connection of one simulated process to the fake cluster.

use super::world::FakeCluster;
use super::{Call, CrashPoint, Fault, Response};
use crate::backend::{JobSnapshot, Unavailable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// The time that a simulated process waits for a response. A [`Fault::response_delay`] does not count.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The connection of one simulated process to a [`FakeCluster`]. Clones belong to the same process.
#[derive(Debug, Clone)]
pub struct FakeBackend {
    pub(super) cluster: FakeCluster,
    /// The number of the connection. The first connection of a cluster has the number 1.
    pub(super) connection_id: usize,
    pub(super) alive: Arc<AtomicBool>,
}

impl FakeCluster {
    /// Returns the connection of a new simulated process.
    #[must_use]
    pub fn connect(&self) -> FakeBackend {
        let (cluster, connection_id) = (self.clone(), self.next_connection());
        FakeBackend { cluster, connection_id, alive: Arc::new(AtomicBool::new(true)) }
    }
}

impl FakeBackend {
    /// Kills the simulated process that this connection belongs to.
    ///
    /// Calls that wait for a response, and all later calls except `logs`, never return. The later calls have
    /// no effect on the cluster. A request that was sent before can still arrive.
    pub fn kill(&self) {
        self.alive.store(false, Ordering::SeqCst);
    }

    /// Returns `true` if the simulated process of this connection has not been killed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }

    /// Returns at once while the simulated process is alive. Never returns if it was killed.
    pub(super) async fn halt_if_killed(&self) {
        if !self.is_alive() {
            std::future::pending::<()>().await;
        }
    }

    async fn crash_if(&self, dies: bool) {
        if dies {
            self.kill();
        }
        self.halt_if_killed().await;
    }

    pub(super) async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.halt_if_killed().await;
    }

    /// Simulates a call with a fault. Without a fault, the request arrives, runs `effect` on the cluster, and
    /// the result of `effect` returns as the response.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        fault: Fault,
        effect: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FakeCallError> {
        self.crash_if(fault.crash == Some(CrashPoint::BeforeSending)).await;
        match fault.response {
            Response::Rejected => {
                self.sleep(fault.request_delay + fault.response_delay).await;
                return Err(FakeCallError::Rejected);
            }
            Response::Unreachable => {
                self.sleep(fault.response_delay).await;
                return Err(FakeCallError::Unreachable);
            }
            Response::RequestLost => {
                self.crash_if(fault.crash.is_some()).await;
                self.sleep(TIMEOUT).await;
                return Err(FakeCallError::Lost);
            }
            Response::Delivered | Response::Lost => {}
        }
        let (response_sender, response) = oneshot::channel();
        // A request that was sent arrives even if the process is killed before, so it runs in its own task.
        tokio::spawn(async move {
            tokio::time::sleep(fault.request_delay).await;
            let _ = response_sender.send(effect());
        });
        self.crash_if(fault.crash == Some(CrashPoint::WhileSent)).await;
        if fault.response == Response::Lost {
            self.sleep(TIMEOUT).await;
            return Err(FakeCallError::Lost);
        }
        let Ok(Ok(value)) = tokio::time::timeout(TIMEOUT, response).await else {
            self.halt_if_killed().await;
            return Err(FakeCallError::Lost);
        };
        self.crash_if(fault.crash == Some(CrashPoint::BeforeResponse)).await;
        self.sleep(fault.response_delay).await;
        Ok(value)
    }

    pub(super) async fn snapshot(&self) -> Result<(Vec<JobSnapshot>, usize), Unavailable> {
        let cluster = self.cluster.clone();
        let fault = self.cluster.fault(Call::List);
        Ok(self.call(fault, move || cluster.snapshot()).await?)
    }
}

/// The reason that a simulated call failed.
pub(super) enum FakeCallError {
    Rejected,
    Unreachable,
    Lost,
}

impl From<FakeCallError> for Unavailable {
    fn from(error: FakeCallError) -> Self {
        Self::new(match error {
            FakeCallError::Rejected => "the fake cluster rejected the request",
            FakeCallError::Unreachable => "the fake cluster is unreachable",
            FakeCallError::Lost => "the fake cluster did not respond",
        })
    }
}
