//! The local backend passes the contract test of all backends.

use crate::bed::{Bed, POLICY, script};
use runway_control::backend::Backend;
use runway_control::{Surroundings, System};
use runway_core::{JobId, JobSpec, Policy};
use runway_local::LocalBackend;
use runway_testing::contract::{BackendUnderTest, check};
use runway_testing::policies;
use std::sync::Arc;

struct Machine {
    bed: Bed,
    backend: Option<LocalBackend>,
}

impl Machine {
    fn open(bed: &Bed) -> LocalBackend {
        LocalBackend::open(bed.machine.settings().clone()).unwrap()
    }
}

impl BackendUnderTest for Machine {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.backend.clone().unwrap())
    }

    fn restart(&mut self) {
        // A state directory has one server at a time, so the first backend must be dropped.
        self.backend = None;
        self.backend = Some(Self::open(&self.bed));
    }

    fn policy(&self) -> Arc<Policy> {
        policies::parse(POLICY)
    }

    fn job(&self, name: &str) -> JobSpec {
        JobSpec { name: Some(name.into()), ..script("echo begins; sleep 1") }
    }

    fn id(&self) -> JobId {
        JobId::from_random(System.random())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_passes_the_contract() {
    let bed = Bed::new();
    let backend = Some(Machine::open(&bed));
    check(&mut Machine { bed, backend }).await;
}
