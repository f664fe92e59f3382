//! One attempt: the processes that stand for it, its output, its time and its storage.

use super::supervisor::Supervisor;
use super::{ENTRY, INIT, stage};
use crate::folder::make_private;
use crate::output::{Pumped, Stream};
use crate::plan::{EntryPlan, InitPlan, Report, User};
use crate::process::Seen;
use crate::sandbox::entry::unshare;
use crate::storage::Meter;
use crate::wire;
use runway_control::{Surroundings, System};
use runway_core::status::{LocalEnd, LocalStop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use std::fs::File;
use std::io::{self, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What became of an attempt.
pub(super) enum Attempted {
    /// It ended so.
    Ended(LocalEnd),
    /// The walls could not be put up, and nothing was run.
    NoWalls(String),
}

/// How far the end of a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is not being ended.
    No,
    /// It is to be asked to end.
    Asked,
    /// It was asked, and is killed at this time.
    KilledAt(Instant),
    /// It is to be killed.
    Now,
    /// It was killed.
    Killed,
}

/// What is left in the pipes once nobody is left to write is read for so long. Nobody outside of the job's groups has their
/// other ends, so it is all there.
const DRAIN: Duration = Duration::from_secs(2);
/// As much as the kernel lets a plain user have in a pipe.
const PIPE_BYTES: usize = 1 << 20;

struct Running {
    /// The first process that was started for it, with which the others end.
    first: Child,
    first_fd: OwnedFd,
    line: UnixStream,
    /// Standard output and standard error, until they end.
    out: Option<PipeReader>,
    err: Option<PipeReader>,
    meter: Meter,
    reported: Option<Attempted>,
    line_ended: bool,
    evicted: bool,
}

impl Supervisor {
    pub(super) fn attempt(&mut self) -> io::Result<Attempted> {
        // What was asked for before there was anything to end.
        self.look_for_wishes();
        let mut running = self.start()?;
        loop {
            let now = Instant::now();
            self.keep_time(&mut running, now);
            let wakes = [self.next_time(), Some(running.meter.next())];
            let next = wakes.into_iter().flatten().min().unwrap_or(now);
            let seen = self.wait(&running, next.saturating_duration_since(now))?;
            if seen.line {
                self.hear(&mut running)?;
            }
            self.take_output(&mut running, seen.out, seen.err)?;
            // Nothing tells that the folder is taken away: the kernel does so only once no file of it is open.
            if seen.asked || !self.folder.exists() {
                self.look_for_wishes();
            }
            if seen.starter {
                self.lose_starter();
            }
            if seen.ended {
                break;
            }
        }
        running.first.wait()?;
        while !running.line_ended {
            self.hear(&mut running)?;
        }
        // Whoever is left goes first, so that the pipes have an end.
        self.end_all(DRAIN);
        self.drain(&mut running)?;
        if running.evicted {
            return Ok(Attempted::Ended(LocalEnd::StorageExceeded { limit: self.plan.storage }));
        }
        // The first process of its namespaces was killed, and could not say.
        Ok(running.reported.unwrap_or(Attempted::Ended(LocalEnd::Signaled { signal: 9 })))
    }

    fn start(&mut self) -> io::Result<Running> {
        let files = self.folder.files();
        let owner = match self.plan.sandbox.user {
            User::Other { id } => Some(id),
            User::Same { .. } => None,
        };
        for folder in [files.clone(), files.join("work")] {
            make_private(&folder)?;
            if let Some(owner) = owner {
                std::os::unix::fs::chown(&folder, Some(owner), Some(owner))?;
            }
        }
        let (out, out_end) = io::pipe()?;
        let (err, err_end) = io::pipe()?;
        for pipe in [&out, &err] {
            // Smaller ones do as well, only slower.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        let (line, line_end) = UnixStream::pair()?;
        let mut first = stage(match self.plan.sandbox.user {
            User::Other { .. } => INIT,
            User::Same { .. } => ENTRY,
        });
        first
            .stdin(Stdio::from(OwnedFd::from(line_end)))
            .stdout(Stdio::from(out_end))
            .stderr(Stdio::from(err_end));
        let first_child = match self.plan.sandbox.user {
            User::Other { .. } => {
                let child = as_first_process(&mut first)?;
                self.status.init = Seen::of(child.id());
                child
            }
            User::Same { uid, gid } => {
                let child = first.spawn()?;
                wire::send(&line, &EntryPlan { supervisor: std::process::id(), uid, gid })?;
                child
            }
        };
        // It has the other ends of the pipes, which would have no end here.
        drop(first);
        let pid = i32::try_from(first_child.id()).ok().and_then(Pid::from_raw);
        let first_fd = pidfd_open(pid.ok_or(Errno::SRCH)?, PidfdFlags::empty())?;
        let init = InitPlan {
            join: self.plan.groups.to_join(),
            sandbox: self.plan.sandbox.clone(),
            files: files.clone(),
            process: self.plan.process.clone(),
        };
        wire::send(&line, &init)?;
        Ok(Running {
            first: first_child,
            first_fd,
            line,
            out: Some(out),
            err: Some(err),
            meter: Meter::new(&files, self.plan.storage.units(), Instant::now()),
            reported: None,
            line_ended: false,
            evicted: false,
        })
    }

    /// Does what it is time for.
    fn keep_time(&mut self, running: &mut Running, now: Instant) {
        if now >= self.deadline {
            self.stop(LocalStop::Deadline);
        }
        let processes = || self.plan.groups.processes();
        if now >= running.meter.next() && running.meter.is_exceeded(self.output.bytes(), processes, now) {
            running.evicted = true;
            self.kill(running);
        }
        self.ending = match self.ending {
            Ending::Asked => {
                // Before the job runs there is nobody who could be asked.
                let has_started = self.status.attempts.last().is_some_and(|last| last.started.is_some());
                let term = u8::try_from(Signal::TERM.as_raw()).unwrap_or_default();
                if has_started && running.line.write_all(&[term]).is_ok() {
                    Ending::KilledAt(now + Duration::from_secs(self.plan.grace.get()))
                } else if has_started {
                    Ending::Now
                } else {
                    Ending::KilledAt(now)
                }
            }
            Ending::KilledAt(at) if now >= at => Ending::Now,
            ending => ending,
        };
        if self.ending == Ending::Now {
            self.kill(running);
            self.ending = Ending::Killed;
        }
    }

    fn next_time(&self) -> Option<Instant> {
        match self.ending {
            Ending::No => Some(self.deadline),
            Ending::KilledAt(at) => Some(at),
            Ending::Asked | Ending::Now => Some(Instant::now()),
            Ending::Killed => None,
        }
    }

    /// Kills all of it: the groups, and the processes that its namespaces stand and fall with.
    fn kill(&self, running: &Running) {
        self.plan.groups.kill();
        let _ = pidfd_send_signal(&running.first_fd, Signal::KILL);
    }

    fn hear(&mut self, running: &mut Running) -> io::Result<()> {
        let last = self.status.attempts.last_mut();
        let report = match wire::receive::<Report>(&running.line) {
            Ok(Some(report)) => report,
            Ok(None) | Err(_) => {
                running.line_ended = true;
                return Ok(());
            }
        };
        match report {
            Report::Entered(init) => self.status.init = Seen::of(init),
            Report::Failed(why) => running.reported = Some(Attempted::NoWalls(why)),
            Report::Running => {
                if let Some(last) = last {
                    last.started = Some(System.now());
                }
                self.write_status()?;
                self.answer();
            }
            Report::NotStarted { message, code } => {
                self.answer();
                running.reported = Some(Attempted::Ended(LocalEnd::NotStarted { message, code }));
            }
            Report::Exited(code) => running.reported = Some(Attempted::Ended(LocalEnd::Exited { code })),
            Report::Signaled(signal) => {
                running.reported = Some(Attempted::Ended(LocalEnd::Signaled { signal }));
            }
        }
        Ok(())
    }

    fn take_output(&mut self, running: &mut Running, out: bool, err: bool) -> io::Result<()> {
        for (pipe, stream, is_ready) in
            [(&mut running.out, Stream::Out, out), (&mut running.err, Stream::Err, err)]
        {
            if let Some(open) = pipe.as_ref().filter(|_| is_ready) {
                match self.output.pump(open, stream)? {
                    Pumped::More => self.wake(),
                    Pumped::Empty => {}
                    Pumped::Ended => *pipe = None,
                }
            }
        }
        Ok(())
    }

    /// Takes what is left in the pipes.
    fn drain(&mut self, running: &mut Running) -> io::Result<()> {
        let until = Instant::now() + DRAIN;
        while (running.out.is_some() || running.err.is_some()) && Instant::now() < until {
            let within = until.saturating_duration_since(Instant::now());
            let mut polled: Vec<_> =
                running.out.iter().chain(&running.err).map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
            match poll(&mut polled, Timespec::try_from(within).ok().as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.take_output(running, true, true)?;
        }
        Ok(())
    }

    /// The one who started an attached job is gone, and so is what it was for.
    fn lose_starter(&mut self) {
        self.starter = None;
        if self.plan.attached {
            self.stop(LocalStop::Cancelled);
        }
    }

    fn wait(&self, running: &Running, within: Duration) -> io::Result<Ready> {
        let mut polled =
            vec![PollFd::new(&running.first_fd, PollFlags::IN), PollFd::new(&self.asked, PollFlags::IN)];
        let line = (!running.line_ended).then_some(&running.line);
        let places = [
            running.out.as_ref().map(AsFd::as_fd),
            running.err.as_ref().map(AsFd::as_fd),
            line.map(AsFd::as_fd),
            self.starter.as_ref().map(AsFd::as_fd),
        ]
        .map(|fd| {
            fd.map(|fd| {
                polled.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
                polled.len() - 1
            })
        });
        let [out, err, line, starter] = places;
        let within = Timespec::try_from(within).unwrap_or_default();
        match poll(&mut polled, Some(&within)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |at: Option<usize>| {
            at.and_then(|at| polled.get(at)).is_some_and(|polled| !polled.revents().is_empty())
        };
        Ok(Ready {
            ended: is_ready(Some(0)),
            asked: is_ready(Some(1)),
            out: is_ready(out),
            err: is_ready(err),
            line: is_ready(line),
            starter: is_ready(starter),
        })
    }
}

/// Starts a process as the first of a process namespace. This one stays where it is, and so does what else it starts.
fn as_first_process(command: &mut Command) -> io::Result<Child> {
    let own = File::open("/proc/self/ns/pid")?;
    unshare(UnshareFlags::NEWPID)?;
    let child = command.spawn();
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    child
}

/// What there is to do.
struct Ready {
    ended: bool,
    asked: bool,
    out: bool,
    err: bool,
    line: bool,
    starter: bool,
}
