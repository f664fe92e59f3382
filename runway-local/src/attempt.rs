//! The supervisor's handle to the processes of one attempt, with their pipes and socket.

use crate::job_dir::create_private_dir;
use crate::output::{LogWriter, PumpOutcome, Stream};
use crate::plan::{ChildReport, EntryPlan, InitPlan, RunAs, SupervisorPlan};
use crate::process::ProcessId;
use crate::reexec::{Role, SELF_EXE};
use crate::sandbox::unshare;
use crate::wire;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::fs::File;
use std::io::{self, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The default limit of Linux for the size of an unprivileged user's pipe.
const MAX_PIPE_BYTES: usize = 1 << 20;

/// The processes of one attempt.
pub(crate) struct Attempt {
    run_as: RunAs,
    /// The process that the supervisor started: init if the supervisor is root, otherwise the entry process.
    /// When it exits, the other processes end.
    first: Child,
    first_fd: OwnedFd,
    /// The socket to the entry process and init. They receive plans and signals over it, and send reports.
    socket: UnixStream,
    is_socket_closed: bool,
    /// The pipe of the job's standard output. `None` after the pipe is closed.
    stdout: Option<PipeReader>,
    /// The pipe of the job's standard error. `None` after the pipe is closed.
    stderr: Option<PipeReader>,
}

/// The event sources that are ready.
pub(crate) struct Ready {
    /// The first process has exited.
    pub exited: bool,
    /// A file was created in the job's directory or moved into it, such as a request to cancel the job.
    pub control: bool,
    /// Standard output is readable or closed.
    pub stdout: bool,
    /// Standard error is readable or closed.
    pub stderr: bool,
    /// A report is readable, or the socket of the processes is closed.
    pub report: bool,
    /// The launcher has exited or closed its socket.
    pub launcher: bool,
}

impl Attempt {
    /// Creates the directory for the job's files and starts the first process, which waits for its plan.
    pub(crate) fn spawn(files_dir: &Path, run_as: RunAs) -> io::Result<Self> {
        create_files_dir(files_dir, run_as)?;
        let (out, out_end) = io::pipe()?;
        let (err, err_end) = io::pipe()?;
        for pipe in [&out, &err] {
            // A smaller pipe works too, but is slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, MAX_PIPE_BYTES);
        }
        let (socket, socket_end) = UnixStream::pair()?;
        let role = match run_as {
            RunAs::Other { .. } => Role::Init,
            RunAs::Caller { .. } => Role::Entry,
        };
        let mut command = role.command(SELF_EXE);
        command
            .stdin(Stdio::from(OwnedFd::from(socket_end)))
            .stdout(Stdio::from(out_end))
            .stderr(Stdio::from(err_end));
        let first = match run_as {
            RunAs::Other { .. } => spawn_as_pid_1(&mut command)?,
            RunAs::Caller { .. } => command.spawn()?,
        };
        let pid = i32::try_from(first.id()).ok().and_then(Pid::from_raw);
        let first_fd = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
        // Returning drops `command`, which holds the write ends of the pipes. While it exists, readers of the
        // pipes cannot reach the end of the output.
        Ok(Self {
            run_as,
            first,
            first_fd,
            socket,
            is_socket_closed: false,
            stdout: Some(out),
            stderr: Some(err),
        })
    }

    /// Returns the id of init if init is the first process. Otherwise [`ChildReport::InitStarted`] has its
    /// pid.
    pub(crate) fn init(&self) -> Option<ProcessId> {
        match self.run_as {
            RunAs::Other { .. } => ProcessId::lookup(self.first.id()),
            RunAs::Caller { .. } => None,
        }
    }

    /// Sends the instructions to the entry process, if there is one, and to init.
    pub(crate) fn send_plans(&self, plan: &SupervisorPlan, files_dir: &Path) -> io::Result<()> {
        if let RunAs::Caller { uid, gid } = self.run_as {
            wire::send(&self.socket, &EntryPlan { supervisor_pid: std::process::id(), uid, gid })?;
        }
        let init = InitPlan {
            procs_files: plan.cgroups.procs_files(),
            sandbox: plan.sandbox.clone(),
            files_dir: files_dir.to_owned(),
            process: plan.process.clone(),
        };
        wire::send(&self.socket, &init)
    }

    /// Receives the next report. Returns `None` after the last report, or if a report is invalid.
    pub(crate) fn receive(&mut self) -> Option<ChildReport> {
        let received = if self.is_socket_closed { None } else { wire::receive(&self.socket).ok().flatten() };
        self.is_socket_closed = received.is_none();
        received
    }

    /// Sends a signal to init, which forwards it to the job's process. Returns whether it was sent to init.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        u8::try_from(signal.as_raw()).is_ok_and(|signal| self.socket.write_all(&[signal]).is_ok())
    }

    /// Kills the first process. The kernel then kills all processes in the job's PID namespace.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.first_fd, Signal::KILL);
    }

    /// Waits until the first process has exited.
    pub(crate) fn reap(&mut self) -> io::Result<()> {
        self.first.wait()?;
        Ok(())
    }

    /// Returns whether more output can follow.
    pub(crate) const fn has_output(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Moves output from the ready pipes to the log. Returns whether any output was moved.
    pub(crate) fn pump(&mut self, output: &mut LogWriter, out: bool, err: bool) -> io::Result<bool> {
        let mut has_moved = false;
        for (pipe, stream, is_ready) in
            [(&mut self.stdout, Stream::Stdout, out), (&mut self.stderr, Stream::Stderr, err)]
        {
            if let Some(open) = pipe.as_ref().filter(|_| is_ready) {
                match output.pump(open, stream)? {
                    PumpOutcome::More => has_moved = true,
                    PumpOutcome::Empty => {}
                    PumpOutcome::Closed => *pipe = None,
                }
            }
        }
        Ok(has_moved)
    }

    /// Waits until an output pipe is readable or closed, or until the timeout expires.
    pub(crate) fn wait_for_output(&self, timeout: Duration) -> io::Result<()> {
        let pipes = self.stdout.iter().chain(&self.stderr);
        let mut polled: Vec<_> = pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        poll_with_timeout(&mut polled, timeout)
    }

    /// Waits until an event source is ready, or until the timeout expires.
    pub(crate) fn wait(
        &self,
        control_fd: &OwnedFd,
        launcher: Option<&UnixStream>,
        timeout: Duration,
    ) -> io::Result<Ready> {
        let mut polled =
            vec![PollFd::new(&self.first_fd, PollFlags::IN), PollFd::new(control_fd, PollFlags::IN)];
        let socket = (!self.is_socket_closed).then_some(&self.socket);
        let indices = [
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
            socket.map(AsFd::as_fd),
            launcher.map(AsFd::as_fd),
        ]
        .map(|fd| {
            fd.map(|fd| {
                polled.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
                polled.len() - 1
            })
        });
        let [out, err, report, launcher] = indices;
        poll_with_timeout(&mut polled, timeout)?;
        let is_ready = |at: Option<usize>| {
            at.and_then(|at| polled.get(at)).is_some_and(|polled| !polled.revents().is_empty())
        };
        Ok(Ready {
            exited: is_ready(Some(0)),
            control: is_ready(Some(1)),
            stdout: is_ready(out),
            stderr: is_ready(err),
            report: is_ready(report),
            launcher: is_ready(launcher),
        })
    }
}

/// Creates the directory that becomes the job's `/tmp`, and the working directory in it. The job's user owns
/// both.
fn create_files_dir(files_dir: &Path, run_as: RunAs) -> io::Result<()> {
    for dir in [files_dir, &files_dir.join("work")] {
        create_private_dir(dir)?;
        if let RunAs::Other { id } = run_as {
            std::os::unix::fs::chown(dir, Some(id), Some(id))?;
        }
    }
    Ok(())
}

/// Starts a process as PID 1 of a new PID namespace. The caller and its later children stay in their own
/// namespace.
fn spawn_as_pid_1(command: &mut Command) -> io::Result<Child> {
    let own_namespace = File::open("/proc/self/ns/pid")?;
    unshare(UnshareFlags::NEWPID)?;
    let child = command.spawn();
    move_into_link_name_space(own_namespace.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    child
}

fn poll_with_timeout(polled: &mut [PollFd<'_>], timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).unwrap_or_default();
    match poll(polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
