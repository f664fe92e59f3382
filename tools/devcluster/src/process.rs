//! Starts and stops the cluster's processes. Each process has its own process group and is identified by pid
//! and start time.

use crate::state::Folder;
use runway_steps::{Failure, search_path};
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
/// The client. It is not a process of the cluster.
pub(crate) const KUBECTL: &str = "kubectl";

/// Interval at which a condition is polled.
pub(crate) const INTERVAL: Duration = Duration::from_millis(50);

/// Maximum time for a process to start, and to exit after each signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// Records the identity of the process before it becomes the program, so that no process runs unrecorded.
/// Then it joins the cgroup, if there is one.
const BECOME: &str = r#"
read -r identity < /proc/self/stat && printf '%s\n' "$identity" > "$1" || exit 1
[ -z "$2" ] || echo $$ > "$2" || exit 1
shift 2
exec "$@"
"#;

/// Identifies one process. The kernel may reuse the pid, but not with the same start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot.
    started: u64,
}

/// The fields of `/proc/PID/stat` that this program needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) identity: Identity,
    /// The process group.
    pub(crate) group: i32,
    /// Whether the process is a zombie: it has exited, and its parent has not waited for it yet.
    pub(crate) ended: bool,
}

impl Stat {
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
        let identity = Identity { pid: pid.parse().ok()?, started };
        Some(Self { identity, group, ended: matches!(state, "Z" | "X" | "x") })
    }

    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

impl Identity {
    /// Returns the identity of the running process with this pid.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).filter(|stat| !stat.ended).map(|stat| stat.identity)
    }

    /// Returns the process that was last started under this name. It may have exited.
    pub(crate) fn recorded(folder: &Folder, name: &str) -> Option<Self> {
        let line = std::fs::read_to_string(folder.record(name)).ok()?;
        Stat::parse(line.trim_end()).map(|stat| stat.identity)
    }

    pub(crate) fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Sends a signal to this process. The pidfd is opened before the identity is checked, so that a reused
    /// pid receives no signal.
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
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.end(&[Signal::TERM, Signal::KILL])
    }

    /// Sends SIGKILL and waits until the process has exited.
    pub(crate) fn kill(self) -> Result<(), Failure> {
        self.end(&[Signal::KILL])
    }

    /// Sends one signal after the other until the process has exited. Then all its threads have ended and its
    /// ports are free.
    fn end(self, signals: &[Signal]) -> Result<(), Failure> {
        let handle = Pid::from_raw(self.pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let Some(handle) = handle.filter(|_| Stat::of(self.pid).is_some_and(|stat| stat.identity == self))
        else {
            return Ok(());
        };
        for signal in signals {
            let _ended_meanwhile = pidfd_send_signal(&handle, *signal);
            let mut ended = [PollFd::new(&handle, PollFlags::IN)];
            let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
            if poll(&mut ended, Some(&patience)).is_ok_and(|ready| ready > 0) {
                return Ok(());
            }
        }
        let what = format!("process {} to exit", self.pid);
        Err(Failure::TimedOut { what, seconds: PATIENCE.as_secs(), last: "still running".to_owned() })
    }
}

/// Starts one of the [`PROCESSES`]. Its output goes to its log. It does not inherit this program's
/// environment.
pub(crate) fn start(
    folder: &Folder,
    name: &'static str,
    group: Option<&std::path::Path>,
    command: &[String],
) -> Result<(), Failure> {
    let log = folder.log(name);
    let told = |error| Failure::Io { what: format!("{name} could not be started"), error };
    let output = File::options().create(true).append(true).open(&log).map_err(told)?;
    let errors = output.try_clone().map_err(told)?;
    let record = folder.record(name);
    let _none_yet = std::fs::remove_file(&record);
    let mut child = Command::new("/bin/sh")
        .args(["-c", BECOME, "sh"])
        .arg(&record)
        .arg(group.unwrap_or_else(|| std::path::Path::new("")))
        .args(command)
        .env_clear()
        .env("PATH", search_path())
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(told)?;
    let deadline = Instant::now() + PATIENCE;
    while Identity::recorded(folder, name).is_none() {
        if child.try_wait().map_err(told)?.is_some() || Instant::now() > deadline {
            return Err(Failure::Died { process: name, log });
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Fails if one of the started processes has exited.
pub(crate) fn all_alive(folder: &Folder) -> Result<(), Failure> {
    for process in PROCESSES {
        if Identity::recorded(folder, process).is_some_and(|identity| !identity.is_alive()) {
            return Err(Failure::Died { process, log: folder.log(process) });
        }
    }
    Ok(())
}

/// Polls `check` until it returns `Ok`. Fails if the time is over or a process of the cluster has exited. The
/// time-out error contains the last error of `check`.
pub(crate) fn wait<T>(
    folder: &Folder,
    what: &str,
    seconds: u64,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, Failure> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(last) if Instant::now() > deadline => {
                return Err(Failure::TimedOut { what: what.to_owned(), seconds, last });
            }
            Err(_) => all_alive(folder)?,
        }
        sleep(INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::{Identity, Stat};

    #[test]
    fn a_process_is_told_by_its_pid_and_start_time() {
        let line = "4711 (kube (x) let) S 1 4710 4709 0 -1 4194560 9 8 7 6 5 4 3 2 20 0 12 0 987654 1 2 3";
        let identity = Identity { pid: 4711, started: 987_654 };
        assert_eq!(Stat::parse(line), Some(Stat { identity, group: 4710, ended: false }));
        let ended = Stat::parse(&line.replace(") S ", ") Z "));
        assert_eq!(ended, Some(Stat { identity, group: 4710, ended: true }));
        assert_eq!(Stat::parse("4711 (kubelet"), None);
        assert_eq!(Stat::parse("4711 (kubelet) S 1 2"), None);
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_the_one_that_was_started() {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let identity = Identity::of(own);
        assert!(identity.is_some_and(Identity::is_alive));
        assert!(identity.is_some_and(|own| !Identity { started: own.started + 1, ..own }.is_alive()));
    }
}
