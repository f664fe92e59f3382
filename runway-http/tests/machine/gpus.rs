//! GPUs of jobs on one machine, over the REST API.

use crate::harness::{Harness, script, with_field};
use serde_json::json;

#[tokio::test]
async fn gpu_stays_assigned_after_a_server_restart() {
    let harness = Harness::new();
    let flags = ["--gpu-devices", "GPU-a,GPU-b,GPU-a"];
    let server = harness.serve(&flags).await;
    let with_gpus = |count: u64, text: &str| with_field(script(text), "resources", json!({"gpu": count}));
    let held = server.submit_admitted(&with_gpus(1, "echo $CUDA_VISIBLE_DEVICES; sleep 1000")).await;
    server.wait_for_output(&held, "GPU-a\n").await;
    server.kill().await;
    let server = harness.serve(&flags).await;
    let other = server.submit_admitted(&with_gpus(1, "echo $NVIDIA_VISIBLE_DEVICES")).await;
    server.wait_until_finished(&other).await;
    assert_eq!(server.logs(&other, "").await, "GPU-b\n");
    // The policy permits 8 GPUs per job. The machine has two, and `held` holds one. A job with two GPUs can
    // run later, so the status is 503. A job with three GPUs can never run, so the status is 422.
    let refused = server.submit(&with_gpus(2, "true"), "").await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "backend-unavailable"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("only 1 of 2 are free"), "{refused:?}");
    let refused = server.submit(&with_gpus(3, "true"), "").await;
    assert_eq!((refused.status, refused.problem().as_str()), (422, "rejected-by-backend"));
    assert_eq!(server.cancel(&held).await, 202);
    server.wait_until_finished(&held).await;
    let both = server.submit_admitted(&with_gpus(2, "echo $CUDA_VISIBLE_DEVICES")).await;
    server.wait_until_finished(&both).await;
    assert_eq!(server.logs(&both, "").await, "GPU-a,GPU-b\n");
}
