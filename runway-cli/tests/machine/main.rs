//! `runway run` on the kernel of this machine. Root runs the tests twice: as root and as an unprivileged
//! user.

#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use runway_testing::delegation;
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Returns the workspace, or the directory with the copied files for the unprivileged user.
fn root() -> PathBuf {
    if delegation::is_plain() {
        return std::env::current_dir().unwrap();
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn program() -> PathBuf {
    let elsewhere = std::env::var_os("RUNWAY_TEST_PROGRAM").map(PathBuf::from);
    elsewhere.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_runway")))
}

#[test]
fn everything_as_a_plain_user() {
    let programs = [("RUNWAY_TEST_PROGRAM", program())];
    let files = [HELLO, REFUSED];
    delegation::as_plain_user("everything_as_a_plain_user", &programs, &root(), &files);
}

/// A state directory and a control group for one test. Both must be empty after the test.
struct Bed {
    folder: PathBuf,
    group: Option<PathBuf>,
}

impl Bed {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("runway-run-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { folder: std::env::temp_dir().join(&name), group: Some(delegation::group().join(name)) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("run").arg("--state-dir").arg(&self.folder).current_dir(root());
        if let Some(group) = self.group.as_ref().filter(|_| !arguments.contains(&"--cgroup-parent")) {
            command.arg("--cgroup-parent").arg(group);
        }
        command.args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a job from standard input.
    fn run_job(&self, job: &str, options: &[&str]) -> Output {
        let mut command = self.command(&[&["-"], options].concat());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(job.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.folder.exists() {
            let left: Vec<_> = std::fs::read_dir(self.folder.join("jobs")).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
            std::fs::remove_dir_all(&self.folder).unwrap();
            self.group.iter().for_each(|group| delegation::check_groups(group));
        }
    }
}

const HELLO: &str = "fixtures/jobs/hello.yaml";
const REFUSED: &str = "fixtures/jobs/refused/cpu-above-max.yaml";

fn job(script: &str, more: &str) -> String {
    let script = Json::from(script);
    format!("name: x\ntenant: t\nimage: busybox\ncommand: [sh, -c, {script}]\n{more}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_first_command() {
    let mut bed = Bed::new();
    if !delegation::is_plain() {
        // Use the default control group.
        bed.group = None;
    }
    let ran = bed.run(&[HELLO]);
    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!((ran.status.code(), out.as_str()), (Some(0), "hello\n"), "{err}");
    let mut lines = err.lines();
    assert!(lines.next().unwrap().starts_with("ok: fixtures/jobs/hello.yaml: hello (tenant search"), "{err}");
    assert!(lines.next().unwrap().contains("image is not used"), "{err}");
    assert!(lines.next().unwrap().starts_with("succeeded after 0."), "{err}");
    assert!(err.contains("`memory: 16Mi` would suffice"), "{err}");
}

#[test]
fn the_exit_code_is_the_jobs() {
    let bed = Bed::new();
    let code = |script: &str, more: &str| bed.run_job(&job(script, more), &[]).status.code();
    assert_eq!(code("exit 42", ""), Some(42));
    assert_eq!(code("kill -TERM $$", ""), Some(143));
    assert_eq!(code("exec tail /dev/zero", "resources: {memory: 32Mi}"), Some(137));
    assert_eq!(code("sleep 60", "timeout: 1s"), Some(124));
    assert_eq!(bed.run(&[HELLO, "--", "no-such-program"]).status.code(), Some(127));
    assert_eq!(bed.run(&[HELLO, "--", "/etc/passwd"]).status.code(), Some(126));
}

#[test]
fn what_is_refused_or_cannot_be_run_is_no_jobs_code() {
    let bed = Bed::new();
    for arguments in [
        &[REFUSED][..],
        &["no-such-file.yaml"],
        &[],
        &[HELLO, "--no-such-flag"],
        &[HELLO, "--policy", "no-such-policy.yaml"],
        &[HELLO, "--cgroup-parent", "/two\nlines"],
    ] {
        let ran = bed.command(arguments).output().unwrap();
        assert_eq!((ran.status.code(), text(&ran.stdout).as_str()), (Some(125), ""), "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
    let nowhere = Bed { folder: "/dev/null/jobs".into(), group: None };
    assert_eq!(nowhere.run(&[HELLO]).status.code(), Some(125));
    let two = format!("{}---\n{}", job("true", ""), job("true", ""));
    assert_eq!(bed.run_job(&two, &[]).status.code(), Some(125));
    let internal = bed.run_job(&job("true", "network: internal"), &[]);
    assert_eq!(internal.status.code(), Some(125));
    assert!(
        text(&internal.stderr).contains("does not support `network.internal`"),
        "{}",
        text(&internal.stderr)
    );
}

#[test]
fn best_effort_says_what_it_left_out() {
    let bed = Bed::new();
    let ran = bed.run(&[HELLO, "--best-effort", "--cgroup-parent", "/two\nlines", "-o", "json"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let record: Json = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(record["not_enforced"].as_array().unwrap().len(), 3, "{record}");
    assert!(text(&ran.stderr).contains("warning: not enforced: memory: "), "{}", text(&ran.stderr));
    let ran = bed.run(&[HELLO, "--best-effort", "--cgroup-parent", "/two\nlines"]);
    assert_eq!(text(&ran.stderr).matches("\n  not enforced: ").count(), 3, "{}", text(&ran.stderr));
}

#[test]
fn the_record_is_alone_on_standard_output() {
    let bed = Bed::new();
    let ran = bed.run_job(&job("echo out; echo err >&2; exit 3", "retries: 1"), &["-o", "json"]);
    assert_eq!(ran.status.code(), Some(3));
    let record: Json = serde_json::from_slice(&ran.stdout).unwrap();
    for (field, value) in [("phase", "failed"), ("reason", "NonZeroExit"), ("name", "x"), ("tenant", "t")] {
        assert_eq!(record[field], value);
    }
    assert_eq!((&record["exit_code"], &record["attempts"]), (&3.into(), &2.into()));
    for field in ["id", "message", "hint", "created_at", "started_at", "finished_at", "quote", "cost_usd"] {
        assert!(!record[field].is_null(), "{field}: {record}");
    }
    for field in ["wall_seconds", "cpu_seconds", "throttled_seconds", "peak_memory_bytes"] {
        assert!(record["usage"][field].is_number(), "{field}: {record}");
    }
    assert!(record["not_enforced"].as_array().unwrap().is_empty());
    assert_eq!(record["advice"].as_array().unwrap().len(), 1);
    let err = text(&ran.stderr);
    assert!(err.contains("out\n") && err.contains("err\n"), "{err}");
}

#[test]
fn streams_are_kept_apart_and_bytes_are_what_they_are() {
    let bed = Bed::new();
    let ran = bed.run_job(&job(r"printf '\377\000'; printf '\376' >&2", ""), &[]);
    assert_eq!(ran.stdout, b"\xff\0");
    assert!(ran.stderr.contains(&0xfe));
}

#[test]
fn secrets_come_from_the_environment_and_go_nowhere_else() {
    let bed = Bed::new();
    let source = job("echo ${#TOKEN}", "secrets: {TOKEN: {from_env: RUN_TEST_TOKEN}}");
    let file = std::env::temp_dir().join(format!("runway-secret-{}.yaml", std::process::id()));
    std::fs::write(&file, source).unwrap();
    let file_name = file.to_str().unwrap();
    let ran = bed.command(&[file_name]).env("RUN_TEST_TOKEN", "hush-hush").output().unwrap();
    assert_eq!((ran.status.code(), text(&ran.stdout).as_str()), (Some(0), "9\n"), "{}", text(&ran.stderr));
    assert!(!text(&ran.stderr).contains("hush"));
    let ran = bed.run(&[file_name]);
    assert_eq!(ran.status.code(), Some(125));
    assert!(text(&ran.stderr).contains("RUN_TEST_TOKEN"), "{}", text(&ran.stderr));
    let bytes = std::ffi::OsStr::from_bytes(b"hush-\xff");
    let ran = bed.command(&[file_name]).env("RUN_TEST_TOKEN", bytes).output().unwrap();
    assert_eq!(ran.status.code(), Some(125));
    let err = text(&ran.stderr);
    assert!(err.contains("`RUN_TEST_TOKEN`, which is not valid UTF-8") && !err.contains("hush"), "{err}");
    std::fs::remove_file(file).unwrap();
}

/// Starts a job and waits for its first line of output. Enables SIGHUP and SIGINT, which are ignored in
/// background jobs of scripts.
fn begun(bed: &Bed, script: &str) -> std::process::Child {
    begun_by(with_signals("--default-signal=HUP,INT", &bed.command(&[HELLO, "--", "sh", "-c", script])))
}

fn with_signals(option: &str, run: &Command) -> Command {
    let mut command = Command::new("env");
    command.arg(option).arg(run.get_program()).args(run.get_args());
    command.current_dir(root()).stdin(Stdio::null());
    command
}

fn begun_by(mut command: Command) -> std::process::Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    child.stdout = Some(out.into_inner());
    child
}

fn signal(child: &std::process::Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn an_interrupt_lets_the_job_clean_up() {
    let bed = Bed::new();
    let mut child = begun(&bed, "trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    signal(&child, "-INT");
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "cleaned\n");
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(130));
    assert!(text(&ran.stderr).contains("cancelled after"), "{}", text(&ran.stderr));
}

#[test]
fn a_second_interrupt_kills() {
    let bed = Bed::new();
    let child = begun(&bed, "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done");
    let began = Instant::now();
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    // The termination grace is 30 seconds.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let bed = Bed::new();
    let run = bed.command(&[HELLO, "--", "sh", "-c", "echo ready; sleep 0.5; echo done"]);
    let mut child = begun_by(with_signals("--ignore-signal=HUP,INT", &run));
    signal(&child, "-HUP");
    signal(&child, "-INT");
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert_eq!((ran.status.code(), rest.as_str()), (Some(0), "done\n"), "{}", text(&ran.stderr));
}

#[test]
fn output_that_cannot_be_written_ends_the_job_and_is_told() {
    let bed = Bed::new();
    for arguments in [&[HELLO, "--", "sh", "-c", "echo hi; sleep 1000"][..], &["-o", "json", HELLO]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = bed.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let told = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(125), "{told}");
        assert!(told.contains("No space left on device"), "{told}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_job() {
    let bed = Bed::new();
    let mut child = begun(&bed, "echo ready; while :; do echo y; done");
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(141), "{}", text(&ran.stderr));
}

#[test]
fn a_program_that_is_killed_takes_its_job_along() {
    let bed = Bed::new();
    let mut child = begun(&bed, "echo ready; sleep 1000");
    child.kill().unwrap();
    child.wait().unwrap();
    let jobs = bed.folder.join("jobs");
    let began = Instant::now();
    while std::fs::read_dir(&jobs).unwrap().next().is_some() {
        assert!(began.elapsed() < Duration::from_secs(60), "the job is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_job_that_loses_its_supervisor_is_told_of() {
    let bed = Bed::new();
    let child = begun(&bed, "echo ready; sleep 1000");
    let status = std::fs::read(folder_of_the_job(&bed).join("status.json")).unwrap();
    let status: Json = serde_json::from_slice(&status).unwrap();
    let supervisor = status["supervisor"]["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(125), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).contains("failed, Disrupted after"), "{}", text(&ran.stderr));
}

/// Returns the directory of the only running job.
fn folder_of_the_job(bed: &Bed) -> PathBuf {
    std::fs::read_dir(bed.folder.join("jobs")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn a_job_whose_folder_is_taken_away_is_ended_and_that_is_told() {
    for is_moved in [false, true] {
        let bed = Bed::new();
        let child = begun(&bed, "trap '' TERM; echo ready; while :; do sleep 1000; done");
        let folder = folder_of_the_job(&bed);
        let began = Instant::now();
        if is_moved {
            std::fs::rename(&folder, bed.folder.join("aside")).unwrap();
        } else {
            std::fs::remove_dir_all(&folder).unwrap();
        }
        let ran = child.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(125), "{}", text(&ran.stderr));
        let told = format!("cannot follow the job: `{}` has been taken away", folder.display());
        assert!(text(&ran.stderr).contains(&told), "{}", text(&ran.stderr));
        // The supervisor kills the job without the termination grace of 30 seconds. Dropping the harness
        // checks for leftovers.
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    }
}

#[test]
fn a_job_whose_outcome_cannot_be_written_down_ends_and_that_is_told() {
    let spec = std::env::temp_dir().join(format!("runway-unwritten-{}.yaml", std::process::id()));
    for retries in ["retries: 0", "retries: 3"] {
        std::fs::write(&spec, job("echo ready; sleep 0.5; exit 3", retries)).unwrap();
        let bed = Bed::new();
        let mut child = begun_by(bed.command(&[spec.to_str().unwrap()]));
        let folder = folder_of_the_job(&bed);
        // Not even root can open a directory for writing.
        std::fs::create_dir(folder.join("status.json.new")).unwrap();
        let mut rest = String::new();
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        let ran = child.wait_with_output().unwrap();
        assert_eq!((ran.status.code(), rest.as_str()), (Some(125), ""), "{}", text(&ran.stderr));
        let told = format!("its supervisor has ended and left no outcome in `{}`", folder.display());
        assert!(text(&ran.stderr).contains(&told), "{}", text(&ran.stderr));
        // The next run cleans up.
        std::fs::remove_dir(folder.join("status.json.new")).unwrap();
        assert_eq!(bed.run(&[HELLO]).status.code(), Some(0));
        assert!(!folder.exists());
    }
    std::fs::remove_file(spec).unwrap();
}

/// Runs in a pseudo-terminal that `script` creates.
#[test]
fn on_a_terminal_there_is_a_line_of_status() {
    let bed = Bed::new();
    let run = format!(
        "{} run --state-dir {} --cgroup-parent {} {HELLO} -- sh -c 'printf begun; sleep 1; echo; sleep 1.2; echo ended'",
        program().display(),
        bed.folder.display(),
        bed.group.as_ref().unwrap().display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &run, "/dev/null"]).current_dir(root()).stdin(Stdio::null()).env("TERM", "xterm");
    let shown = text(&script.output().unwrap().stdout);
    assert!(shown.contains("of 10m; CPU "), "{shown:?}");
    assert!(shown.contains("memory ") && shown.contains("Mi of 512Mi"), "{shown:?}");
    // The status line never overwrites a line of the job, and it is erased before the next output.
    assert!(shown.contains("begun\r\n") && shown.contains("\r\u{1b}[Kended\r\n"), "{shown:?}");
}
