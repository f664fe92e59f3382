//! Whole GPUs, each for one job at a time.

use crate::bed::{Bed, ended, script};
use runway_core::JobSpec;
use runway_core::spec::ResourceSpec;
use runway_core::status::Phase;
use runway_local::StartError;

fn with_gpus(count: u64, text: &str) -> JobSpec {
    JobSpec { resources: ResourceSpec { gpu: Some(count.into()), ..ResourceSpec::default() }, ..script(text) }
}

#[test]
fn a_gpu_is_one_jobs_until_nothing_of_it_is_left() {
    let bed = Bed::with(|settings| settings.gpus = vec!["GPU-a".into(), "GPU-b".into(), "GPU-c".into()]);
    let tell = "echo $CUDA_VISIBLE_DEVICES; echo $NVIDIA_VISIBLE_DEVICES";
    let two = bed.start(with_gpus(2, &format!("{tell}; trap '' TERM; while :; do sleep 0.1; done")));
    assert_eq!(two.gpus(), ["GPU-a", "GPU-b"]);
    let mut reader = two.reader().unwrap();
    let mut told = String::new();
    while told.len() < "GPU-a,GPU-b\n".len() * 2 {
        told.push_str(std::str::from_utf8(&reader.next_blocking().unwrap().unwrap().bytes).unwrap());
    }
    assert_eq!(told, "GPU-a,GPU-b\nGPU-a,GPU-b\n");
    // Another process that opens the same folder sees the same.
    let again = bed.again();
    let refused = runway_local::Job::start(
        &again,
        &crate::bed::order(with_gpus(2, tell)),
        runway_local::Supervision::Detached,
    );
    assert!(matches!(refused, Err(StartError::Gpus { free: 1, all: 3, .. })), "{refused:?}");
    assert_eq!(bed.run(with_gpus(1, tell)).out, "GPU-c\nGPU-c\n");
    assert_eq!(bed.run(script(tell)).out, "\nvoid\n");
    // It is being stopped, and has them still.
    two.stop().unwrap();
    assert!(matches!(bed.try_start(with_gpus(2, tell)), Err(StartError::Gpus { free: 1, .. })));
    two.kill().unwrap();
    assert_eq!(ended(&two).seen.status.phase, Phase::Cancelled);
    assert_eq!(bed.run(with_gpus(3, tell)).out, "GPU-a,GPU-b,GPU-c\nGPU-a,GPU-b,GPU-c\n");
}
