//! Runs tests with cgroup v2 on a machine whose own limits use cgroup v1: in a virtual machine that runs
//! nothing else.
//!
//! The CPU is emulated, so the machine needs no virtualization support. It boots in seconds.

mod archive;
mod kernel;

use archive::Archive;
use runway_steps::{self as steps, Failed, Failure, install, root, search_path, target_folder};
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
const ADVICE: &str =
    "install them manually on other systems, or run the tests on a machine with cgroup v2";

/// Name filters for the tests. They include only tests whose programs busybox provides. `plain` repeats tests
/// as a plain user with a delegated cgroup.
const TESTS: &str = "endings,limits,refusals,restarts,gpus,plain";

/// The beginning of the last line of output. The exit code of the tests follows.
const ENDED: &str = "runway-tests-ended: ";

/// QEMU's `-icount` option: the clock advances 2 ns per instruction, and jumps to the next timer when the CPU
/// is idle. So measured times do not depend on the load of this machine.
const CLOCK: &str = "shift=1,sleep=off";

/// Maximum time for boot and tests.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The `/init` script. It creates a root file system that supports `pivot_root`, and starts the second script
/// in it.
const INIT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /mnt
for folder in proc sys dev tmp run home root usr var var/tmp; do mkdir /mnt/$folder; done
cp -a /bin /etc /main /mnt/
umount /proc
exec switch_root /mnt /main
";

/// The second script. It mounts the file systems, runs the tests and powers off.
const MAIN: &str = "#!/bin/sh
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
    let offered = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    cfg!(target_arch = "x86_64") && !offered.split_whitespace().any(|controller| controller == "memory")
}

/// Runs the tests of `runway-local` in a virtual machine.
///
/// # Errors
/// [`StepError::VirtualMachine`] if the virtual machine cannot be created or does not finish.
/// [`StepError::CommandFailed`] if a test fails.
pub fn test() -> Result<(), Failed> {
    let step = "tests in a virtual machine with cgroup v2";
    eprintln!("\nxtask: {step}");
    let machine = |failure| Failed::Machine { failure };
    let kernel = kernel::get().map_err(machine)?;
    let [tests, supervisor, launcher] = build()?;
    let image = image(&tests, &supervisor, &launcher).map_err(machine)?;
    let passed = match run(&kernel, &image) {
        // On a busy machine, the emulated machine sometimes stops while it boots. So the boot is repeated
        // once after a time-out. A failed test is not repeated.
        Err(failure @ Failure::TimedOut { .. }) => {
            eprintln!("xtask: {failure}; restarting the virtual machine");
            run(&kernel, &image)
        }
        passed => passed,
    };
    let passed = passed.map_err(machine)?;
    if passed { Ok(()) } else { Err(Failed::Unsuccessful { step: step.to_owned() }) }
}

/// Builds the tests, their launcher and the supervisor as static programs.
fn build() -> Result<[PathBuf; 3], Failed> {
    let step = "building the tests for the virtual machine".to_owned();
    let started = |error| Failed::NotStarted { step: step.clone(), error };
    let mut cargo = steps::command(&[
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
            let is_it = message.pointer("/target/name").is_some_and(|name| name == "machine");
            message.get("executable")?.as_str().filter(|_| is_it).map(PathBuf::from)
        });
    let program = |name: &str| target_folder().join(TARGET).join("debug").join(name);
    match tests {
        Some(tests) if output.status.success() => {
            Ok([tests, program("runway-supervisor"), program("runway-test-launcher")])
        }
        _ => Err(Failed::Unsuccessful { step }),
    }
}

fn image(tests: &Path, supervisor: &Path, launcher: &Path) -> Result<PathBuf, Failure> {
    let busybox = program(PROGRAMS[1])?;
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "mnt", "proc"] {
        archive.folder(folder);
    }
    archive.program("init", INIT.as_bytes());
    archive.program("main", MAIN.as_bytes());
    archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
    for (name, file) in [
        ("busybox", busybox.as_path()),
        ("tests", tests),
        ("runway-supervisor", supervisor),
        ("runway-test-launcher", launcher),
    ] {
        let bytes = fs::read(file).map_err(Failure::io(format!("`{}`", file.display())))?;
        archive.program(&format!("bin/{name}"), &bytes);
    }
    let listed = Command::new(&busybox).arg("--list").output().map_err(Failure::io("busybox"))?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|applet| *applet != "busybox") {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let image = target_folder().join("runway-virtual-machine.cpio");
    fs::write(&image, archive.finish()).map_err(Failure::io(format!("`{}`", image.display())))?;
    Ok(image)
}

/// Boots the virtual machine and prints the results of the tests. Returns whether all tests passed.
fn run(kernel: &Path, image: &Path) -> Result<bool, Failure> {
    let told = || Failure::io("the virtual machine");
    let mut machine = Command::new(program(PROGRAMS[0])?);
    machine
        .args(["-accel", "tcg", "-icount", CLOCK, "-m", "2048", "-nographic", "-no-reboot", "-kernel"])
        .arg(kernel);
    machine
        .arg("-initrd")
        .arg(image)
        .arg("-append")
        .arg(format!("console=ttyS0 quiet panic=-1 tests={TESTS}"));
    let mut machine =
        machine.current_dir(root()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(told())?;
    let output = machine.stdout.take();
    let began = Instant::now();
    let last = Arc::new(Mutex::new(String::from("no output")));
    let heard = Arc::clone(&last);
    let reading = std::thread::spawn(move || {
        let mut passed = None;
        for line in BufReader::new(output.into_iter().next()?).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.starts_with("test ") || line.contains("panicked") {
                eprintln!("  {line}");
            }
            passed = line.strip_prefix(ENDED).map(|code| code == "0").or(passed);
            *heard.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
        passed
    });
    while !reading.is_finished() {
        if began.elapsed() > PATIENCE {
            let _ended_already = machine.kill();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    machine.wait().map_err(told())?;
    let what = "the tests in the virtual machine".to_owned();
    let passed = reading.join().ok().flatten();
    let last = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
    passed.ok_or(Failure::TimedOut { what, seconds: PATIENCE.as_secs(), last })
}

/// Finds a program. Installs its package if it is missing.
fn program((package, name): (&str, &str)) -> Result<PathBuf, Failure> {
    let find = || {
        let path = search_path();
        path.split(':').map(|folder| Path::new(folder).join(name)).find(|program| program.is_file())
    };
    if let Some(found) = find() {
        return Ok(found);
    }
    install(&[package], &[name.to_owned()], ADVICE)?;
    find().ok_or_else(|| Failure::Unable { what: format!("the package {package} does not contain {name}") })
}
