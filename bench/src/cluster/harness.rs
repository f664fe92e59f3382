//! The setup of a run: a new namespace, the role from `infra/`, and jobs that the gate admits.

use crate::timing::BenchResult;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};
use runway_control::{ControlPlane, Env, Settings, SystemEnv};
use runway_core::policy::PriceOverrides;
use runway_core::{Gate, JobId, JobSpec, Policy, Submission, document, render::render};
use runway_k8s::{Connection, KubernetesBackend, KubernetesSettings, connect};
use serde_json::json;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

/// A policy whose limits no run reaches.
const POLICY: &str = r#"
version: 1
limits:
  cpu: {min: 10m, max: "4", default: 500m}
  memory: {min: 16Mi, max: 8Gi, default: 512Mi}
  ephemeral_storage: {min: 1Mi, max: 20Gi, default: 1Gi}
  gpu: {max: 0}
  timeout: {min: 1s, max: 1h, default: 10m}
  retries: {max: 3, default: 0}
  network: [none, internal]
default_class: cpu_long
classes:
  cpu_long: {timeout: {max: 15m}}
networks: {internal: {cidrs: [10.0.0.0/8]}}
rates: {usd_per_cpu_second: "0.0000112444", usd_per_gb_second: "0.0000012347", usd_per_gpu_second: "0.00069"}
rate_limit: {per_minute: 1000000, burst: 1000000}
quota: {gpus: 0, concurrent_jobs: 1000000}
capacity: {gpus: 0, concurrent_jobs: 1000000, rate_limit: {per_minute: 1000000, burst: 1000000}}
run: {namespace: NAMESPACE}
"#;

const TENANTS: usize = 1_000;

/// The cluster, with the credentials of the administrator and of Runway's user.
pub(crate) struct Cluster {
    admin: Client,
    user: Connection,
}

/// The namespace of one run.
pub(crate) struct BenchNamespace {
    pub(crate) name: String,
    admin: Client,
}

impl Cluster {
    pub(crate) async fn connect() -> BenchResult<Self> {
        let path_from_env =
            |variable| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let admin =
            path_from_env("KUBECONFIG").ok_or("KUBECONFIG is not set: run `cargo xtask bench --cluster`")?;
        let user = path_from_env("RUNWAY_TEST_KUBECONFIG").unwrap_or_else(|| admin.clone());
        let connection = |file| Connection { kubeconfig: Some(file), context: None };
        Ok(Self { admin: connect(&connection(admin)).await?, user: connection(user) })
    }

    /// Returns a client of Runway's user with separate connections.
    pub(crate) async fn client(&self) -> BenchResult<Client> {
        Ok(connect(&self.user).await?)
    }

    pub(crate) async fn create_namespace(&self) -> BenchResult<BenchNamespace> {
        let name = format!("runway-bench-{}", JobId::from_random(SystemEnv.random()));
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
        let text = include_str!("../../../infra/kubernetes/rbac.yaml");
        let role = text.split("---\n").find(|part| part.contains("kind: Role\n")).ok_or("no Role")?;
        let role = document::parse_all(role.as_bytes()).swap_remove(0).map_err(|_| "the role is invalid")?;
        let mut role: Role = serde_json::from_value(role.root.to_json())?;
        role.metadata.namespace = None;
        Api::namespaced(self.admin.clone(), &name).create(&PostParams::default(), &role).await?;
        let binding: RoleBinding = serde_json::from_value(json!({
            "metadata": {"name": "runway"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runway"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "runway"}],
        }))?;
        Api::namespaced(self.admin.clone(), &name).create(&PostParams::default(), &binding).await?;
        self.wait_for_service_account(&name).await?;
        Ok(BenchNamespace { name, admin: self.admin.clone() })
    }

    /// Waits for the namespace's service account. The cluster rejects pods before it exists.
    async fn wait_for_service_account(&self, namespace: &str) -> BenchResult {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), namespace);
        let deadline = Instant::now() + Duration::from_secs(60);
        while accounts.get_opt("default").await?.is_none() {
            if Instant::now() > deadline {
                return Err(format!("{namespace} has no service account after 60 seconds").into());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl BenchNamespace {
    pub(crate) fn policy(&self) -> BenchResult<Arc<Policy>> {
        policy(&self.name)
    }

    /// Returns the administrator's API for the Jobs in the namespace.
    pub(crate) fn jobs_api(&self) -> Api<Job> {
        Api::namespaced(self.admin.clone(), &self.name)
    }

    /// Deletes the namespace and all objects in it.
    pub(crate) async fn delete(self) -> BenchResult {
        let (all, now) = (ListParams::default(), DeleteParams::background());
        self.jobs_api().delete_collection(&now, &all).await?;
        let deadline = Instant::now() + Duration::from_secs(300);
        while !self.jobs_api().list(&ListParams::default().limit(1)).await?.items.is_empty() {
            if Instant::now() > deadline {
                return Err(format!("the jobs of {} still exist after 300 seconds", self.name).into());
            }
            sleep(Duration::from_millis(100)).await;
        }
        // The garbage collector would delete each pod with a separate request.
        Api::<Pod>::namespaced(self.admin.clone(), &self.name).delete_collection(&now, &all).await?;
        Api::<Namespace>::all(self.admin).delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

pub(crate) fn policy(namespace: &str) -> BenchResult<Arc<Policy>> {
    Ok(Arc::new(Policy::parse(policy_text(namespace).as_bytes(), PriceOverrides::default())?))
}

pub(crate) fn policy_text(namespace: &str) -> String {
    POLICY.replace("NAMESPACE", namespace)
}

/// Starts a control plane as in a server. Returns it with the task that runs its watch.
pub(crate) fn start_plane(client: Client, policy: &Arc<Policy>) -> (ControlPlane, JoinHandle<()>) {
    let backend =
        KubernetesBackend::new(client, policy, KubernetesSettings::new(policy), Arc::new(SystemEnv));
    let plane =
        ControlPlane::new(Arc::new(backend), Arc::clone(policy), Arc::new(SystemEnv), Settings::default());
    let watch = tokio::spawn(plane.clone().run());
    (plane, watch)
}

/// Opens one connection per submitter, so that no run includes the cost of connecting.
pub(crate) async fn open_connections(
    client: &Client,
    place: &BenchNamespace,
    connections: usize,
) -> BenchResult {
    let mut calls = JoinSet::new();
    for _ in 0..connections {
        let jobs: Api<Job> = Api::namespaced(client.clone(), &place.name);
        calls.spawn(async move { jobs.list(&ListParams::default().limit(1)).await });
    }
    while let Some(called) = calls.join_next().await {
        called??;
    }
    Ok(())
}

pub(crate) fn submissions(count: usize) -> Vec<Submission> {
    (0..count).map(submission).collect()
}

fn submission(number: usize) -> Submission {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    JobSpec {
        name: Some(format!("embed-docs-{number}")),
        tenant: Some(format!("tenant-{}", number % TENANTS)),
        image: Some("registry.internal/embed:1.8.0".into()),
        command: words(&["python", "/app/embed.py"]),
        args: words(&["--shard", "3"]),
        env: [("LOG_LEVEL", "info"), ("OMP_NUM_THREADS", "2")].map(|(n, v)| (n.into(), v.into())).into(),
        ..JobSpec::default()
    }
    .into()
}

/// Renders the Jobs that Runway creates for these submissions.
pub(crate) fn manifests(count: usize, policy: &Arc<Policy>) -> BenchResult<Vec<Job>> {
    let mut gate = Gate::new(Arc::clone(policy), SystemEnv.hash_seed());
    let rendered = submissions(count).into_iter().map(|submission| {
        let id = JobId::from_random(SystemEnv.random());
        let decision = gate.submit(id, &submission, SystemEnv.now())?;
        let admitted = decision.admitted().ok_or("a job was refused")?;
        Ok(render(admitted, id, policy)?.job)
    });
    rendered.collect()
}
