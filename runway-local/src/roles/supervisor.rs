//! The supervisor: runs the attempts of one job, enforces its limits and writes its outcome.

use crate::attempt::Attempt;
use crate::folder::{Folder, Wish};
use crate::output::Writer;
use crate::plan::{Answer, Plan, Report};
use crate::process::{Seen, kill_processes};
use crate::record::StatusFile;
use crate::storage::Meter;
use crate::usage::Usage;
use crate::{tree, wire};
use runway_control::{Surroundings, System};
use runway_core::status::{LocalAttempt, LocalEnd, LocalStop};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::net::SendFlags;
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Time limit for the end of killed processes.
const DEATH: Duration = Duration::from_secs(30);
/// Time limit for reading the remaining output after the job's processes have ended. Only these processes
/// hold the write ends of the pipes, so the output is complete.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the supervisor until the job is finished.
pub(super) fn run() -> io::Result<()> {
    // The job must not inherit files that the launcher left open.
    close_fds::set_fds_cloexec(3, &[]);
    // Signals of the launcher's terminal must not reach the job.
    let _ = rustix::process::setsid();
    let launcher = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(plan) = wire::receive::<Plan>(&launcher)? else { return Ok(()) };
    let supervisor = Supervisor::new(plan, launcher)?;
    supervisor.folder.write_status(&supervisor.status)?;
    supervisor.run()
}

/// The outcome of an attempt.
enum Attempted {
    /// The attempt ran and ended, or its program could not be started.
    Ended(LocalEnd),
    /// The sandbox could not be set up, and nothing was run.
    NoWalls(String),
}

/// The progress of a job's shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// No shutdown was requested.
    No,
    /// Send the signal to stop next.
    Asked,
    /// The signal was sent. Kill the job at this time.
    KilledAt(Instant),
    /// Kill the job next.
    Now,
    /// The job was killed.
    Killed,
}

/// The supervised job and its state.
struct Supervisor {
    plan: Plan,
    folder: Folder,
    output: Writer,
    /// The inotify descriptor for new files in the job's directory.
    asked: OwnedFd,
    /// The socket to the launcher, while it is needed.
    launcher: Option<UnixStream>,
    is_answered: bool,
    status: StatusFile,
    began: Instant,
    deadline: Instant,
    /// The shutdown state of the job.
    ending: Ending,
}

impl Supervisor {
    fn new(plan: Plan, launcher: UnixStream) -> io::Result<Self> {
        let folder = Folder::new(plan.folder.clone());
        let output = Writer::create(&folder.log(), plan.log.units())?;
        let asked = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&asked, folder.path(), WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        let began = Instant::now();
        let status = StatusFile {
            started_at: Some(System.now()),
            supervisor: Seen::of(std::process::id()),
            ..StatusFile::default()
        };
        Ok(Self {
            deadline: began + Duration::from_secs(plan.timeout.get()),
            plan,
            folder,
            output,
            asked,
            launcher: Some(launcher),
            is_answered: false,
            status,
            began,
            ending: Ending::No,
        })
    }

    fn run(mut self) -> io::Result<()> {
        for number in 1..=self.plan.retries.saturating_add(1) {
            self.output.begin(number);
            self.status.attempts.push(LocalAttempt {
                scheduled: System.now(),
                started: None,
                ended: None,
                end: None,
                oom_kills: 0,
            });
            let kills_before = self.plan.groups.oom_kills();
            let attempted = self.attempt();
            self.clear();
            let end = match attempted {
                Ok(Attempted::Ended(end)) => {
                    // A job that ended before its process ran has not sent the reply yet.
                    self.answer();
                    end
                }
                Ok(Attempted::NoWalls(why)) => {
                    if !self.is_answered {
                        return self.refuse(why);
                    }
                    LocalEnd::NotStarted { message: why, code: 125 }
                }
                Err(error) if !self.is_answered => return self.refuse(error.to_string()),
                Err(error) => LocalEnd::NotStarted { message: error.to_string(), code: 125 },
            };
            let kills = self.plan.groups.oom_kills().saturating_sub(kills_before);
            let is_over = end.is_success() || self.ending != Ending::No;
            if let Some(last) = self.status.attempts.last_mut() {
                last.ended = Some(System.now());
                last.end = Some(end);
                last.oom_kills = kills;
            }
            // If the status cannot be written, a retry would not be visible, so the job ends.
            if is_over || self.write_status().is_err() {
                break;
            }
        }
        self.conclude()
    }

    /// Runs the job's command once.
    fn attempt(&mut self) -> io::Result<Attempted> {
        // A request can arrive before the attempt starts.
        self.look_for_wishes();
        let files = self.folder.files();
        let mut attempt = Attempt::spawn(&files, self.plan.sandbox.user)?;
        self.status.init = attempt.init();
        attempt.send_plans(&self.plan, &files)?;
        let mut meter = Meter::new(&files, self.plan.storage.units(), Instant::now());
        let (mut reported, mut is_evicted) = (None, false);
        loop {
            let now = Instant::now();
            let processes = || self.plan.groups.processes();
            if now >= meter.next() && meter.is_exceeded(self.output.bytes(), processes, now) {
                is_evicted = true;
                self.kill(&attempt);
            }
            self.keep_time(&mut attempt, now);
            let wakes = [self.next_time(), Some(meter.next())];
            let next = wakes.into_iter().flatten().min().unwrap_or(now);
            let within = next.saturating_duration_since(now);
            let ready = attempt.wait(&self.asked, self.launcher.as_ref(), within)?;
            if ready.report
                && let Some(report) = attempt.receive()
            {
                reported = self.hear(report)?.or(reported);
            }
            if attempt.pump(&mut self.output, ready.out, ready.err)? {
                self.wake();
            }
            // inotify reports the deletion of the directory only after its last file is closed, so check it
            // here.
            if ready.asked || !self.folder.exists() {
                self.look_for_wishes();
            }
            if ready.launcher {
                self.on_launcher_exit();
            }
            if ready.ended {
                break;
            }
        }
        attempt.reap()?;
        while let Some(report) = attempt.receive() {
            reported = self.hear(report)?.or(reported);
        }
        // Kill the remaining processes first, because they hold the pipes open.
        kill_processes(&self.plan.groups, self.status.init, DRAIN);
        self.drain(&mut attempt)?;
        if is_evicted {
            return Ok(Attempted::Ended(LocalEnd::StorageExceeded { limit: self.plan.storage }));
        }
        // Without a report, init was killed.
        Ok(reported.unwrap_or(Attempted::Ended(LocalEnd::Signaled { signal: 9 })))
    }

    /// Advances the shutdown of the job, and starts it at the deadline.
    fn keep_time(&mut self, attempt: &mut Attempt, now: Instant) {
        if now >= self.deadline {
            self.stop(LocalStop::Deadline);
        }
        self.ending = match self.ending {
            Ending::Asked => {
                // A process that has not started cannot receive the signal.
                let has_started = self.status.attempts.last().is_some_and(|last| last.started.is_some());
                if has_started && attempt.signal(Signal::TERM) {
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
            self.kill(attempt);
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

    /// Kills the processes in the control groups and in the namespaces.
    fn kill(&self, attempt: &Attempt) {
        self.plan.groups.kill();
        attempt.kill();
    }

    /// Handles a report. Returns the outcome of the attempt if the report contains it.
    fn hear(&mut self, report: Report) -> io::Result<Option<Attempted>> {
        Ok(match report {
            Report::Entered(init) => {
                self.status.init = Seen::of(init);
                None
            }
            Report::Failed(why) => Some(Attempted::NoWalls(why)),
            Report::Running => {
                if let Some(last) = self.status.attempts.last_mut() {
                    last.started = Some(System.now());
                }
                self.write_status()?;
                self.answer();
                None
            }
            Report::NotStarted { message, code } => {
                self.answer();
                Some(Attempted::Ended(LocalEnd::NotStarted { message, code }))
            }
            Report::Exited(code) => Some(Attempted::Ended(LocalEnd::Exited { code })),
            Report::Signaled(signal) => Some(Attempted::Ended(LocalEnd::Signaled { signal })),
        })
    }

    /// Reads the remaining output from the pipes.
    fn drain(&mut self, attempt: &mut Attempt) -> io::Result<()> {
        let until = Instant::now() + DRAIN;
        while attempt.has_output() && Instant::now() < until {
            attempt.wait_for_output(until.saturating_duration_since(Instant::now()))?;
            if attempt.pump(&mut self.output, true, true)? {
                self.wake();
            }
        }
        Ok(())
    }

    /// Cancels an attached job, because its launcher has exited.
    fn on_launcher_exit(&mut self) {
        self.launcher = None;
        if self.plan.attached {
            self.stop(LocalStop::Cancelled);
        }
    }

    /// Kills the remaining processes of an attempt and deletes its files.
    fn clear(&mut self) {
        // A process that cannot be killed still uses its files and resources, so they are kept.
        if kill_processes(&self.plan.groups, self.status.init, DEATH) {
            let _ = tree::remove(&self.folder.files());
        }
    }

    /// Writes the outcome as the last step, so that a reader of the outcome finds no remains of the job.
    fn conclude(mut self) -> io::Result<()> {
        // The outcome is more important than the end marker of the output, so this error is ignored.
        let _ = self.output.finish();
        self.wake();
        self.status.usage = Usage::measure(self.began.elapsed(), &self.plan.groups);
        if kill_processes(&self.plan.groups, self.status.init, Duration::ZERO) {
            let _ = self.plan.groups.remove(DEATH);
            self.status.finished_at = Some(System.now());
        }
        self.write_status()?;
        // The launcher would delete the directory, but it has exited.
        if self.plan.attached && self.launcher.is_none() {
            self.folder.remove()?;
        }
        Ok(())
    }

    /// Writes the status and notifies the launcher.
    fn write_status(&self) -> io::Result<()> {
        self.folder.write_status(&self.status)?;
        self.wake();
        Ok(())
    }

    /// Notifies the launcher of an attached job of a change. If the socket is full, an earlier notification
    /// is still unread.
    fn wake(&self) {
        if let Some(launcher) = self.launcher.as_ref().filter(|_| self.is_answered) {
            let _ = rustix::net::send(launcher, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// Sends the reply to the launcher that the sandbox is set up.
    fn answer(&mut self) {
        if self.is_answered {
            return;
        }
        self.is_answered = true;
        if let Some(launcher) = &self.launcher {
            let _ = wire::send(launcher, &Answer::Started);
        }
        if !self.plan.attached {
            self.launcher = None;
        }
    }

    fn refuse(self, why: String) -> io::Result<()> {
        let _ = self.plan.groups.remove(DEATH);
        match &self.launcher {
            Some(launcher) => wire::send(launcher, &Answer::Refused(why)),
            None => Ok(()),
        }
    }

    /// Checks the job's directory for requests.
    fn look_for_wishes(&mut self) {
        // Only the arrival of events matters, not their content.
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.asked, &mut buffer).is_ok_and(|count| count > 0) {}
        // Without its directory the job is neither visible nor controllable, so it is killed.
        if self.folder.is_asked(Wish::Kill) || !self.folder.exists() {
            self.ending = Ending::Now;
            self.status.stop.get_or_insert(LocalStop::Cancelled);
        } else if self.folder.is_asked(Wish::Cancel) {
            self.stop(LocalStop::Cancelled);
        }
    }

    /// Starts the shutdown of the job, unless one was requested before.
    fn stop(&mut self, why: LocalStop) {
        if self.ending == Ending::No {
            self.status.stop = Some(why);
            self.ending = Ending::Asked;
            let _ = self.write_status();
        }
    }
}
