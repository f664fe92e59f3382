//! The permissions of Runway, the security profile of pods, and the guardrails of a namespace.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, LimitRange, Namespace, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use runway_control::SystemEnv;
use runway_core::JobId;
use runway_core::guardrails::guardrails;
use runway_core::status::{JobObjects, Phase, Reason, classify};
use runway_k8s::{KubernetesBackend, KubernetesSettings, REQUIRED_PERMISSIONS};
use runway_testing::cluster::{
    Harness, admin_client, image, policy, runway_client, shell, unique, wait_until,
};
use runway_testing::jobs::create_request;
use runway_testing::pods::assert_restricted;
use runway_testing::policies;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn role_grants_exactly_the_required_permissions() {
    let harness = Harness::new("rights").await;
    assert_eq!(harness.backend.missing_permissions().await.unwrap(), []);
    let mut granted: Vec<_> = Vec::new();
    for rule in runway_testing::cluster::role().rules.unwrap() {
        for group in rule.api_groups.as_ref().unwrap() {
            for resource in rule.resources.as_ref().unwrap() {
                granted.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
            }
        }
    }
    let mut needed: Vec<_> = REQUIRED_PERMISSIONS
        .iter()
        .map(|n| (n.group.to_owned(), n.resource.to_owned(), n.verb.to_owned()))
        .collect();
    granted.sort();
    needed.sort();
    assert_eq!(granted, needed);
}

#[tokio::test]
async fn missing_permissions_are_reported_with_consequence() {
    let policy = policy(&unique("nowhere"), |policy| policy);
    let settings = KubernetesSettings::new(&policy);
    let backend = KubernetesBackend::new(runway_client().await, &policy, settings, Arc::new(SystemEnv));
    let missing = backend.missing_permissions().await.unwrap();
    assert_eq!(missing.len(), REQUIRED_PERMISSIONS.len());
    let message = missing[0].to_string();
    assert!(
        message.starts_with("Runway is not allowed to create jobs.batch in namespace `t-nowhere-"),
        "{message}"
    );
    assert!(message.ends_with(": jobs cannot be created"), "{message}");
    // Without the permission, the job is not created. The job is not at fault, so it is not rejected.
    let request = create_request(&policy, JobId::from_random(1), shell("train", "true"));
    use runway_control::backend::{Backend, CreateError};
    let result = backend.create(&request).await;
    assert!(
        matches!(&result, Err(CreateError::Unavailable(cause)) if cause.message.contains("cannot create resource")),
        "{result:?}"
    );
}

#[tokio::test]
async fn pod_meets_the_restricted_profile() {
    let harness = Harness::new("restricted").await;
    let mut spec = shell(
        "train",
        "id -u; touch /no 2>/dev/null || echo read-only; touch /volume/no 2>/dev/null || echo no volume; touch $HOME/yes && echo tmp; cat /dev/shm/x 2>/dev/null; ls /var/run/secrets 2>/dev/null; true",
    );
    spec.resources.shm = Some("4Mi".into());
    let job = harness.submit(spec).await;
    harness.wait_for_phase(job, Phase::Succeeded, None).await;
    let mine = ListParams::default().labels(&format!("runway.dev/id={job}"));
    let pods = harness.api::<Pod>().list(&mine).await.unwrap().items;
    assert_eq!(pods.len(), 1);
    assert_restricted(&serde_json::to_value(&pods[0].spec).unwrap());
    let spec = pods[0].spec.as_ref().unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    let resources = spec.containers[0].resources.as_ref().unwrap();
    assert_eq!(resources.requests, resources.limits);
    // The restrictions are in effect inside the pod.
    let mut logs = harness.plane.logs(job, runway_control::backend::LogOptions::default()).await.unwrap();
    let mut text = Vec::new();
    while let Some(event) = futures::StreamExt::next(&mut logs).await {
        if let runway_control::backend::LogEvent::Bytes(bytes) = event.unwrap() {
            text.extend(bytes);
        }
    }
    assert_eq!(String::from_utf8(text).unwrap(), "65532\nread-only\nno volume\ntmp\n");
}

#[tokio::test]
async fn guardrails_block_jobs_created_without_runway() {
    let admin = admin_client().await;
    let name = unique("guarded");
    let text = policies::in_namespace(&name);
    let text = text
        .replace("max: \"1000\"", "max: \"1\"")
        .replace("memory: {min: 8Mi, max: 8Gi", "memory: {min: 8Mi, max: 64Mi");
    let text = text.replace("concurrent_jobs: 1000", "concurrent_jobs: 2");
    let policy = policies::parse(&text);
    // Applies the guardrails as `runway guardrails` prints them.
    let rails = guardrails(&policy, &[]).unwrap().swap_remove(0);
    let by = PatchParams::apply("test").force();
    let apply = |value: serde_json::Value| Patch::Apply(value);
    Api::<Namespace>::all(admin.clone())
        .patch(&name, &by, &apply(serde_json::to_value(&rails.namespace).unwrap()))
        .await
        .unwrap();
    runway_testing::cluster::grant_role(&admin, &name).await;
    let quota = rails.resource_quota;
    let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &name);
    quotas
        .patch(quota.metadata.name.as_deref().unwrap(), &by, &apply(serde_json::to_value(&quota).unwrap()))
        .await
        .unwrap();
    let range = rails.limit_range.unwrap();
    let ranges: Api<LimitRange> = Api::namespaced(admin.clone(), &name);
    ranges
        .patch(range.metadata.name.as_deref().unwrap(), &by, &apply(serde_json::to_value(&range).unwrap()))
        .await
        .unwrap();
    for network in &rails.network_policies {
        let networks: Api<NetworkPolicy> = Api::namespaced(admin.clone(), &name);
        networks
            .patch(
                network.metadata.name.as_deref().unwrap(),
                &by,
                &apply(serde_json::to_value(network).unwrap()),
            )
            .await
            .unwrap();
    }
    wait_until("the quota", async || {
        let quota = quotas.get(quota.metadata.name.as_deref().unwrap()).await.unwrap();
        quota.status.and_then(|status| status.hard).map(drop)
    })
    .await;

    // The guardrails accept a job that Runway admits.
    let harness = Harness::start(name.clone(), admin.clone(), runway_client().await, policy).await;
    let job = harness.submit(shell("train", "true")).await;
    harness.wait_for_phase(job, Phase::Succeeded, None).await;

    // Jobs that were created without Runway and request too much are blocked.
    let jobs = harness.api::<Job>();
    for (what, amounts) in [
        ("cpu", json!({"cpu": "2", "memory": "16Mi", "ephemeral-storage": "1Mi"})),
        ("memory", json!({"cpu": "10m", "memory": "65Mi", "ephemeral-storage": "1Mi"})),
    ] {
        let smuggled = json!({"metadata": {"name": format!("smuggled-{what}")}, "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": image(), "resources": {"requests": amounts, "limits": amounts}}]}}}});
        let created =
            jobs.create(&PostParams::default(), &serde_json::from_value(smuggled).unwrap()).await.unwrap();
        let events = harness.api::<Event>();
        let name = created.metadata.name.clone().unwrap();
        let held = wait_until("the job to be held", async || {
            let job = jobs.get(&name).await.unwrap();
            let of_job =
                ListParams::default().fields(&format!("involvedObject.kind=Job,involvedObject.name={name}"));
            let events = events.list(&of_job).await.unwrap().items;
            let status = classify(&JobObjects { job: Some(&job), events: &events, ..JobObjects::default() });
            (status.reason == Some(Reason::PodsRejected)).then_some(status)
        })
        .await;
        assert!(held.message.contains(what), "{}", held.message);
    }
}

#[tokio::test]
async fn guardrails_reject_changes_of_runway_jobs() {
    let harness = Harness::new("unchanged").await;
    let rails = guardrails(&harness.policy, &[]).unwrap().swap_remove(0);
    let name = rails.admission_policy.metadata.name.clone().unwrap();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(harness.admin.clone());
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(harness.admin.clone());
    policies.create(&PostParams::default(), &rails.admission_policy).await.unwrap();
    bindings.create(&PostParams::default(), &rails.admission_policy_binding).await.unwrap();

    // A suspended Job that has never started. Kubernetes itself allows most changes of it.
    let jobs = harness.api::<Job>();
    let labels = json!({"app.kubernetes.io/managed-by": "runway"});
    let suspended = |name: &str| {
        json!({"metadata": {"name": name, "labels": labels}, "spec": {
            "suspend": true, "parallelism": 1, "backoffLimit": 0, "activeDeadlineSeconds": 60,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "job", "image": image()}]}},
        }})
    };
    let created = serde_json::from_value(suspended("suspended")).unwrap();
    jobs.create(&PostParams::default(), &created).await.unwrap();
    let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
    let change = async |spec: serde_json::Value| {
        jobs.patch("suspended", &dry_run, &Patch::Merge(json!({ "spec": spec }))).await.err()
    };
    // The API server applies a new admission policy after some seconds.
    wait_until("the admission policy", async || change(json!({"parallelism": 2})).await.map(drop)).await;
    for (spec, message) in [
        (json!({"template": {"spec": {"nodeSelector": {"a": "b"}}}}), "the pod template of a Runway job"),
        (json!({"parallelism": 2}), "the parallelism of a Runway job"),
        (json!({"backoffLimit": 5}), "the retries of a Runway job"),
        (json!({"activeDeadlineSeconds": 3600}), "the deadline of a Runway job"),
    ] {
        let error = change(spec.clone()).await.map(|error| format!("{error:?}")).unwrap_or_default();
        assert!(error.contains(message), "{spec}: {error}");
    }
    assert!(change(json!({"suspend": false})).await.is_none(), "a Job can be resumed");
    let mut foreign = suspended("foreign");
    foreign["spec"]["managedBy"] = "example.com/other".into();
    let foreign = serde_json::from_value(foreign).unwrap();
    let error = jobs.create(&PostParams::default(), &foreign).await.unwrap_err();
    assert!(format!("{error:?}").contains("must not have another controller"), "{error:?}");

    // Runway creates and resumes a job with a secret, and cancels it. No client can suspend it.
    let mut spec = shell("train", "sleep 300");
    spec.secrets.insert("TOKEN".into(), runway_core::spec::Secret::Value("hush".into()));
    let job = harness.submit(spec).await;
    harness.wait_for_phase(job, Phase::Running, None).await;
    let mine = ListParams::default().labels(&format!("runway.dev/id={job}"));
    let running = jobs.list(&mine).await.unwrap().items[0].metadata.name.clone().unwrap();
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    let error = jobs.patch(&running, &dry_run, &suspend).await.unwrap_err();
    assert!(format!("{error:?}").contains("must not be suspended"), "{error:?}");
    harness.plane.cancel(job).await.unwrap();
    harness.wait_until_deleted(job).await;

    bindings.delete(&name, &DeleteParams::default()).await.unwrap();
    policies.delete(&name, &DeleteParams::default()).await.unwrap();
}
