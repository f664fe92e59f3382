//! Tests of pending jobs: jobs that wait for resources, and jobs that can never start.

use k8s_openapi::api::batch::v1::Job;
use kube::api::PostParams;
use runway_core::JobSpec;
use runway_core::status::{Phase, Reason};
use runway_testing::cluster::{
    Harness, container, create_forged_job, refer_to_missing_secret, set_gpu_capacity, shell, wait_until,
};

#[tokio::test]
async fn unreachable_image_is_pending_with_image_pull() {
    let harness = Harness::new("no-image").await;
    let spec = JobSpec { image: Some("registry.invalid/none:1".into()), ..shell("train", "true") };
    let job = harness.submit(spec).await;
    let record = harness.wait_for_phase(job, Phase::Pending, Some(Reason::ImagePull)).await;
    harness.wait_for_waiting_reason(job).await;
    harness.capture("image-pull", job).await;
    assert!(
        record.snapshot.status.message.contains("registry.invalid/none:1"),
        "{}",
        record.snapshot.status.message
    );
    assert!(record.snapshot.status.hint.is_some());
    assert_eq!(harness.plane.held_job_ids(), [job], "it keeps its hold until its deadline");
    harness.cancel(job).await;
    harness.wait_until_deleted(job).await;
}

#[tokio::test]
async fn malformed_image_name_is_pending_with_invalid_image() {
    let harness = Harness::new("bad-image").await;
    let name = |job: &mut Job| container(job).image = Some("Registry/UPPER:case".into());
    let job = create_forged_job(&harness, shell("train", "true"), name).await;
    harness.wait_for_phase(job, Phase::Pending, Some(Reason::InvalidImage)).await;
    harness.wait_for_waiting_reason(job).await;
    harness.capture("invalid-image", job).await;
    assert_eq!(harness.plane.held_job_ids(), [job], "the plane adopted the job");
}

#[tokio::test]
async fn missing_secret_is_pending_with_config_error() {
    let harness = Harness::new("bad-config").await;
    let job = create_forged_job(&harness, shell("train", "true"), refer_to_missing_secret).await;
    let record = harness.wait_for_phase(job, Phase::Pending, Some(Reason::ConfigError)).await;
    harness.wait_for_waiting_reason(job).await;
    harness.capture("config-error", job).await;
    assert!(record.snapshot.status.message.contains("nowhere"), "{}", record.snapshot.status.message);
}

#[tokio::test]
async fn oversized_cpu_request_is_unschedulable() {
    let harness = Harness::new("no-cpu").await;
    let mut spec = shell("train", "true");
    spec.resources.cpu = Some("500".into());
    let job = harness.submit(spec).await;
    let record = harness.wait_for_phase(job, Phase::Pending, Some(Reason::Unschedulable)).await;
    harness.capture("unschedulable-cpu", job).await;
    let status = &record.snapshot.status;
    assert!(status.message.contains("cpu"), "{}", status.message);
    assert!(status.hint.as_deref().is_some_and(|hint| hint.contains("cpu")), "{:?}", status.hint);
    harness.cancel(job).await;
    harness.wait_until_deleted(job).await;
}

#[tokio::test]
async fn gpu_quota_is_released_when_the_job_terminates() {
    let harness =
        Harness::with_policy("gpus", |policy| policy.replace("quota: {gpus: 8", "quota: {gpus: 4")).await;
    set_gpu_capacity(&harness.admin, 3).await;
    let gpus = |count: u64, script| {
        let mut spec = shell("train", script);
        spec.resources.gpu = Some(count.into());
        spec
    };
    let first = harness.submit(gpus(3, "sleep 1000")).await;
    harness.wait_for_phase(first, Phase::Running, None).await;
    assert_eq!(harness.submit_refused(gpus(2, "true")).await, ["tenant-gpu-quota"]);
    // The job is within the quota, but the node does not have enough GPUs left.
    let second = harness.submit(gpus(1, "true")).await;
    let record = harness.wait_for_phase(second, Phase::Pending, Some(Reason::Unschedulable)).await;
    harness.capture("unschedulable-gpu", second).await;
    assert!(record.snapshot.status.message.contains("nvidia.com/gpu"), "{}", record.snapshot.status.message);
    assert_eq!(harness.plane.usage("search").held.gpus, 4);
    // When the first job has terminated, the waiting job and a new one can run.
    harness.plane.cancel(first).await.unwrap();
    harness.wait_for_phase(second, Phase::Succeeded, None).await;
    wait_until("the GPUs", async || (harness.plane.usage("search").held.gpus == 0).then_some(())).await;
    let third = harness.submit(gpus(3, "true")).await;
    harness.wait_for_phase(third, Phase::Succeeded, None).await;
}

#[tokio::test]
async fn pods_over_the_resource_quota_are_rejected() {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let harness = Harness::new("rejected").await;
    let quota = serde_json::json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    let quota: ResourceQuota = serde_json::from_value(quota).unwrap();
    let quotas = harness.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    wait_until("the quota", async || {
        quotas.get("none").await.unwrap().status.and_then(|status| status.hard).map(drop)
    })
    .await;
    let job = harness.submit(shell("train", "true")).await;
    let record = harness.wait_for_phase(job, Phase::Pending, Some(Reason::PodsRejected)).await;
    harness.capture("pods-rejected", job).await;
    assert!(record.snapshot.status.message.contains("quota"), "{}", record.snapshot.status.message);
    assert_eq!(harness.plane.held_job_ids(), [job]);
}
