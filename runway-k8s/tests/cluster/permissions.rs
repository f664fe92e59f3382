//! The permissions of Runway, the security profile of pods, and the guardrails of a namespace.

use crate::restricted::assert_restricted;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, LimitRange, Namespace, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use runway_control::SystemEnv;
use runway_core::guardrails::guardrails;
use runway_core::status::{JobObjects, Phase, Reason, classify};
use runway_k8s::{KubernetesBackend, KubernetesSettings, REQUIRED_PERMISSIONS};
use runway_testing::cluster::{
    Harness, admin_client, image, policy, runway_client, shell, unique, wait_until,
};
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
    let request = {
        let mut gate = runway_core::Gate::new(Arc::clone(&policy), runway_core::HashSeed(1, 2));
        let id = runway_core::JobId::from_random(1);
        let now = runway_core::units::Timestamp::from_seconds(1);
        let decision = gate.submit(id, &shell("train", "true").into(), now).unwrap();
        let admitted = decision.admitted().unwrap().clone();
        runway_control::backend::CreateRequest { id, admitted, policy: Arc::clone(&policy) }
    };
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
        "id -u; touch /no 2>/dev/null || echo read-only; touch $HOME/yes && echo tmp; cat /dev/shm/x 2>/dev/null; ls /var/run/secrets 2>/dev/null; true",
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
    assert_eq!(String::from_utf8(text).unwrap(), "65532\nread-only\ntmp\n");
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
