//! PID 1 of the job's process namespace: sets up the sandbox, starts the job, forwards signals and reaps
//! children. When it exits, the kernel kills every process in the namespace.

use crate::errno;
use crate::plan::{InitPlan, Process, Report};
use crate::sandbox::{Doing, Failure, die_with_parent, loopback, mounts, privileges, seccomp, unshare};
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

/// The signals that are forwarded to the job, from any sender.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// The default working directory of a job.
const WORK: &str = "/tmp/work";

type Signals = SignalDelivery<UnixStream, SignalOnly>;

/// Runs init until the job's process has ended.
pub(super) fn run(line: &UnixStream) -> Result<(), Failure> {
    die_with_parent()?;
    let plan = wire::receive::<InitPlan>(line).doing("receiving the plan")?;
    let plan = plan.ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof)).doing("receiving the plan")?;
    let InitPlan { join, sandbox, files, process } = plan;
    for group in &join {
        fs::write(group, "0").doing(format_args!("joining the control group `{}`", group.display()))?;
    }
    let mut namespaces =
        UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    if !sandbox.open_network {
        namespaces |= UnshareFlags::NEWNET;
    }
    unshare(namespaces).doing("creating namespaces")?;
    rustix::system::sethostname(sandbox.hostname.as_bytes()).doing("setting the host name")?;
    if !sandbox.open_network {
        loopback::up().doing("enabling the loopback interface")?;
    }
    mounts::put_up(&sandbox, &files)?;
    rustix::process::setsid().doing("starting a session")?;
    std::env::set_current_dir(WORK).doing("changing to the working directory")?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let chosen_first = OpenOptions::new().write(true).open("/proc/self/oom_score_adj");
    let mut chosen_first = chosen_first.doing("reaching the kernel's choice of whom to kill")?;
    let mut signals = listen().doing("registering signal handlers")?;
    privileges::give_up(sandbox.user)?;
    seccomp::apply().doing("installing the system call filter")?;
    let job = match start(&process, &mut chosen_first) {
        Ok(job) => job,
        Err((message, code)) => {
            return wire::send(line, &Report::NotStarted { message, code }).doing("sending the report");
        }
    };
    drop(process);
    wire::send(line, &Report::Running).doing("sending the report")?;
    watch(line, &mut signals, job).doing("waiting for the job")
}

fn listen() -> io::Result<Signals> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    SignalDelivery::with_pipe(read, write, SignalOnly, FORWARDED.iter().chain(&[SIGCHLD]))
}

/// Starts the job's process. When memory runs out, the kernel must kill the job and not init, so only the job
/// gets a high `oom_score_adj`.
fn start(process: &Process, chosen_first: &mut File) -> Result<Pid, (String, i32)> {
    let [program, arguments @ ..] = process.command.as_slice() else {
        return Err(("the job has no command".to_owned(), 127));
    };
    if let Some(workdir) = &process.workdir {
        // Mounts and permissions are already those of the job.
        let enter = std::env::set_current_dir(workdir);
        enter.map_err(|error| (format!("working directory {workdir}: {}", errno::text(&error)), 126))?;
    }
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(Stdio::null()).process_group(0);
    command.envs(process.env.iter().map(|(name, value)| (name, value)));
    let _ = chosen_first.write_all(b"1000");
    let started = command.spawn();
    let _ = chosen_first.write_all(b"0");
    match started {
        Ok(job) => i32::try_from(job.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| ("the process has no valid pid".to_owned(), 126)),
        Err(error) => {
            let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
            Err((format!("{program}: {}", errno::text(&error)), code))
        }
    }
}

/// Forwards signals and reaps children until the job's process has ended. Reports how it ended.
fn watch(line: &UnixStream, signals: &mut Signals, job: Pid) -> io::Result<()> {
    loop {
        while let Some((dead, status)) = reap()? {
            if dead == job {
                let end = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Report::Exited(code),
                    (None, signal) => Report::Signaled(signal.unwrap_or_default()),
                };
                return wire::send(line, &end);
            }
        }
        let mut polled = [PollFd::new(line, PollFlags::IN), PollFd::new(signals.get_read(), PollFlags::IN)];
        match poll(&mut polled, None) {
            Err(Errno::INTR) => {}
            result => drop(result?),
        }
        let [from_supervisor, _] = polled.map(|polled| !polled.revents().is_empty());
        if from_supervisor {
            let mut signal = [0];
            let mut line = line;
            line.read_exact(&mut signal)?;
            hand_on(i32::from(signal[0]), job);
        }
        for signal in signals.pending() {
            hand_on(signal, job);
        }
    }
}

fn reap() -> io::Result<Option<(Pid, rustix::process::WaitStatus)>> {
    match wait(WaitOptions::NOHANG) {
        Err(Errno::CHILD) => Ok(None),
        result => Ok(result?),
    }
}

fn hand_on(signal: i32, job: Pid) {
    if let Some(signal) = Signal::from_named_raw(signal).filter(|_| signal != SIGCHLD) {
        let _ = kill_process(job, signal);
    }
}
