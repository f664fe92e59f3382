//! Jobs that wait, and jobs that will never start.

use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use runway_core::JobSpec;
use runway_core::status::{Phase, Reason};
use runway_testing::cluster::{Harness, container, forge, offer_gpus, refer_to_missing_secret, shell, until};

#[tokio::test]
async fn an_image_that_cannot_be_had() {
    let bed = Harness::make("no-image").await;
    let spec = JobSpec { image: Some("registry.invalid/none:1".into()), ..shell("train", "true") };
    let job = bed.submit(spec).await;
    let record = bed.comes_to(job, Phase::Pending, Some(Reason::ImagePull)).await;
    bed.until_its_pod_waits(job).await;
    bed.capture("image-pull", job).await;
    assert!(record.seen.status.message.contains("registry.invalid/none:1"), "{}", record.seen.status.message);
    assert!(record.seen.status.hint.is_some());
    assert_eq!(bed.plane.held(), [job], "it keeps its hold until its deadline");
    bed.cancel(job).await;
    bed.until_nothing_is_left(job).await;
}

#[tokio::test]
async fn an_image_whose_name_is_none() {
    let bed = Harness::make("bad-image").await;
    let name = |job: &mut Job| container(job).image = Some("Registry/UPPER:case".into());
    let job = forge(&bed, shell("train", "true"), name).await;
    bed.comes_to(job, Phase::Pending, Some(Reason::InvalidImage)).await;
    bed.until_its_pod_waits(job).await;
    bed.capture("invalid-image", job).await;
    assert_eq!(bed.plane.held(), [job], "the plane adopted the job");
}

#[tokio::test]
async fn a_secret_that_is_not_there() {
    let bed = Harness::make("bad-config").await;
    let job = forge(&bed, shell("train", "true"), refer_to_missing_secret).await;
    let record = bed.comes_to(job, Phase::Pending, Some(Reason::ConfigError)).await;
    bed.until_its_pod_waits(job).await;
    bed.capture("config-error", job).await;
    assert!(record.seen.status.message.contains("nowhere"), "{}", record.seen.status.message);
}

#[tokio::test]
async fn more_cores_than_any_node_has() {
    let bed = Harness::make("no-cpu").await;
    let mut spec = shell("train", "true");
    spec.resources.cpu = Some("500".into());
    let job = bed.submit(spec).await;
    let record = bed.comes_to(job, Phase::Pending, Some(Reason::Unschedulable)).await;
    bed.capture("unschedulable-cpu", job).await;
    let status = &record.seen.status;
    assert!(status.message.contains("cpu"), "{}", status.message);
    assert!(status.hint.as_deref().is_some_and(|hint| hint.contains("cpu")), "{:?}", status.hint);
    bed.cancel(job).await;
    bed.until_nothing_is_left(job).await;
}

#[tokio::test]
async fn gpus_are_counted_and_freed() {
    let bed = Harness::with("gpus", |policy| policy.replace("quota: {gpus: 8", "quota: {gpus: 4")).await;
    offer_gpus(&bed.admin, 3).await;
    let gpus = |count: u64, script| {
        let mut spec = shell("train", script);
        spec.resources.gpu = Some(count.into());
        spec
    };
    let first = bed.submit(gpus(3, "sleep 1000")).await;
    bed.comes_to(first, Phase::Running, None).await;
    assert_eq!(bed.refused(gpus(2, "true")).await, ["tenant-gpu-quota"]);
    // The job is within the quota, but the node does not have enough GPUs left.
    let second = bed.submit(gpus(1, "true")).await;
    let record = bed.comes_to(second, Phase::Pending, Some(Reason::Unschedulable)).await;
    bed.capture("unschedulable-gpu", second).await;
    assert!(record.seen.status.message.contains("nvidia.com/gpu"), "{}", record.seen.status.message);
    assert_eq!(bed.plane.usage("search").held.gpus, 4);
    // When the first job has terminated, the waiting job and a new one can run.
    bed.plane.cancel(first).await.unwrap();
    bed.comes_to(second, Phase::Succeeded, None).await;
    until("the GPUs", async || (bed.plane.usage("search").held.gpus == 0).then_some(())).await;
    let third = bed.submit(gpus(3, "true")).await;
    bed.comes_to(third, Phase::Succeeded, None).await;
}

#[tokio::test]
async fn pods_that_the_namespace_does_not_let_in() {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let bed = Harness::make("rejected").await;
    let quota = serde_json::json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
    let quotas = bed.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    until("the quota", async || {
        quotas.get("none").await.unwrap().status.and_then(|status| status.hard).map(drop)
    })
    .await;
    let job = bed.submit(shell("train", "true")).await;
    let record = bed.comes_to(job, Phase::Pending, Some(Reason::PodsRejected)).await;
    bed.capture("pods-rejected", job).await;
    assert!(record.seen.status.message.contains("quota"), "{}", record.seen.status.message);
    assert_eq!(bed.plane.held(), [job]);
}
