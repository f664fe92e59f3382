//! A control plane on a fake cluster with scripted faults.

use runway_control::fake::{FakeBackend, FakeCluster, JobTimings};
use runway_control::{Backend, ControlPlane, Env, IdempotencyKey, Settings};
use runway_core::{JobId, JobSpec};
use runway_testing::env::VirtualEnv;
use runway_testing::faults::ScriptedFaults;
use runway_testing::policies;
use std::sync::Arc;
use std::time::Duration;

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

    /// Submits a job that must be created, and returns its id.
    pub async fn submit(&self, spec: JobSpec) -> JobId {
        self.plane.submit(spec.into(), None).await.unwrap().job().snapshot.id
    }

    pub fn held_count(&self) -> usize {
        self.plane.held_job_ids().len()
    }
}

pub fn start(cluster: &FakeCluster, settings: Settings) -> (FakeBackend, ControlPlane) {
    let backend = cluster.connect();
    let plane = start_on(backend.clone(), VirtualEnv::new(2), settings);
    (backend, plane)
}

/// Starts a control plane with the policy [`policies::SMALL`].
pub fn start_on(backend: impl Backend, env: Arc<dyn Env>, settings: Settings) -> ControlPlane {
    let plane = ControlPlane::new(Arc::new(backend), policies::parse(policies::SMALL), env, settings);
    tokio::spawn(plane.clone().run());
    plane
}

pub async fn sleep_seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub fn key(text: &str) -> IdempotencyKey {
    text.parse().unwrap()
}

pub fn long_running() -> ScriptedFaults {
    let run_time = Duration::from_secs(3000);
    ScriptedFaults::with_timings(JobTimings { run_time, ..JobTimings::default() })
}
