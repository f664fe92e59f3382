//! Runs the backend contract tests against a real cluster.

use runway_control::SystemEnv;
use runway_control::backend::Backend;
use runway_core::{JobId, JobSpec, Policy};
use runway_k8s::{KubernetesBackend, KubernetesSettings};
use runway_testing::cluster::{self, Harness, shell};
use runway_testing::contract::{BackendUnderTest, check};
use runway_testing::jobs::unique_id;
use std::sync::Arc;

struct Cluster {
    harness: Harness,
    client: kube::Client,
}

impl BackendUnderTest for Cluster {
    fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.harness.backend.clone())
    }

    fn restart(&mut self) {
        let policy = &self.harness.policy;
        let settings = KubernetesSettings::new(policy);
        self.harness.backend =
            KubernetesBackend::new(self.client.clone(), policy, settings, Arc::new(SystemEnv));
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.harness.policy)
    }

    fn job(&self, name: &str) -> JobSpec {
        shell(name, "echo begins; sleep 2")
    }

    fn id(&self) -> JobId {
        unique_id()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_passes_the_backend_contract() {
    let all_networks =
        |policy: String| policy.replace("limits:\n", "limits:\n  network: [none, internal, open]\n");
    let harness = Harness::with_policy("contract", all_networks).await;
    let client = cluster::runway_client().await;
    check(&mut Cluster { harness, client }).await;
}
