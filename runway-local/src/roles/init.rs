//! PID 1 of the job's process namespace: sets up the sandbox, starts the job, forwards signals and reaps
//! children. When it exits, the kernel kills every process in the namespace.

use crate::errno;
use crate::plan::{ChildReport, InitPlan, Process};
use crate::sandbox::{
    ErrorContext, SandboxError, die_with_parent, loopback, mounts, privileges, seccomp, unshare,
};
use crate::wire;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use rustix::thread::UnshareFlags;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// The signals that init forwards to the job's process when any process sends them to init.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// The default working directory of a job.
const WORK_DIR: &str = "/tmp/work";

type Signals = SignalDelivery<UnixStream, SignalOnly>;

/// Runs init until the job's process has ended.
pub(super) fn run(supervisor_socket: &UnixStream) -> Result<(), SandboxError> {
    die_with_parent()?;
    let plan = wire::receive::<InitPlan>(supervisor_socket).context("receiving the plan")?;
    let plan = plan.ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof)).context("receiving the plan")?;
    let InitPlan { procs_files: join, sandbox, files_dir: files, process } = plan;
    for procs_file in &join {
        fs::write(procs_file, "0")
            .context(format_args!("joining the control group `{}`", procs_file.display()))?;
    }
    let mut namespaces =
        UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    if !sandbox.open_network {
        namespaces |= UnshareFlags::NEWNET;
    }
    unshare(namespaces).context("creating namespaces")?;
    rustix::system::sethostname(sandbox.hostname.as_bytes()).context("setting the host name")?;
    if !sandbox.open_network {
        loopback::up().context("enabling the loopback interface")?;
    }
    mounts::setup(&sandbox, &files)?;
    rustix::process::setsid().context("starting a session")?;
    std::env::set_current_dir(WORK_DIR).context("changing to the working directory")?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let oom_score_adj = OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
    let mut oom_score_adj = oom_score_adj.context("opening `/proc/self/oom_score_adj`")?;
    let mut signals = register_signals().context("registering signal handlers")?;
    privileges::drop_privileges(sandbox.run_as)?;
    seccomp::apply().context("installing the system call filter")?;
    let job = match start_job(&process, &mut oom_score_adj) {
        Ok(job) => job,
        Err((message, code)) => {
            return wire::send(supervisor_socket, &ChildReport::NotStarted { message, code })
                .context("sending the report");
        }
    };
    drop(process);
    wire::send(supervisor_socket, &ChildReport::Running).context("sending the report")?;
    wait_and_reap(supervisor_socket, &mut signals, job).context("waiting for the job")
}

fn register_signals() -> io::Result<Signals> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    SignalDelivery::with_pipe(read, write, SignalOnly, FORWARDED.iter().chain(&[SIGCHLD]))
}

/// Starts the job's process. When memory runs out, the kernel must kill the job and not init, so only the job
/// gets a high `oom_score_adj`. If the start fails, returns the message and the exit code of the job.
fn start_job(process: &Process, oom_score_adj: &mut File) -> Result<Pid, (String, i32)> {
    let [program, arguments @ ..] = process.command.as_slice() else {
        return Err(("the job has no command".to_owned(), 127));
    };
    if let Some(workdir) = &process.workdir {
        // Init already has the mounts and the permissions of the job.
        let enter = std::env::set_current_dir(workdir);
        enter.map_err(|error| (format!("working directory {workdir}: {}", errno::message(&error)), 126))?;
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).process_group(0);
    command.envs(process.env.iter().map(|(name, value)| (name, value)));
    let _ = oom_score_adj.write_all(b"1000");
    let started = command.spawn();
    let _ = oom_score_adj.write_all(b"0");
    match started {
        Ok(job) => i32::try_from(job.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| ("the process has no valid pid".to_owned(), 126)),
        Err(error) => {
            let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
            Err((format!("{program}: {}", errno::message(&error)), code))
        }
    }
}

/// Forwards signals and reaps children until the job's process has ended. Reports how it ended.
fn wait_and_reap(supervisor_socket: &UnixStream, signals: &mut Signals, job: Pid) -> io::Result<()> {
    loop {
        while let Some((pid, status)) = reap()? {
            if pid == job {
                let report = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => ChildReport::Exited(code),
                    (None, signal) => ChildReport::Signaled(signal.unwrap_or_default()),
                };
                return wire::send(supervisor_socket, &report);
            }
        }
        let mut polled =
            [PollFd::new(supervisor_socket, PollFlags::IN), PollFd::new(signals.get_read(), PollFlags::IN)];
        match poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            result => drop(result?),
        }
        let [from_supervisor, _] = polled.map(|polled| !polled.revents().is_empty());
        if from_supervisor {
            let mut signal = [0];
            let mut supervisor_socket = supervisor_socket;
            supervisor_socket.read_exact(&mut signal)?;
            forward_signal(i32::from(signal[0]), job);
        }
        for signal in signals.pending() {
            forward_signal(signal, job);
        }
    }
}

fn reap() -> io::Result<Option<(Pid, rustix::process::WaitStatus)>> {
    match wait(WaitOptions::NOHANG) {
        Err(Errno::CHILD) => Ok(None),
        result => Ok(result?),
    }
}

fn forward_signal(signal: i32, job: Pid) {
    if let Some(signal) = Signal::from_named_raw(signal).filter(|_| signal != SIGCHLD) {
        let _ = kill_process(job, signal);
    }
}
