//! The supervisor's handle to the processes of one attempt, with their pipes and socket.

use crate::folder::make_private;
use crate::output::{Pumped, Stream, Writer};
use crate::plan::{EntryPlan, InitPlan, Plan, Report, User};
use crate::process::Seen;
use crate::reexec::{Role, SELF};
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
const PIPE_BYTES: usize = 1 << 20;

/// The processes of one attempt.
pub(crate) struct Attempt {
    user: User,
    /// The process that the supervisor started: init, or the entry. When it exits, the other processes end.
    first: Child,
    first_fd: OwnedFd,
    /// The socket over which the processes report.
    socket: UnixStream,
    socket_ended: bool,
    /// Standard output and standard error, until they are closed.
    out: Option<PipeReader>,
    err: Option<PipeReader>,
}

/// The event sources that are ready.
pub(crate) struct Ready {
    /// The first process has exited.
    pub ended: bool,
    /// A file was created in the job's directory.
    pub asked: bool,
    /// Standard output is readable.
    pub out: bool,
    /// Standard error is readable.
    pub err: bool,
    /// A report is readable.
    pub report: bool,
    /// The launcher has exited.
    pub launcher: bool,
}

impl Attempt {
    /// Creates the directory for the job's files and starts the first process, which waits for its plan.
    pub(crate) fn spawn(files: &Path, user: User) -> io::Result<Self> {
        make_files(files, user)?;
        let (out, out_end) = io::pipe()?;
        let (err, err_end) = io::pipe()?;
        for pipe in [&out, &err] {
            // A smaller pipe works too, but is slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        let (socket, socket_end) = UnixStream::pair()?;
        let role = match user {
            User::Other { .. } => Role::Init,
            User::Same { .. } => Role::Entry,
        };
        let mut command = role.command(SELF);
        command
            .stdin(Stdio::from(OwnedFd::from(socket_end)))
            .stdout(Stdio::from(out_end))
            .stderr(Stdio::from(err_end));
        let first = match user {
            User::Other { .. } => spawn_as_pid_1(&mut command)?,
            User::Same { .. } => command.spawn()?,
        };
        let pid = i32::try_from(first.id()).ok().and_then(Pid::from_raw);
        let first_fd = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
        // Returning drops `command`, which holds the write ends of the pipes. Otherwise the pipes would never
        // end.
        Ok(Self { user, first, first_fd, socket, socket_ended: false, out: Some(out), err: Some(err) })
    }

    /// Returns init if it is the first process. Otherwise [`ChildReport::InitStarted`] has its pid.
    pub(crate) fn init(&self) -> Option<Seen> {
        match self.user {
            User::Other { .. } => Seen::of(self.first.id()),
            User::Same { .. } => None,
        }
    }

    /// Sends the instructions for the processes.
    pub(crate) fn send_plans(&self, plan: &Plan, files: &Path) -> io::Result<()> {
        if let User::Same { uid, gid } = self.user {
            wire::send(&self.socket, &EntryPlan { supervisor: std::process::id(), uid, gid })?;
        }
        let init = InitPlan {
            join: plan.groups.to_join(),
            sandbox: plan.sandbox.clone(),
            files: files.to_owned(),
            process: plan.process.clone(),
        };
        wire::send(&self.socket, &init)
    }

    /// Receives the next report. Returns `None` after the last one.
    pub(crate) fn receive(&mut self) -> Option<Report> {
        let received = if self.socket_ended { None } else { wire::receive(&self.socket).ok().flatten() };
        self.socket_ended = received.is_none();
        received
    }

    /// Sends a signal to the job's process through init. Returns whether it was sent.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        u8::try_from(signal.as_raw()).is_ok_and(|signal| self.socket.write_all(&[signal]).is_ok())
    }

    /// Kills the first process, which ends all processes in its namespaces.
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
        self.out.is_some() || self.err.is_some()
    }

    /// Moves output from the ready pipes to the log. Returns whether it moved any.
    pub(crate) fn pump(&mut self, output: &mut Writer, out: bool, err: bool) -> io::Result<bool> {
        let mut has_written = false;
        for (pipe, stream, is_ready) in [(&mut self.out, Stream::Out, out), (&mut self.err, Stream::Err, err)]
        {
            if let Some(open) = pipe.as_ref().filter(|_| is_ready) {
                match output.pump(open, stream)? {
                    Pumped::More => has_written = true,
                    Pumped::Empty => {}
                    Pumped::Ended => *pipe = None,
                }
            }
        }
        Ok(has_written)
    }

    /// Waits until a pipe is readable or closed, or until the timeout expires.
    pub(crate) fn wait_for_output(&self, within: Duration) -> io::Result<()> {
        let pipes = self.out.iter().chain(&self.err);
        let mut polled: Vec<_> = pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        poll_within(&mut polled, within)
    }

    /// Waits until a source is ready, or until the timeout expires.
    pub(crate) fn wait(
        &self,
        asked: &OwnedFd,
        launcher: Option<&UnixStream>,
        within: Duration,
    ) -> io::Result<Ready> {
        let mut polled = vec![PollFd::new(&self.first_fd, PollFlags::IN), PollFd::new(asked, PollFlags::IN)];
        let socket = (!self.socket_ended).then_some(&self.socket);
        let places = [
            self.out.as_ref().map(AsFd::as_fd),
            self.err.as_ref().map(AsFd::as_fd),
            socket.map(AsFd::as_fd),
            launcher.map(AsFd::as_fd),
        ]
        .map(|fd| {
            fd.map(|fd| {
                polled.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
                polled.len() - 1
            })
        });
        let [out, err, report, launcher] = places;
        poll_within(&mut polled, within)?;
        let is_ready = |at: Option<usize>| {
            at.and_then(|at| polled.get(at)).is_some_and(|polled| !polled.revents().is_empty())
        };
        Ok(Ready {
            ended: is_ready(Some(0)),
            asked: is_ready(Some(1)),
            out: is_ready(out),
            err: is_ready(err),
            report: is_ready(report),
            launcher: is_ready(launcher),
        })
    }
}

/// Creates the directory that becomes `/tmp` and the working directory in it, both owned by the job's user.
fn make_files(files: &Path, user: User) -> io::Result<()> {
    for folder in [files, &files.join("work")] {
        make_private(folder)?;
        if let User::Other { id } = user {
            std::os::unix::fs::chown(folder, Some(id), Some(id))?;
        }
    }
    Ok(())
}

/// Starts a process as PID 1 of a new PID namespace. The caller and its later children stay in their own
/// namespace.
fn spawn_as_pid_1(command: &mut Command) -> io::Result<Child> {
    let own = File::open("/proc/self/ns/pid")?;
    unshare(UnshareFlags::NEWPID)?;
    let child = command.spawn();
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    child
}

fn poll_within(polled: &mut [PollFd<'_>], within: Duration) -> io::Result<()> {
    let within = Timespec::try_from(within).unwrap_or_default();
    match poll(polled, Some(&within)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
