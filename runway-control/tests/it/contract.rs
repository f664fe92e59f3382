//! Runs the backend contract tests against the fake backend.

use runway_control::Env;
use runway_control::backend::Backend;
use runway_control::fake::{FakeBackend, FakeCluster};
use runway_core::{JobId, JobSpec, Policy};
use runway_testing::contract::{BackendUnderTest, check};
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::jobs::spec;
use runway_testing::policies;
use std::sync::Arc;

struct Fake {
    env: Arc<VirtualEnv>,
    cluster: FakeCluster,
    backend: FakeBackend,
}

impl BackendUnderTest for Fake {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.backend.clone())
    }

    fn restart(&mut self) {
        self.backend.kill();
        self.backend = self.cluster.connect();
    }

    fn policy(&self) -> Arc<Policy> {
        let text = policies::SMALL.replace(
            "  gpu: {max: 4}\n",
            "  gpu: {max: 4}\n  retries: {max: 1}\n  network: [none, internal, open]\n",
        );
        policies::parse(&text)
    }

    fn job(&self, name: &str) -> JobSpec {
        spec("team", name, 0)
    }

    fn id(&self) -> JobId {
        JobId::from_random(self.env.random())
    }
}

#[test]
fn fake_cluster_passes_the_backend_contract() {
    in_virtual_time(async {
        let env = VirtualEnv::new(3);
        let cluster = FakeCluster::new(env.clone());
        let backend = cluster.connect();
        check(&mut Fake { env, cluster, backend }).await;
    });
}
