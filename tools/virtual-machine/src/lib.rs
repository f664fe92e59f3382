//! Runs the tests of `runway-local` with cgroup v2 in a virtual machine, for machines without cgroup v2. The
//! virtual machine runs nothing else.
//!
//! QEMU emulates the CPU, so the host needs no virtualization support. The virtual machine boots in seconds.

mod archive;
mod kernel;

use archive::CpioArchive;
use runway_steps::{
    self as steps, StepError, ToolError, install_packages, search_path, target_dir, workspace_root,
};
use serde_json::Value as Json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Required programs: the Debian package and the name of the program.
const PROGRAMS: [(&str, &str); 2] =
    [("qemu-system-x86", "qemu-system-x86_64"), ("busybox-static", "busybox")];

/// The build target of the tests. They are static, because the virtual machine has no libraries.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Hint if the programs cannot be installed.
const INSTALL_HINT: &str =
    "install them manually on other systems, or run the tests on a machine with cgroup v2";

/// Name filters for the tests. They include only tests whose programs busybox provides. The filter `plain`
/// repeats tests as an unprivileged user with a delegated cgroup.
const TEST_FILTERS: &str = "endings,limits,refusals,restarts,gpus,plain";

/// The beginning of the line that the virtual machine prints last. The exit code of the tests follows.
const RESULT_PREFIX: &str = "runway-tests-ended: ";

/// QEMU's `-icount` option: the clock advances 2 ns per instruction, and jumps to the next timer when the CPU
/// is idle. So times that the tests measure do not depend on the load of the host.
const ICOUNT: &str = "shift=1,sleep=off";

/// Maximum time for one boot and the tests.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// The `/init` script. It creates a root file system that supports `pivot_root`, and starts the second script
/// in it.
const INIT_SCRIPT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /mnt
for folder in proc sys dev tmp run home root usr var var/tmp; do mkdir /mnt/$folder; done
cp -a /bin /etc /main /mnt/
umount /proc
exec switch_root /mnt /main
";

/// The second script. It mounts the file systems, runs the tests and powers off.
const MAIN_SCRIPT: &str = "#!/bin/sh
export PATH=/bin HOME=/root RUST_BACKTRACE=0
export RUNWAY_TEST_SUPERVISOR=/bin/runway-supervisor RUNWAY_TEST_LAUNCHER=/bin/runway-test-launcher
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t cgroup2 cgroup2 /sys/fs/cgroup
chmod 1777 /tmp
/bin/tests $(sed 's/.*tests=\\([^ ]*\\).*/\\1/; s/,/ /g' /proc/cmdline) --test-threads=2
echo \"runway-tests-ended: $?\"
poweroff -f
";

/// Whether the virtual machine is needed: the architecture is x86-64, and this machine has no memory
/// controller in cgroup v2.
#[must_use]
pub fn is_needed() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    cfg!(target_arch = "x86_64") && !controllers.split_whitespace().any(|controller| controller == "memory")
}

/// Runs the tests of `runway-local` in a virtual machine.
///
/// # Errors
/// [`StepError::VirtualMachine`] if the virtual machine cannot be created or does not finish.
/// [`StepError::CommandFailed`] if a test fails.
pub fn run_tests() -> Result<(), StepError> {
    let step = "tests in a virtual machine with cgroup v2";
    eprintln!("\nxtask: {step}");
    let machine = |failure| StepError::VirtualMachine { failure };
    let kernel = kernel::fetch().map_err(machine)?;
    let [tests, supervisor, launcher] = build()?;
    let image = build_initramfs(&tests, &supervisor, &launcher).map_err(machine)?;
    let passed = match boot(&kernel, &image) {
        // On a busy host, the virtual machine sometimes stops while it boots. So the boot is repeated once if
        // the virtual machine prints no result. A failed test is not repeated.
        Err(failure @ ToolError::Timeout { .. }) => {
            eprintln!("xtask: {failure}; restarting the virtual machine");
            boot(&kernel, &image)
        }
        passed => passed,
    };
    let passed = passed.map_err(machine)?;
    if passed { Ok(()) } else { Err(StepError::CommandFailed { step: step.to_owned() }) }
}

/// Builds the tests, the supervisor and the launcher of the tests as static programs. Returns their paths in
/// this order.
fn build() -> Result<[PathBuf; 3], StepError> {
    let step = "building the tests for the virtual machine".to_owned();
    let started = |error| StepError::Io { step: step.clone(), error };
    let mut cargo = steps::cargo_command(&[
        "test",
        "--locked",
        "-p",
        "runway-local",
        "--test",
        "machine",
        "--no-run",
        "--target",
        TARGET,
        "--message-format=json",
    ]);
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").stdout(Stdio::piped());
    let output = cargo.stderr(Stdio::inherit()).output().map_err(started)?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let tests =
        lines.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()).find_map(|message| {
            let is_test_target = message.pointer("/target/name").is_some_and(|name| name == "machine");
            message.get("executable")?.as_str().filter(|_| is_test_target).map(PathBuf::from)
        });
    let program = |name: &str| target_dir().join(TARGET).join("debug").join(name);
    match tests {
        Some(tests) if output.status.success() => {
            Ok([tests, program("runway-supervisor"), program("runway-test-launcher")])
        }
        _ => Err(StepError::CommandFailed { step }),
    }
}

fn build_initramfs(tests: &Path, supervisor: &Path, launcher: &Path) -> Result<PathBuf, ToolError> {
    let busybox = find_or_install_program(PROGRAMS[1])?;
    let mut archive = CpioArchive::default();
    for folder in ["bin", "dev", "etc", "mnt", "proc"] {
        archive.add_dir(folder);
    }
    archive.add_program("init", INIT_SCRIPT.as_bytes());
    archive.add_program("main", MAIN_SCRIPT.as_bytes());
    archive.add_file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
    for (name, file) in [
        ("busybox", busybox.as_path()),
        ("tests", tests),
        ("runway-supervisor", supervisor),
        ("runway-test-launcher", launcher),
    ] {
        let bytes = fs::read(file).map_err(ToolError::io(format!("`{}`", file.display())))?;
        archive.add_program(&format!("bin/{name}"), &bytes);
    }
    let listed = Command::new(&busybox).arg("--list").output().map_err(ToolError::io("busybox"))?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|applet| *applet != "busybox") {
        archive.add_symlink(&format!("bin/{applet}"), "busybox");
    }
    let image = target_dir().join("runway-virtual-machine.cpio");
    fs::write(&image, archive.finish()).map_err(ToolError::io(format!("`{}`", image.display())))?;
    Ok(image)
}

/// Boots the virtual machine and prints the results of the tests. Returns whether all tests passed.
fn boot(kernel: &Path, image: &Path) -> Result<bool, ToolError> {
    let io_error = || ToolError::io("the virtual machine");
    let mut machine = Command::new(find_or_install_program(PROGRAMS[0])?);
    machine
        .args(["-accel", "tcg", "-icount", ICOUNT, "-m", "2048", "-nographic", "-no-reboot", "-kernel"])
        .arg(kernel);
    machine
        .arg("-initrd")
        .arg(image)
        .arg("-append")
        .arg(format!("console=ttyS0 quiet panic=-1 tests={TEST_FILTERS}"));
    let mut machine = machine
        .current_dir(workspace_root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(io_error())?;
    let output = machine.stdout.take();
    let started_at = Instant::now();
    let last = Arc::new(Mutex::new(String::from("no output")));
    let last_line = Arc::clone(&last);
    let reader = std::thread::spawn(move || {
        let mut passed = None;
        for line in BufReader::new(output.into_iter().next()?).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.starts_with("test ") || line.contains("panicked") {
                eprintln!("  {line}");
            }
            passed = line.strip_prefix(RESULT_PREFIX).map(|code| code == "0").or(passed);
            *last_line.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
        passed
    });
    while !reader.is_finished() {
        if started_at.elapsed() > TIMEOUT {
            let _ended_already = machine.kill();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    machine.wait().map_err(io_error())?;
    let what = "the tests in the virtual machine".to_owned();
    let passed = reader.join().ok().flatten();
    let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    passed.ok_or(ToolError::Timeout { what, seconds: TIMEOUT.as_secs(), last })
}

/// Finds a program. Installs its package if it is missing.
fn find_or_install_program((package, name): (&str, &str)) -> Result<PathBuf, ToolError> {
    let find = || {
        let path = search_path();
        path.split(':').map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    install_packages(&[package], &[name.to_owned()], INSTALL_HINT)?;
    find().ok_or_else(|| ToolError::Unsupported {
        what: format!("the package {package} does not contain {name}"),
    })
}
