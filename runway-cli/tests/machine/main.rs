//! `runway run` with real processes and control groups on this machine. The tests must be started as root.
//! They run twice: as root and as an unprivileged user.

#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use runway_testing::paths::{self, TempDir};
use runway_testing::{delegation, machine};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Returns the root directory of the workspace. In the run as the unprivileged user, returns the directory
/// with copies of the required files.
fn root() -> PathBuf {
    if delegation::is_unprivileged_run() {
        return std::env::current_dir().unwrap();
    }
    paths::workspace_root()
}

fn program() -> PathBuf {
    paths::program("RUNWAY_TEST_PROGRAM", env!("CARGO_BIN_EXE_runway"))
}

#[test]
fn everything_as_a_plain_user() {
    let programs = [("RUNWAY_TEST_PROGRAM", program())];
    let files = [HELLO, REFUSED];
    delegation::rerun_unprivileged("everything_as_a_plain_user", &programs, &root(), &files);
}

/// A state directory and a control group for one test. After the test, the state directory must contain no
/// jobs, and the control group must have no children.
struct Harness {
    state_dir: PathBuf,
    cgroup: Option<PathBuf>,
}

impl Harness {
    fn new() -> Self {
        let name = machine::unique_name("runway-run-");
        Self { state_dir: std::env::temp_dir().join(&name), cgroup: Some(delegation::cgroup().join(name)) }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("run").arg("--state-dir").arg(&self.state_dir).current_dir(root());
        if let Some(group) = self.cgroup.as_ref().filter(|_| !arguments.contains(&"--cgroup-parent")) {
            command.arg("--cgroup-parent").arg(group);
        }
        command.args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs `runway run` with the job on standard input.
    fn run_job(&self, job: &str, options: &[&str]) -> Output {
        let mut command = self.command(&[&["-"], options].concat());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(job.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.state_dir.exists() {
            let left: Vec<_> = std::fs::read_dir(self.state_dir.join("jobs")).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
            std::fs::remove_dir_all(&self.state_dir).unwrap();
            self.cgroup.iter().for_each(|group| delegation::assert_cgroup_empty(group));
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
fn run_prints_output_and_summary() {
    let mut harness = Harness::new();
    if !delegation::is_unprivileged_run() {
        // Without `--cgroup-parent`, the job uses the default control group.
        harness.cgroup = None;
    }
    let ran = harness.run(&[HELLO]);
    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!((ran.status.code(), out.as_str()), (Some(0), "hello\n"), "{err}");
    let mut lines = err.lines();
    assert!(lines.next().unwrap().starts_with("ok: fixtures/jobs/hello.yaml: hello (tenant search"), "{err}");
    assert!(lines.next().unwrap().contains("image is not used"), "{err}");
    assert!(lines.next().unwrap().starts_with("succeeded after 0."), "{err}");
    assert!(err.contains("`memory: 16Mi` would suffice"), "{err}");
}

#[test]
fn run_exits_with_the_exit_code_of_the_job() {
    let harness = Harness::new();
    let code = |script: &str, more: &str| harness.run_job(&job(script, more), &[]).status.code();
    assert_eq!(code("exit 42", ""), Some(42));
    assert_eq!(code("kill -TERM $$", ""), Some(143));
    assert_eq!(code("exec tail /dev/zero", "resources: {memory: 32Mi}"), Some(137));
    assert_eq!(code("sleep 60", "timeout: 1s"), Some(124));
    assert_eq!(harness.run(&[HELLO, "--", "no-such-program"]).status.code(), Some(127));
    assert_eq!(harness.run(&[HELLO, "--", "/etc/passwd"]).status.code(), Some(126));
}

#[test]
fn run_exits_with_125_without_a_job() {
    let harness = Harness::new();
    for arguments in [
        &[REFUSED][..],
        &["no-such-file.yaml"],
        &[],
        &[HELLO, "--no-such-flag"],
        &[HELLO, "--policy", "no-such-policy.yaml"],
        &[HELLO, "--cgroup-parent", "/two\nlines"],
    ] {
        let ran = harness.command(arguments).output().unwrap();
        assert_eq!((ran.status.code(), text(&ran.stdout).as_str()), (Some(125), ""), "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
    let unusable_dir = Harness { state_dir: "/dev/null/jobs".into(), cgroup: None };
    assert_eq!(unusable_dir.run(&[HELLO]).status.code(), Some(125));
    let two = format!("{}---\n{}", job("true", ""), job("true", ""));
    assert_eq!(harness.run_job(&two, &[]).status.code(), Some(125));
    let internal = harness.run_job(&job("true", "network: internal"), &[]);
    assert_eq!(internal.status.code(), Some(125));
    assert!(
        text(&internal.stderr).contains("does not support `network.internal`"),
        "{}",
        text(&internal.stderr)
    );
}

#[test]
fn best_effort_reports_unenforced_limits() {
    let harness = Harness::new();
    let ran = harness.run(&[HELLO, "--best-effort", "--cgroup-parent", "/two\nlines", "-o", "json"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    let record: Json = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(record["not_enforced"].as_array().unwrap().len(), 3, "{record}");
    assert!(text(&ran.stderr).contains("warning: not enforced: memory: "), "{}", text(&ran.stderr));
    let ran = harness.run(&[HELLO, "--best-effort", "--cgroup-parent", "/two\nlines"]);
    assert_eq!(text(&ran.stderr).matches("\n  not enforced: ").count(), 3, "{}", text(&ran.stderr));
}

#[test]
fn printed_output_needs_no_hint_to_check_it() {
    let harness = Harness::new();
    let ran = harness.run_job(&job("exit 3", ""), &[]);
    assert_eq!(ran.status.code(), Some(3));
    let summary = text(&ran.stderr);
    assert!(summary.contains("ended with exit code 3"), "{summary}");
    assert!(!summary.contains("hint:"), "{summary}");
}

#[test]
fn json_output_is_only_the_record() {
    let harness = Harness::new();
    let ran = harness.run_job(&job("echo out; echo err >&2; exit 3", "retries: 1"), &["-o", "json"]);
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
fn output_streams_are_separate_and_binary_safe() {
    let harness = Harness::new();
    let ran = harness.run_job(&job(r"printf '\377\000'; printf '\376' >&2", ""), &[]);
    assert_eq!(ran.stdout, b"\xff\0");
    assert!(ran.stderr.contains(&0xfe));
}

#[test]
fn secrets_come_from_the_environment_and_never_print() {
    let harness = Harness::new();
    let source = job("echo ${#TOKEN}", "secrets: {TOKEN: {from_env: RUN_TEST_TOKEN}}");
    let dir = TempDir::new("secret");
    let file = dir.write("job.yaml", source);
    let file_name = file.to_str().unwrap();
    let ran = harness.command(&[file_name]).env("RUN_TEST_TOKEN", "hush-hush").output().unwrap();
    assert_eq!((ran.status.code(), text(&ran.stdout).as_str()), (Some(0), "9\n"), "{}", text(&ran.stderr));
    assert!(!text(&ran.stderr).contains("hush"));
    let ran = harness.run(&[file_name]);
    assert_eq!(ran.status.code(), Some(125));
    assert!(text(&ran.stderr).contains("RUN_TEST_TOKEN"), "{}", text(&ran.stderr));
    let bytes = std::ffi::OsStr::from_bytes(b"hush-\xff");
    let ran = harness.command(&[file_name]).env("RUN_TEST_TOKEN", bytes).output().unwrap();
    assert_eq!(ran.status.code(), Some(125));
    let err = text(&ran.stderr);
    assert!(err.contains("`RUN_TEST_TOKEN`, which is not valid UTF-8") && !err.contains("hush"), "{err}");
}

/// Starts `runway run` with a shell script as the job, and waits until the script prints `ready`. Resets
/// SIGHUP and SIGINT to their default action, because a background job of a shell script ignores them.
fn start_job(harness: &Harness, script: &str) -> std::process::Child {
    start_command(with_signals(
        "--default-signal=HUP,INT",
        &harness.command(&[HELLO, "--", "sh", "-c", script]),
    ))
}

fn with_signals(option: &str, run: &Command) -> Command {
    let mut command = Command::new("env");
    command.arg(option).arg(run.get_program()).args(run.get_args());
    command.current_dir(root()).stdin(Stdio::null());
    command
}

fn start_command(mut command: Command) -> std::process::Child {
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
fn first_interrupt_lets_the_job_clean_up() {
    let harness = Harness::new();
    let mut child =
        start_job(&harness, "trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    signal(&child, "-INT");
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "cleaned\n");
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(130));
    assert!(text(&ran.stderr).contains("cancelled after"), "{}", text(&ran.stderr));
}

#[test]
fn second_interrupt_kills_the_job() {
    let harness = Harness::new();
    let child = start_job(&harness, "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done");
    let began = Instant::now();
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    // The termination grace is 30 seconds. A job that ends earlier was killed by the second signal.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
}

#[test]
fn ignored_signals_stay_ignored() {
    let harness = Harness::new();
    let run = harness.command(&[HELLO, "--", "sh", "-c", "echo ready; sleep 0.5; echo done"]);
    let mut child = start_command(with_signals("--ignore-signal=HUP,INT", &run));
    signal(&child, "-HUP");
    signal(&child, "-INT");
    let mut rest = String::new();
    child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert_eq!((ran.status.code(), rest.as_str()), (Some(0), "done\n"), "{}", text(&ran.stderr));
}

#[test]
fn unwritable_output_ends_the_job_with_125() {
    let harness = Harness::new();
    for arguments in [&[HELLO, "--", "sh", "-c", "echo hi; sleep 1000"][..], &["-o", "json", HELLO]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = harness.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let stderr = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(125), "{stderr}");
        assert!(stderr.contains("No space left on device"), "{stderr}");
    }
}

#[test]
fn closed_output_pipe_ends_the_job() {
    let harness = Harness::new();
    let mut child = start_job(&harness, "echo ready; while :; do echo y; done");
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(141), "{}", text(&ran.stderr));
}

#[test]
fn killed_runway_process_ends_its_job() {
    let harness = Harness::new();
    let mut child = start_job(&harness, "echo ready; sleep 1000");
    child.kill().unwrap();
    child.wait().unwrap();
    let began = Instant::now();
    while !machine::job_dirs(&harness.state_dir).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(60), "the job is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn lost_supervisor_is_reported_as_disrupted() {
    let harness = Harness::new();
    let child = start_job(&harness, "echo ready; sleep 1000");
    let supervisor = machine::pid_of(&find_job_dir(&harness), "supervisor").to_string();
    assert!(Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
    let ran = child.wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(125), "{}", text(&ran.stderr));
    assert!(text(&ran.stderr).contains("failed, Disrupted after"), "{}", text(&ran.stderr));
}

/// Returns the directory of the job, which must be the only one in the state directory.
fn find_job_dir(harness: &Harness) -> PathBuf {
    machine::job_dirs(&harness.state_dir).swap_remove(0)
}

#[test]
fn removed_job_directory_ends_the_job_with_125() {
    for is_moved in [false, true] {
        let harness = Harness::new();
        let child = start_job(&harness, "trap '' TERM; echo ready; while :; do sleep 1000; done");
        let job_dir = find_job_dir(&harness);
        let began = Instant::now();
        if is_moved {
            std::fs::rename(&job_dir, harness.state_dir.join("aside")).unwrap();
        } else {
            std::fs::remove_dir_all(&job_dir).unwrap();
        }
        let ran = child.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(125), "{}", text(&ran.stderr));
        let expected =
            format!("cannot follow the job: the job directory `{}` no longer exists", job_dir.display());
        assert!(text(&ran.stderr).contains(&expected), "{}", text(&ran.stderr));
        // The job ignores SIGTERM, and the termination grace is 30 seconds. A job that ends earlier was
        // killed at once. The `drop` of the harness then checks that no job and no control group remains.
        assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    }
}

#[test]
fn unwritable_outcome_ends_the_job_with_125() {
    let dir = TempDir::new("unwritten");
    for retries in ["retries: 0", "retries: 3"] {
        let spec = dir.write("job.yaml", job("echo ready; sleep 0.5; exit 3", retries));
        let harness = Harness::new();
        let mut child = start_command(harness.command(&[spec.to_str().unwrap()]));
        let job_dir = find_job_dir(&harness);
        // The supervisor writes `status.json.new` before it replaces `status.json`. A directory with this
        // name makes the write fail, even for root.
        std::fs::create_dir(job_dir.join("status.json.new")).unwrap();
        let mut rest = String::new();
        child.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        let ran = child.wait_with_output().unwrap();
        assert_eq!((ran.status.code(), rest.as_str()), (Some(125), ""), "{}", text(&ran.stderr));
        let expected = format!("the supervisor exited without an outcome in `{}`", job_dir.display());
        assert!(text(&ran.stderr).contains(&expected), "{}", text(&ran.stderr));
        // The next `runway run` deletes the directory of this job.
        std::fs::remove_dir(job_dir.join("status.json.new")).unwrap();
        assert_eq!(harness.run(&[HELLO]).status.code(), Some(0));
        assert!(!job_dir.exists());
    }
}

/// The program `script` runs the command in a pseudo-terminal.
#[test]
fn run_shows_a_status_line_on_a_terminal() {
    let harness = Harness::new();
    let run = format!(
        "{} run --state-dir {} --cgroup-parent {} {HELLO} -- sh -c 'printf begun; sleep 1; echo; sleep 1.2; echo ended'",
        program().display(),
        harness.state_dir.display(),
        harness.cgroup.as_ref().unwrap().display()
    );
    let mut script = Command::new("script");
    script.args(["-qec", &run, "/dev/null"]).current_dir(root()).stdin(Stdio::null()).env("TERM", "xterm");
    let shown = text(&script.output().unwrap().stdout);
    assert!(shown.contains("of 10m; CPU "), "{shown:?}");
    assert!(shown.contains("memory ") && shown.contains("Mi of 512Mi"), "{shown:?}");
    // The status line never overwrites a line of the job's output. It is erased before the job prints the
    // next line.
    assert!(shown.contains("begun\r\n") && shown.contains("\r\u{1b}[Kended\r\n"), "{shown:?}");
}
