//! The permissions of Runway, the security profile of pods, and the guardrails of a namespace.

use crate::restricted::assert_restricted;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, LimitRange, Namespace, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use runway_control::System;
use runway_core::guardrails::guardrails;
use runway_core::status::{Phase, Reason, Seen, classify};
use runway_k8s::{KubernetesBackend, KubernetesSettings, NEEDS};
use runway_testing::cluster::{Harness, admin, image, policy, runway, shell, unique, until};
use runway_testing::policies;
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn the_role_grants_what_is_needed_and_nothing_more() {
    let bed = Harness::make("rights").await;
    assert_eq!(bed.backend.missing_rights().await.unwrap(), []);
    let mut granted: Vec<_> = Vec::new();
    for rule in runway_testing::cluster::role().rules.unwrap() {
        for group in rule.api_groups.as_ref().unwrap() {
            for resource in rule.resources.as_ref().unwrap() {
                granted.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
            }
        }
    }
    let mut needed: Vec<_> =
        NEEDS.iter().map(|n| (n.group.to_owned(), n.resource.to_owned(), n.verb.to_owned())).collect();
    granted.sort();
    needed.sort();
    assert_eq!(granted, needed);
}

#[tokio::test]
async fn each_right_that_is_missing_is_told_in_a_sentence() {
    let policy = policy(&unique("nowhere"), |policy| policy);
    let settings = KubernetesSettings::new(&policy);
    let backend = KubernetesBackend::new(runway().await, &policy, settings, Arc::new(System));
    let missing = backend.missing_rights().await.unwrap();
    assert_eq!(missing.len(), NEEDS.len());
    let told = missing[0].to_string();
    assert!(told.starts_with("Runway is not allowed to create jobs.batch in namespace `t-nowhere-"), "{told}");
    assert!(told.ends_with(": jobs cannot be created"), "{told}");
    // Without the permission, a create request is rejected with the reason.
    let order = {
        let mut gate = runway_core::Gate::new(Arc::clone(&policy), runway_core::HashSeed(1, 2));
        let id = runway_core::JobId::from_random(1);
        let now = runway_core::units::Timestamp::from_seconds(1);
        let decision = gate.submit(id, &shell("train", "true").into(), now).unwrap();
        let admitted = decision.admitted().unwrap().clone();
        runway_control::backend::Order { id, admitted, policy: Arc::clone(&policy) }
    };
    use runway_control::backend::{Backend, CreateError};
    let told = backend.create(&order).await;
    assert!(matches!(&told, Err(CreateError::Rejected { reason }) if reason.contains("403")), "{told:?}");
}

#[tokio::test]
async fn the_pod_that_the_cluster_made_is_restricted() {
    let bed = Harness::make("restricted").await;
    let mut spec = shell(
        "train",
        "id -u; touch /no 2>/dev/null || echo read-only; touch $HOME/yes && echo tmp; cat /dev/shm/x 2>/dev/null; ls /var/run/secrets 2>/dev/null; true",
    );
    spec.resources.shm = Some("4Mi".into());
    let job = bed.submit(spec).await;
    bed.comes_to(job, Phase::Succeeded, None).await;
    let mine = ListParams::default().labels(&format!("runway.dev/id={job}"));
    let pods = bed.api::<Pod>().list(&mine).await.unwrap().items;
    assert_eq!(pods.len(), 1);
    assert_restricted(&serde_json::to_value(&pods[0].spec).unwrap());
    let spec = pods[0].spec.as_ref().unwrap();
    assert_eq!(spec.automount_service_account_token, Some(false));
    let resources = spec.containers[0].resources.as_ref().unwrap();
    assert_eq!(resources.requests, resources.limits);
    // The restrictions are in effect inside the pod.
    let mut logs = bed.plane.logs(job, runway_control::backend::LogOptions::default()).await.unwrap();
    let mut text = Vec::new();
    while let Some(event) = futures::StreamExt::next(&mut logs).await {
        if let runway_control::backend::LogEvent::Bytes(bytes) = event.unwrap() {
            text.extend(bytes);
        }
    }
    assert_eq!(String::from_utf8(text).unwrap(), "65532\nread-only\ntmp\n");
}

#[tokio::test]
async fn the_clusters_own_guardrails_hold_what_goes_round_runway() {
    let admin = admin().await;
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
    runway_testing::cluster::grant(&admin, &name).await;
    let quota = rails.quota;
    let quotas: Api<ResourceQuota> = Api::namespaced(admin.clone(), &name);
    quotas
        .patch(quota.metadata.name.as_deref().unwrap(), &by, &apply(serde_json::to_value(&quota).unwrap()))
        .await
        .unwrap();
    let range = rails.range.unwrap();
    let ranges: Api<LimitRange> = Api::namespaced(admin.clone(), &name);
    ranges
        .patch(range.metadata.name.as_deref().unwrap(), &by, &apply(serde_json::to_value(&range).unwrap()))
        .await
        .unwrap();
    for network in &rails.networks {
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
    until("the quota", async || {
        let quota = quotas.get(quota.metadata.name.as_deref().unwrap()).await.unwrap();
        quota.status.and_then(|status| status.hard).map(drop)
    })
    .await;

    // A job that Runway admits fits.
    let bed = Harness::start(name.clone(), admin.clone(), runway().await, policy).await;
    let job = bed.submit(shell("train", "true")).await;
    bed.comes_to(job, Phase::Succeeded, None).await;

    // Jobs that were created without Runway and request too much are blocked.
    let jobs = bed.api::<Job>();
    for (what, amounts) in [
        ("cpu", json!({"cpu": "2", "memory": "16Mi", "ephemeral-storage": "1Mi"})),
        ("memory", json!({"cpu": "10m", "memory": "65Mi", "ephemeral-storage": "1Mi"})),
    ] {
        let smuggled = json!({"metadata": {"name": format!("smuggled-{what}")}, "spec": {"template": {"spec": {"restartPolicy": "Never",
            "containers": [{"name": "c", "image": image(), "resources": {"requests": amounts, "limits": amounts}}]}}}});
        let made =
            jobs.create(&PostParams::default(), &serde_json::from_value(smuggled).unwrap()).await.unwrap();
        let events = bed.api::<Event>();
        let name = made.metadata.name.clone().unwrap();
        let held = until("the job to be held", async || {
            let job = jobs.get(&name).await.unwrap();
            let of_job =
                ListParams::default().fields(&format!("involvedObject.kind=Job,involvedObject.name={name}"));
            let events = events.list(&of_job).await.unwrap().items;
            let status = classify(&Seen { job: Some(&job), events: &events, ..Seen::default() });
            (status.reason == Some(Reason::PodsRejected)).then_some(status)
        })
        .await;
        assert!(held.message.contains(what), "{}", held.message);
    }
}
