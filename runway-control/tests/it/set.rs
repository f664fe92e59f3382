//! A control plane on a fake cluster with scripted faults.

use runway_control::fake::{Answer, Call, Chaos, EventFault, FakeBackend, FakeCluster, Fault, Life};
use runway_control::{ControlPlane, IdempotencyKey, Settings};
use runway_core::JobId;
use runway_testing::env::VirtualEnv;
use runway_testing::policies;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Faults in the order in which they happen. When a queue is empty, calls and events have no faults.
#[derive(Clone, Default)]
pub struct Script {
    pub creates: Arc<Mutex<VecDeque<Fault>>>,
    pub finds: Arc<Mutex<VecDeque<Fault>>>,
    pub cancels: Arc<Mutex<VecDeque<Fault>>>,
    pub lists: Arc<Mutex<VecDeque<Fault>>>,
    pub events: Arc<Mutex<VecDeque<EventFault>>>,
    pub life: Option<Life>,
}

impl Chaos for Script {
    fn call(&mut self, call: Call) -> Fault {
        let faults = match call {
            Call::Create(_) => &self.creates,
            Call::Find(_) => &self.finds,
            Call::Cancel(_) => &self.cancels,
            Call::List => &self.lists,
        };
        faults.lock().unwrap().pop_front().unwrap_or_default()
    }

    fn event(&mut self) -> EventFault {
        self.events.lock().unwrap().pop_front().unwrap_or_default()
    }

    fn life(&mut self, _: JobId) -> Life {
        self.life.unwrap_or_default()
    }
}

pub struct Set {
    pub script: Script,
    pub cluster: FakeCluster,
    pub backend: FakeBackend,
    pub plane: ControlPlane,
}

impl Set {
    pub async fn ready(script: Script) -> Self {
        Self::with(script, Settings::default()).await
    }

    pub async fn with(script: Script, settings: Settings) -> Self {
        let cluster = FakeCluster::with_chaos(VirtualEnv::new(1), Box::new(script.clone()));
        let (backend, plane) = start(&cluster, settings);
        plane.ready().await;
        Self { script, cluster, backend, plane }
    }

    pub fn held(&self) -> usize {
        self.plane.held().len()
    }
}

pub fn start(cluster: &FakeCluster, settings: Settings) -> (FakeBackend, ControlPlane) {
    let backend = cluster.connect();
    let plane = ControlPlane::new(
        Arc::new(backend.clone()),
        policies::parse(policies::SMALL),
        VirtualEnv::new(2),
        settings,
    );
    tokio::spawn(plane.clone().run());
    (backend, plane)
}

pub async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

pub fn answer(answer: Answer) -> Fault {
    Fault { answer, ..Fault::default() }
}

pub fn long() -> Script {
    Script { life: Some(Life { runs: Duration::from_secs(3000), ..Life::default() }), ..Script::default() }
}

pub fn all(faults: usize, fault: Fault) -> Arc<Mutex<VecDeque<Fault>>> {
    Arc::new(Mutex::new(vec![fault; faults].into()))
}
