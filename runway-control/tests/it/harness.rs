//! A control plane on a fake cluster with scripted faults.

use runway_control::fake::{
    Call, EventFault, FakeBackend, FakeCluster, Fault, FaultPlan, JobTimings, Response,
};
use runway_control::{ControlPlane, IdempotencyKey, Settings};
use runway_core::JobId;
use runway_testing::env::VirtualEnv;
use runway_testing::policies;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Faults in the order in which they happen. When a queue is empty, calls and events have no faults.
#[derive(Clone, Default)]
pub struct ScriptedFaults {
    pub creates: Arc<Mutex<VecDeque<Fault>>>,
    pub finds: Arc<Mutex<VecDeque<Fault>>>,
    pub cancels: Arc<Mutex<VecDeque<Fault>>>,
    pub lists: Arc<Mutex<VecDeque<Fault>>>,
    pub events: Arc<Mutex<VecDeque<EventFault>>>,
    pub timings: Option<JobTimings>,
}

impl FaultPlan for ScriptedFaults {
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

    fn timings(&mut self, _: JobId) -> JobTimings {
        self.timings.unwrap_or_default()
    }
}

pub struct Harness {
    pub faults: ScriptedFaults,
    pub cluster: FakeCluster,
    pub backend: FakeBackend,
    pub plane: ControlPlane,
}

impl Harness {
    pub async fn ready(faults: ScriptedFaults) -> Self {
        Self::with_settings(faults, Settings::default()).await
    }

    pub async fn with_settings(faults: ScriptedFaults, settings: Settings) -> Self {
        let cluster = FakeCluster::with_fault_plan(VirtualEnv::new(1), Box::new(faults.clone()));
        let (backend, plane) = start(&cluster, settings);
        plane.ready().await;
        Self { faults, cluster, backend, plane }
    }

    pub fn held_count(&self) -> usize {
        self.plane.held_job_ids().len()
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

pub async fn sleep_seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

pub fn response_fault(answer: Response) -> Fault {
    Fault { response: answer, ..Fault::default() }
}

pub fn long_running() -> ScriptedFaults {
    ScriptedFaults {
        timings: Some(JobTimings { run_time: Duration::from_secs(3000), ..JobTimings::default() }),
        ..ScriptedFaults::default()
    }
}

pub fn repeated(count: usize, fault: Fault) -> Arc<Mutex<VecDeque<Fault>>> {
    Arc::new(Mutex::new(vec![fault; count].into()))
}
