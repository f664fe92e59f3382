//! A cluster for the time in which this program runs. However the program ends, the running step is killed
//! and the cluster is removed. A cluster that was already running is kept.
//!
//! A second process, the guard, reads from a pipe. The kernel closes the pipe when this program ends: by
//! success, failure, panic or any signal, including `SIGKILL`. The guard then cleans up.

use crate::lifecycle::{self, UpOptions, down, test_environment, up};
use crate::process::{ProcessIdentity, ProcessStat};
use crate::state::ClusterDir;
use runway_steps::{StepError, ToolError};
use rustix::process::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Maximum time for the processes of a step to exit after each signal.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A cluster in use. When this value is dropped, the guard cleans up.
pub struct Session {
    guard: Child,
    variables: Vec<(String, String)>,
}

impl Session {
    /// Starts a cluster, or uses a running or external one. Only a cluster that this session starts is
    /// removed afterwards.
    ///
    /// # Errors
    /// [`ToolError`] if the guard or the cluster cannot be started.
    pub fn start(options: UpOptions) -> Result<Self, ToolError> {
        let dir = ClusterDir::of_checkout()?;
        let is_kept = lifecycle::external_kubeconfig(&dir)?.is_some() || lifecycle::is_up(&dir)?;
        let mut guard = self_command("guard")?
            .arg(if is_kept { "leave" } else { "remove" })
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(ToolError::io("the guard"))?;
        let io_error = ToolError::io("signals");
        let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(io_error)?;
        let pid = guard.id();
        std::thread::spawn(move || wait_for_guard_on_signal(signals, pid));
        let result = up(options).and_then(|()| test_environment(&dir));
        match result {
            Ok(variables) => Ok(Self { guard, variables }),
            Err(failure) => {
                drop(guard.stdin.take());
                let _ended = guard.wait();
                Err(failure)
            }
        }
    }

    /// Whether `cargo xtask cluster` started the cluster, in contrast to an external cluster of KUBECONFIG.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.variables.iter().any(|(name, _)| name == "RUNWAY_TEST_XTASK")
    }

    /// Runs one step on the cluster and waits for it. The step has its own process group, which the guard
    /// kills when this program ends.
    ///
    /// # Errors
    /// [`StepError::Io`] if the program cannot be started.
    /// [`StepError::CommandFailed`] if the program fails.
    pub fn run(&mut self, step: &str, command: &mut Command) -> Result<(), StepError> {
        eprintln!("\nxtask: {step}");
        let not_started = |error| StepError::Io { step: step.to_owned(), error };
        command.envs(self.variables.iter().map(|(name, value)| (name, value))).process_group(0);
        let mut child = command.spawn().map_err(not_started)?;
        if let Some(pipe) = &mut self.guard.stdin {
            writeln!(pipe, "{}", child.id()).map_err(not_started)?;
        }
        if child.wait().map_err(not_started)?.success() {
            Ok(())
        } else {
            Err(StepError::CommandFailed { step: step.to_owned() })
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ended = self.guard.wait();
    }
}

/// Runs the guard: waits until standard input is closed, and kills the process groups whose ids it has read.
/// Then removes the cluster if `remove` is set.
pub(crate) fn run_guard(remove: bool) -> Result<(), ToolError> {
    let mut groups: Vec<i32> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        groups.extend(line.map_err(ToolError::io("the guard"))?.parse::<i32>());
    }
    // The kernel does not reuse the id of a process group while the group has a member.
    for group in groups {
        kill_group(group);
    }
    if remove { down() } else { Ok(()) }
}

fn kill_group(group: i32) {
    for signal in [Signal::TERM, Signal::KILL] {
        let deadline = Instant::now() + TIMEOUT;
        while Instant::now() < deadline {
            let members = group_members(group);
            if members.is_empty() {
                return;
            }
            for member in members {
                member.signal(signal);
            }
            sleep(Duration::from_millis(100));
        }
    }
}

/// Returns the running processes of a process group.
fn group_members(group: i32) -> Vec<ProcessIdentity> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let stats =
        pids.filter_map(ProcessStat::read).filter(|stat| stat.process_group == group && !stat.has_exited);
    stats.map(|stat| stat.identity).collect()
}

/// Waits for a signal. Then this program re-executes itself as a process that only waits for the guard. The
/// re-execution closes the pipe and releases the locks, and the pid stays the same.
fn wait_for_guard_on_signal(mut signals: Signals, guard: u32) {
    let Some(signal) = signals.forever().next() else { return };
    eprintln!("\nxtask: received signal {signal}, shutting down");
    if let Ok(mut waiting) = self_command("wait") {
        let error = waiting.arg(guard.to_string()).arg((128 + signal).to_string()).exec();
        eprintln!("xtask: {error}");
    }
    std::process::exit(1);
}

/// Waits until the guard, a child of this process, has exited. Returns `code` as the exit code of this
/// program.
pub(crate) fn wait_for_guard(guard: &str, code: &str) -> ExitCode {
    let child = guard.parse().ok().and_then(rustix::process::Pid::from_raw);
    if let Some(child) = child {
        let _ended = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty());
    }
    ExitCode::from(code.parse().unwrap_or(1))
}

/// Returns a call of this program with a `cluster` command.
fn self_command(command: &str) -> Result<Command, ToolError> {
    let program = std::env::current_exe().map_err(ToolError::io("this program"))?;
    let mut call = Command::new(program);
    call.args(["cluster", command]);
    Ok(call)
}
