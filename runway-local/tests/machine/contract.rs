//! Runs the contract test of all backends against the local backend.

use crate::harness::{Harness, script};
use runway_control::backend::Backend;
use runway_core::{JobId, JobSpec, Policy};
use runway_local::LocalBackend;
use runway_testing::contract::{BackendUnderTest, check};
use runway_testing::jobs::unique_id;
use runway_testing::policies;
use std::sync::Arc;

struct LocalBackendUnderTest {
    harness: Harness,
    backend: Option<LocalBackend>,
}

impl LocalBackendUnderTest {
    fn open(harness: &Harness) -> LocalBackend {
        LocalBackend::open(harness.machine.settings().clone()).unwrap()
    }
}

impl BackendUnderTest for LocalBackendUnderTest {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.backend.clone().unwrap())
    }

    fn restart(&mut self) {
        // A state directory has one server at a time, so the first backend must be dropped.
        self.backend = None;
        self.backend = Some(Self::open(&self.harness));
    }

    fn policy(&self) -> Arc<Policy> {
        policies::parse(policies::MACHINE)
    }

    fn job(&self, name: &str) -> JobSpec {
        JobSpec { name: Some(name.into()), ..script("echo begins; sleep 1") }
    }

    fn id(&self) -> JobId {
        unique_id()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn local_backend_passes_the_contract() {
    let harness = Harness::new();
    let backend = Some(LocalBackendUnderTest::open(&harness));
    check(&mut LocalBackendUnderTest { harness, backend }).await;
}
