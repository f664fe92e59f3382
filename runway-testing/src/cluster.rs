//! A test harness for a real cluster: it creates a namespace with Runway's role, and runs a control plane for
//! this namespace in the test's process.

use crate::jobs::{create_request, unique_id};
use crate::paths::workspace_root;
use crate::policies;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, Secret};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use runway_control::backend::{Backend, CancelOutcome, CreateRequest};
use runway_control::{ControlPlane, JobRecord, Settings, SubmitError, Submitted, SystemEnv};
use runway_core::render::render;
use runway_core::status::{JobObjects, Phase, Reason, classify};
use runway_core::{JobId, JobSpec, Policy};
use runway_k8s::{Connection, KubernetesBackend, KubernetesSettings, connect};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::time::Duration;

/// Returns the name of an image with the programs of busybox: `RUNWAY_TEST_IMAGE`, or the image of the test
/// cluster. The nodes have this image or can pull it.
#[must_use]
pub fn image() -> String {
    std::env::var("RUNWAY_TEST_IMAGE").unwrap_or_else(|_| "runway.test/busybox:1".to_owned())
}

/// A control plane and its namespace.
pub struct Harness {
    /// The name of the namespace.
    pub namespace: String,
    /// The client with administrator rights.
    pub admin: Client,
    /// The backend of the control plane.
    pub backend: KubernetesBackend,
    /// The control plane.
    pub plane: ControlPlane,
    /// The policy.
    pub policy: Arc<Policy>,
}

fn kubeconfig(variable: &str) -> Option<Connection> {
    Some(Connection { kubeconfig: Some(std::env::var_os(variable)?.into()), context: None })
}

/// Returns a client with administrator rights.
pub async fn admin_client() -> Client {
    let Some(connection) = kubeconfig("KUBECONFIG") else {
        panic!(
            "KUBECONFIG is not set: this test needs a cluster. `cargo xtask test` starts one. To start one by \
             hand, run `cargo xtask cluster up --node` and `eval \"$(cargo xtask cluster env)\"`"
        )
    };
    connect(&connection).await.unwrap()
}

/// Returns a client of the user `runway`, which has only the rights of Runway's role. Without a kubeconfig
/// for this user, the administrator impersonates the user.
pub async fn runway_client() -> Client {
    if let Some(connection) = kubeconfig("RUNWAY_TEST_KUBECONFIG") {
        return connect(&connection).await.unwrap();
    }
    let mut config = kube::Config::infer().await.unwrap();
    config.auth_info.impersonate = Some("runway".to_owned());
    config.default_retry = false;
    Client::try_from(config).unwrap()
}

/// Returns the policy of the cluster tests for a namespace, after `change` has edited the text of the policy.
#[must_use]
pub fn policy(namespace: &str, change: impl FnOnce(String) -> String) -> Arc<Policy> {
    let text = change(policies::in_namespace(namespace));
    policies::parse(&text)
}

/// Returns Runway's role from `infra/kubernetes/rbac.yaml`.
#[must_use]
pub fn role() -> Role {
    let text = std::fs::read_to_string(workspace_root().join("infra/kubernetes/rbac.yaml")).unwrap();
    let role = text.split("---\n").find(|document| document.contains("kind: Role\n")).unwrap();
    let document = runway_core::document::parse_all(role.as_bytes()).swap_remove(0).unwrap();
    serde_json::from_value(document.root.to_json()).unwrap()
}

/// Creates a namespace and grants Runway its role there.
pub async fn create_namespace(admin: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    grant_role(admin, name).await;
}

/// Grants Runway its role in a namespace, and waits until the namespace has a service account.
pub async fn grant_role(admin: &Client, name: &str) {
    let mut role = role();
    role.metadata.namespace = Some(name.to_owned());
    Api::<Role>::namespaced(admin.clone(), name).create(&PostParams::default(), &role).await.unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "runway"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "runway"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "runway"}],
    }))
    .unwrap();
    Api::<RoleBinding>::namespaced(admin.clone(), name)
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    // Pods cannot start before the namespace has its service account.
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(admin.clone(), name);
    wait_until("a service account", async || accounts.get_opt("default").await.unwrap()).await;
}

/// Returns a unique name for a namespace.
#[must_use]
pub fn unique(name: &str) -> String {
    format!("t-{name}-{}", unique_id())
}

/// Limit on each wait of a test. After an outage of the API server, a watch can take two minutes to resume.
pub const TIMEOUT: Duration = Duration::from_secs(300);

/// Polls until `poll` returns a result, and returns this result. Panics after [`TIMEOUT`].
pub async fn wait_until<T>(awaited: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = poll().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {TIMEOUT:?} for {awaited}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl Harness {
    /// Starts a control plane on a new namespace.
    pub async fn new(name: &str) -> Self {
        Self::with_policy(name, |policy| policy).await
    }

    /// Starts a control plane on a new namespace with an edited policy.
    pub async fn with_policy(name: &str, change: impl FnOnce(String) -> String) -> Self {
        let namespace = unique(name);
        let admin = admin_client().await;
        create_namespace(&admin, &namespace).await;
        let policy = policy(&namespace, change);
        Self::start(namespace, admin, runway_client().await, policy).await
    }

    /// Starts another control plane on the same namespace, as after a restart.
    pub async fn restart(&self) -> Self {
        Self::start(
            self.namespace.clone(),
            self.admin.clone(),
            runway_client().await,
            Arc::clone(&self.policy),
        )
        .await
    }

    /// Starts a control plane on an existing namespace.
    pub async fn start(namespace: String, admin: Client, client: Client, policy: Arc<Policy>) -> Self {
        let settings = KubernetesSettings { page_size: 50, ..KubernetesSettings::new(&policy) };
        let backend = KubernetesBackend::new(client, &policy, settings, Arc::new(SystemEnv));
        let shared = Arc::new(backend.clone());
        let plane = ControlPlane::new(shared, Arc::clone(&policy), Arc::new(SystemEnv), Settings::default());
        tokio::spawn(plane.clone().run());
        let ready = tokio::time::timeout(Duration::from_secs(60), plane.ready());
        ready.await.expect("the ledger is rebuilt");
        Self { namespace, admin, backend, plane, policy }
    }

    /// Returns an administrator's API for a kind of object in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// Submits a job that must be created, and returns its id.
    pub async fn submit(&self, spec: JobSpec) -> JobId {
        match self.plane.submit(spec.into(), None).await {
            Ok(Submitted::Created { job, .. }) => job.snapshot.id,
            other => panic!("{other:?}"),
        }
    }

    /// Submits a job that must be refused, and returns the codes of the violations.
    pub async fn submit_refused(&self, spec: JobSpec) -> Vec<&'static str> {
        match self.plane.submit(spec.into(), None).await {
            Err(SubmitError::Refused(decision)) => {
                decision.violations().iter().map(|violation| violation.code.as_str()).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the job's record satisfies a condition.
    pub async fn wait_until(
        &self,
        id: JobId,
        awaited: &str,
        condition: impl Fn(&JobRecord) -> bool,
    ) -> Arc<JobRecord> {
        let poll = async || self.plane.job(id).filter(|record| condition(record));
        let found = tokio::time::timeout(TIMEOUT - Duration::from_secs(10), wait_until(awaited, poll)).await;
        found.unwrap_or_else(|_| panic!("waited for {awaited}: {:#?}", self.plane.job(id)))
    }

    /// Waits until the job has this phase and reason. If the phase is final, also waits until the job
    /// occupies no resources.
    pub async fn wait_for_phase(&self, id: JobId, phase: Phase, reason: Option<Reason>) -> Arc<JobRecord> {
        let what = format!("{phase} {reason:?}");
        let record = self.wait_until(id, &what, |record| {
            let status = &record.snapshot.status;
            status.phase == phase
                && status.reason == reason
                && (!phase.is_final() || !status.occupies_resources)
        });
        let record = record.await;
        self.assert_decoders_agree(&record).await;
        record
    }

    /// Asserts that the backend, which decodes protobuf, finds the same status as a classification of the
    /// same objects in JSON.
    async fn assert_decoders_agree(&self, record: &JobRecord) {
        let selector = ListParams::default().labels(&format!("runway.dev/id={}", record.snapshot.id));
        let list_objects = async || {
            let job = self.api::<Job>().list(&selector).await.unwrap().items.pop();
            (job, self.api::<Pod>().list(&selector).await.unwrap().items)
        };
        let mut before = list_objects().await;
        loop {
            let found = self.backend.find(&record.snapshot.job_ref()).await.unwrap();
            let after = list_objects().await;
            if before == after {
                let (job, pods) = &after;
                let objects = JobObjects { job: job.as_ref(), pods, ..JobObjects::default() };
                let expected = job.is_some().then(|| classify(&objects));
                assert_eq!(found.map(|found| found.status), expected);
                return;
            }
            // The objects changed between the two reads, so compare again.
            before = after;
        }
    }

    /// Waits until the status of the pod contains the reason why its container does not start. An event with
    /// this reason can arrive earlier.
    pub async fn wait_for_waiting_reason(&self, id: JobId) {
        let selector = ListParams::default().labels(&format!("runway.dev/id={id}"));
        wait_until("the waiting state of its pod", async || {
            let pod =
                serde_json::to_value(self.api::<Pod>().list(&selector).await.unwrap().items.pop()).unwrap();
            let reason = pod.pointer("/status/containerStatuses/0/state/waiting/reason")?.as_str()?;
            (reason != "ContainerCreating").then_some(())
        })
        .await;
    }

    /// Cancels a job that has not finished.
    pub async fn cancel(&self, id: JobId) {
        let job = self.plane.job(id).unwrap().snapshot.job_ref();
        assert_eq!(self.backend.cancel(&job).await.unwrap(), CancelOutcome::Started);
    }

    /// Waits until the cluster contains no object of the job, and the control plane has released its hold.
    pub async fn wait_until_deleted(&self, id: JobId) {
        let selector = ListParams::default().labels(&format!("runway.dev/id={id}"));
        wait_until("the deletion of its objects", async || {
            let jobs = self.api::<Job>().list(&selector).await.unwrap().items.len();
            let pods = self.api::<Pod>().list(&selector).await.unwrap().items.len();
            let secrets = self.api::<Secret>().list(&selector).await.unwrap().items.len();
            (jobs + pods + secrets == 0).then_some(())
        })
        .await;
        self.wait_until(id, "the removal of the job", |record| record.gone).await;
        assert!(!self.plane.held_job_ids().contains(&id), "the hold is released");
    }

    /// Saves the objects and events of a job as a fixture in `fixtures/cluster/captured`, if `RUNWAY_CAPTURE`
    /// is set.
    pub async fn capture(&self, name: &str, id: JobId) {
        if std::env::var_os("RUNWAY_CAPTURE").is_none() {
            return;
        }
        let selector = ListParams::default().labels(&format!("runway.dev/id={id}"));
        let mut items: Vec<Json> = Vec::new();
        let mut push = |kind: &str, version: &str, object: Json| {
            let mut object = object;
            object["kind"] = kind.into();
            object["apiVersion"] = version.into();
            if let Some(meta) = object["metadata"].as_object_mut() {
                meta.remove("managedFields");
            }
            items.push(object);
        };
        for job in self.api::<Job>().list(&selector).await.unwrap() {
            push("Job", "batch/v1", serde_json::to_value(job).unwrap());
        }
        for pod in self.api::<Pod>().list(&selector).await.unwrap() {
            push("Pod", "v1", serde_json::to_value(pod).unwrap());
        }
        for event in self.api::<Event>().list(&ListParams::default()).await.unwrap() {
            let object = event.involved_object.name.clone().unwrap_or_default();
            if object.contains(id.as_str()) {
                push("Event", "v1", serde_json::to_value(event).unwrap());
            }
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
        let text = serde_json::to_string_pretty(&list).unwrap().replace(&self.namespace, "runway-jobs");
        let directory = workspace_root().join("fixtures/cluster/captured");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("{name}.json")), text + "\n").unwrap();
    }
}

/// Returns the spec of a job that runs a command.
#[must_use]
pub fn spec(name: &str, command: &[&str]) -> JobSpec {
    JobSpec {
        name: Some(name.into()),
        tenant: Some("search".into()),
        image: Some(image()),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        ..JobSpec::default()
    }
}

/// Returns the spec of a job that runs a shell script.
#[must_use]
pub fn shell(name: &str, script: &str) -> JobSpec {
    spec(name, &["sh", "-c", script])
}

/// Sets the number of GPUs that every node offers.
pub async fn set_gpu_capacity(admin: &Client, count: u32) {
    let nodes: Api<Node> = Api::all(admin.clone());
    for node in nodes.list(&ListParams::default()).await.unwrap() {
        let amounts = json!({"nvidia.com/gpu": count.to_string()});
        let status = json!({"status": {"capacity": amounts, "allocatable": amounts}});
        let name = node.metadata.name.unwrap();
        nodes.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    }
}

/// Renders a Job with Runway's labels, edits it with `change`, and creates it without the control plane. So a
/// test can create a Job that Runway would never create. Waits until the control plane has observed the Job.
pub async fn create_forged_job(harness: &Harness, spec: JobSpec, change: impl FnOnce(&mut Job)) -> JobId {
    let CreateRequest { id, admitted, policy } = create_request(&harness.policy, unique_id(), spec);
    let mut job = render(&admitted, id, &policy).unwrap().job;
    change(&mut job);
    harness.api::<Job>().create(&PostParams::default(), &job).await.unwrap();
    harness.wait_until(id, "the first snapshot of the job", |_| true).await;
    id
}

/// Returns the container of a Job.
pub fn container(job: &mut Job) -> &mut k8s_openapi::api::core::v1::Container {
    &mut job.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0]
}

/// Makes a Job's container refer to a Secret that does not exist.
pub fn refer_to_missing_secret(job: &mut Job) {
    let variable = json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "nowhere", "key": "A"}}});
    container(job).env.get_or_insert_default().push(serde_json::from_value(variable).unwrap());
}
