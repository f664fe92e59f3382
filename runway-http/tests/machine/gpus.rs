//! GPUs of jobs on one machine, over the REST API.

use crate::bed::{Bed, script, with};
use serde_json::json;

#[tokio::test]
async fn a_gpu_is_one_jobs_also_for_the_next_server() {
    let bed = Bed::new();
    let flags = ["--gpu-devices", "GPU-a,GPU-b,GPU-a"];
    let server = bed.serve(&flags).await;
    let with_gpus = |count: u64, text: &str| with(script(text), "resources", json!({"gpu": count}));
    let held = server.start(&with_gpus(1, "echo $CUDA_VISIBLE_DEVICES; sleep 1000")).await;
    server.printed(&held, "GPU-a\n").await;
    server.kill().await;
    let server = bed.serve(&flags).await;
    let other = server.start(&with_gpus(1, "echo $NVIDIA_VISIBLE_DEVICES")).await;
    server.ended(&other).await;
    assert_eq!(server.logs(&other, "").await, "GPU-b\n");
    // The policy permits more GPUs than the machine has. A job with two GPUs can run later, and a job with
    // three never.
    let refused = server.submit(&with_gpus(2, "true"), "").await;
    assert_eq!((refused.status, refused.problem().as_str()), (503, "backend-unavailable"));
    assert!(
        refused.json()["detail"].as_str().unwrap().contains("only 1 of 2 are free"),
        "{refused:?}"
    );
    let refused = server.submit(&with_gpus(3, "true"), "").await;
    assert_eq!((refused.status, refused.problem().as_str()), (422, "rejected-by-backend"));
    assert_eq!(server.cancel(&held).await, 202);
    server.ended(&held).await;
    let both = server.start(&with_gpus(2, "echo $CUDA_VISIBLE_DEVICES")).await;
    server.ended(&both).await;
    assert_eq!(server.logs(&both, "").await, "GPU-a,GPU-b\n");
}
