//! Tests of GPU assignment: a GPU belongs to one job at a time.

use crate::harness::{Harness, script, wait_finished};
use runway_core::JobSpec;
use runway_core::spec::ResourceSpec;
use runway_core::status::Phase;
use runway_local::StartError;
use runway_testing::delegation::{cgroup_mounts, is_unprivileged_run};
use std::path::PathBuf;
use std::process::Command;

fn with_gpus(count: u64, text: &str) -> JobSpec {
    JobSpec { resources: ResourceSpec { gpu: Some(count.into()), ..ResourceSpec::default() }, ..script(text) }
}

#[test]
fn gpus_are_exclusive_until_the_job_has_ended() {
    let harness = Harness::with_settings(|settings| {
        settings.gpus = vec!["GPU-a".into(), "GPU-b".into(), "GPU-c".into()];
    });
    let print_gpus = "echo $CUDA_VISIBLE_DEVICES; echo $NVIDIA_VISIBLE_DEVICES";
    let two =
        harness.start(with_gpus(2, &format!("{print_gpus}; trap '' TERM; while :; do sleep 0.1; done")));
    assert_eq!(two.gpus(), ["GPU-a", "GPU-b"]);
    let mut reader = two.reader().unwrap();
    let mut output = String::new();
    while output.len() < "GPU-a,GPU-b\n".len() * 2 {
        output.push_str(std::str::from_utf8(&reader.next_blocking().unwrap().unwrap().bytes).unwrap());
    }
    assert_eq!(output, "GPU-a,GPU-b\nGPU-a,GPU-b\n");
    // A machine that is opened again, as in another process, sees the same assignments.
    let reopened = harness.reopen();
    let refused = runway_local::Job::start(
        &reopened,
        &crate::harness::create_request(with_gpus(2, print_gpus)),
        runway_local::Supervision::Detached,
    );
    assert!(matches!(refused, Err(StartError::NotEnoughGpus { free: 1, total: 3, .. })), "{refused:?}");
    assert_eq!(harness.run(with_gpus(1, print_gpus)).stdout, "GPU-c\nGPU-c\n");
    assert_eq!(harness.run(script(print_gpus)).stdout, "\nvoid\n");
    // The job ignores `SIGTERM`. It is being cancelled and still occupies its GPUs.
    two.cancel().unwrap();
    assert!(matches!(
        harness.try_start(with_gpus(2, print_gpus)),
        Err(StartError::NotEnoughGpus { free: 1, .. })
    ));
    two.kill().unwrap();
    assert_eq!(wait_finished(&two).snapshot.status.phase, Phase::Cancelled);
    assert_eq!(harness.run(with_gpus(3, print_gpus)).stdout, "GPU-a,GPU-b,GPU-c\nGPU-a,GPU-b,GPU-c\n");
}

/// A device file that is deleted when this value is dropped.
struct Device(PathBuf);

impl Device {
    /// Creates a device file that works like `/dev/null` (minor number 3) or `/dev/zero` (minor number 5).
    fn new(path: impl Into<PathBuf>, minor: &str) -> Self {
        let path = path.into();
        let mut mknod = Command::new("mknod");
        assert!(mknod.args(["-m", "666"]).arg(&path).args(["c", "1", minor]).status().unwrap().success());
        Self(path)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn job_cannot_create_device_files() {
    let harness = Harness::new();
    let ran = harness
        .run(script("ls /dev; for at in /tmp /dev /dev/shm; do mknod $at/other c 1 5; ls $at/other; done"));
    assert_eq!(ran.stdout, "fd\nfull\nnull\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n");
    assert!(ran.stderr.contains("not permitted"), "{}", ran.stderr);
}

/// Needs root, because only root can create device files.
#[test]
fn device_files_of_other_gpus_are_hidden() {
    if is_unprivileged_run() {
        return;
    }
    let [one, other] = ["1000006", "1000007"];
    let _one = Device::new(format!("/dev/nvidia{one}"), "3");
    let _other = Device::new(format!("/dev/nvidia{other}"), "5");
    // The job sees this directory, but must not be able to open the device file in it.
    let elsewhere = Device::new(format!("/var/runway-test-{}", std::process::id()), "5");
    let harness = Harness::with_settings(|settings| settings.gpus = vec![one.into(), other.into()]);
    let job = harness.start(with_gpus(
        1,
        &format!(
            "cd /dev; ls | grep nvidia; echo x >nvidia{one} && echo opened; head -c 1 nvidia{other} | wc -c; \
             head -c 1 {} | wc -c; sleep 1000",
            elsewhere.0.display()
        ),
    ));
    let (mut reader, mut out, mut err) = (job.reader().unwrap(), String::new(), String::new());
    let lines = |text: &str| text.matches('\n').count();
    while lines(&out) < 4 || lines(&err) < 2 {
        let chunk = reader.next_blocking().unwrap().unwrap();
        let to = if chunk.stream == runway_local::Stream::Stdout { &mut out } else { &mut err };
        to.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
    }
    assert_eq!(out, format!("nvidia{one}\nopened\n0\n0\n"), "{err}");
    assert!(err.contains("No such file") && err.contains("Permission denied"), "{err}");
    // With cgroup version 1, `devices.list` contains the default devices and the assigned ones.
    let group = harness.machine.settings().cgroup_parent.clone().unwrap().join(job.id().as_str());
    let lists =
        cgroup_mounts().into_iter().map(|at| at.join(group.strip_prefix("/").unwrap()).join("devices.list"));
    for list in lists.filter_map(|list| std::fs::read_to_string(list).ok()) {
        let mut lines: Vec<_> = list.lines().collect();
        lines.sort_unstable();
        // The assigned device has the same numbers as `/dev/null`, so it adds no line to the list.
        assert_eq!(lines, ["c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm"]);
    }
    job.kill().unwrap();
    wait_finished(&job);
}
