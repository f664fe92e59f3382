//! Starts and stops the cluster's processes. Each process has its own process group and is identified by pid
//! and start time.

use crate::state::ClusterDir;
use runway_steps::{ToolError, search_path};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The cluster's processes in the order in which they start.
pub(crate) const PROCESSES: &[&str] =
    &[ETCD, APISERVER, CONTROLLER_MANAGER, SCHEDULER, CONTAINERD, SOCAT, KUBELET];
pub(crate) const ETCD: &str = "etcd";
pub(crate) const APISERVER: &str = "kube-apiserver";
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(crate) const SCHEDULER: &str = "kube-scheduler";
pub(crate) const CONTAINERD: &str = "containerd";
pub(crate) const SOCAT: &str = "socat";
pub(crate) const KUBELET: &str = "kubelet";
/// The command-line client of Kubernetes. It is not a process of the cluster.
pub(crate) const KUBECTL: &str = "kubectl";

/// Interval at which a condition is polled.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Maximum time for a process to record its identity after its start, and to exit after each signal.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The script of a shell that becomes a process of the cluster. The shell first records its own identity in a
/// file, so that no process runs unrecorded. Then it joins the cgroup, if there is one, and executes the
/// program.
const START_SCRIPT: &str = r#"
read -r identity < /proc/self/stat && printf '%s\n' "$identity" > "$1" || exit 1
[ -z "$2" ] || echo $$ > "$2" || exit 1
shift 2
exec "$@"
"#;

/// Identifies one process. The kernel may reuse the pid, but not with the same start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot.
    start_ticks: u64,
}

/// The fields of `/proc/PID/stat` that this program needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    pub(crate) identity: ProcessIdentity,
    /// The process group.
    pub(crate) process_group: i32,
    /// Whether the process is a zombie: it has exited, and its parent has not waited for it yet.
    pub(crate) has_exited: bool,
}

impl ProcessStat {
    /// Parses a line such as `4711 (kube (x) let) S 1 …`. The name may contain spaces and parentheses, so it
    /// ends at the last parenthesis.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(' ')?;
        let (_, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split_ascii_whitespace();
        let state = fields.next()?;
        // The state is the third field, the group the fifth, and the start time the twenty-second.
        let group = fields.nth(1)?.parse().ok()?;
        let started = fields.nth(16)?.parse().ok()?;
        let identity = ProcessIdentity { pid: pid.parse().ok()?, start_ticks: started };
        Some(Self { identity, process_group: group, has_exited: matches!(state, "Z" | "X" | "x") })
    }

    pub(crate) fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

impl ProcessIdentity {
    /// Returns the identity of the running process with this pid.
    pub(crate) fn of_running(pid: i32) -> Option<Self> {
        ProcessStat::read(pid).filter(|stat| !stat.has_exited).map(|stat| stat.identity)
    }

    /// Returns the process that was last started under this name. It may have exited.
    pub(crate) fn recorded(dir: &ClusterDir, name: &str) -> Option<Self> {
        let line = std::fs::read_to_string(dir.identity_file(name)).ok()?;
        ProcessStat::parse(line.trim_end()).map(|stat| stat.identity)
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::of_running(self.pid) == Some(self)
    }

    /// Sends a signal to this process. The pidfd is opened before the identity is checked, so that a process
    /// that reuses the pid receives no signal.
    pub(crate) fn signal(self, signal: Signal) {
        let Some(handle) = Pid::from_raw(self.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok())
        else {
            return;
        };
        if self.is_alive() {
            let _ended_meanwhile = pidfd_send_signal(handle, signal);
        }
    }

    /// Sends SIGTERM, waits, and sends SIGKILL if the process is still running.
    pub(crate) fn stop(self) -> Result<(), ToolError> {
        self.signal_until_exit(&[Signal::TERM, Signal::KILL])
    }

    /// Sends SIGKILL and waits until the process has exited.
    pub(crate) fn kill(self) -> Result<(), ToolError> {
        self.signal_until_exit(&[Signal::KILL])
    }

    /// Sends one signal after the other until the process has exited, and waits after each signal. After the
    /// exit, all threads have ended and the ports are free.
    fn signal_until_exit(self, signals: &[Signal]) -> Result<(), ToolError> {
        let handle = Pid::from_raw(self.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let Some(handle) =
            handle.filter(|_| ProcessStat::read(self.pid).is_some_and(|stat| stat.identity == self))
        else {
            return Ok(());
        };
        for signal in signals {
            let _ended_meanwhile = pidfd_send_signal(&handle, *signal);
            let mut exited = [PollFd::new(&handle, PollFlags::IN)];
            let timeout = Timespec { tv_sec: TIMEOUT.as_secs().cast_signed(), tv_nsec: 0 };
            if poll(&mut exited, Some(&timeout)).is_ok_and(|ready| ready > 0) {
                return Ok(());
            }
        }
        let what = format!("process {} to exit", self.pid);
        Err(ToolError::Timeout { what, seconds: TIMEOUT.as_secs(), last: "still running".to_owned() })
    }
}

/// Starts one of the [`PROCESSES`] and returns when its identity is recorded. The process writes its output
/// to its log file. It does not inherit the environment of this program.
pub(crate) fn start_process(
    dir: &ClusterDir,
    name: &'static str,
    group: Option<&std::path::Path>,
    command: &[String],
) -> Result<(), ToolError> {
    let log = dir.log_file(name);
    let io_error = |error| ToolError::Io { what: format!("{name} could not be started"), error };
    let output = File::options().create(true).append(true).open(&log).map_err(io_error)?;
    let errors = output.try_clone().map_err(io_error)?;
    let record = dir.identity_file(name);
    let _none_yet = std::fs::remove_file(&record);
    let mut child = Command::new("/bin/sh")
        .args(["-c", START_SCRIPT, "sh"])
        .arg(&record)
        .arg(group.unwrap_or_else(|| std::path::Path::new("")))
        .args(command)
        .env_clear()
        .env("PATH", search_path())
        .env("HOME", dir.path())
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(io_error)?;
    let deadline = Instant::now() + TIMEOUT;
    while ProcessIdentity::recorded(dir, name).is_none() {
        if child.try_wait().map_err(io_error)?.is_some() || Instant::now() > deadline {
            return Err(ToolError::ProcessDied { process: name, log });
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Fails if one of the started processes has exited.
pub(crate) fn check_all_alive(dir: &ClusterDir) -> Result<(), ToolError> {
    for process in PROCESSES {
        if ProcessIdentity::recorded(dir, process).is_some_and(|identity| !identity.is_alive()) {
            return Err(ToolError::ProcessDied { process, log: dir.log_file(process) });
        }
    }
    Ok(())
}

/// Polls `check` until it returns `Ok`. Fails after this number of seconds, or if a process of the cluster
/// has exited. The time-out error contains the last error of `check`.
pub(crate) fn wait_for<T>(
    dir: &ClusterDir,
    what: &str,
    seconds: u64,
    mut check: impl FnMut() -> Result<T, String>,
) -> Result<T, ToolError> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match check() {
            Ok(found) => return Ok(found),
            Err(last) if Instant::now() > deadline => {
                return Err(ToolError::Timeout { what: what.to_owned(), seconds, last });
            }
            Err(_) => check_all_alive(dir)?,
        }
        sleep(POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::{ProcessIdentity, ProcessStat};

    #[test]
    fn parse_reads_identity_group_and_state() {
        let line = "4711 (kube (x) let) S 1 4710 4709 0 -1 4194560 9 8 7 6 5 4 3 2 20 0 12 0 987654 1 2 3";
        let identity = ProcessIdentity { pid: 4711, start_ticks: 987_654 };
        assert_eq!(
            ProcessStat::parse(line),
            Some(ProcessStat { identity, process_group: 4710, has_exited: false })
        );
        let exited = ProcessStat::parse(&line.replace(") S ", ") Z "));
        assert_eq!(exited, Some(ProcessStat { identity, process_group: 4710, has_exited: true }));
        assert_eq!(ProcessStat::parse("4711 (kubelet"), None);
        assert_eq!(ProcessStat::parse("4711 (kubelet) S 1 2"), None);
    }

    #[test]
    fn reused_pid_is_not_the_recorded_process() {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let identity = ProcessIdentity::of_running(own);
        assert!(identity.is_some_and(ProcessIdentity::is_alive));
        assert!(
            identity
                .is_some_and(|own| !ProcessIdentity { start_ticks: own.start_ticks + 1, ..own }.is_alive())
        );
    }
}
