//! The supervisor: runs the attempts of one job, enforces its limits and writes its outcome.

use crate::attempt::Attempt;
use crate::job_dir::{ControlRequest, JobDir};
use crate::output::LogWriter;
use crate::plan::{ChildReport, SupervisorPlan, SupervisorReply};
use crate::process::{ProcessId, kill_processes};
use crate::record::StatusFile;
use crate::storage::StorageMeter;
use crate::usage::Usage;
use crate::{tree, wire};
use runway_control::{Env, SystemEnv};
use runway_core::status::{LocalAttempt, LocalTermination, StopReason};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::net::SendFlags;
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Time limit for the end of killed processes, and for removing the control groups.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for killing the processes that outlive init, and then for reading the remaining output. Only
/// these processes hold the write ends of the pipes, so no further output can follow.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the supervisor until the job is finished.
pub(super) fn run() -> io::Result<()> {
    // The job must not inherit files that the launcher left open.
    close_fds::set_fds_cloexec(3, &[]);
    // Signals of the launcher's terminal must not reach the job.
    let _ = rustix::process::setsid();
    let launcher = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(plan) = wire::receive::<SupervisorPlan>(&launcher)? else { return Ok(()) };
    let supervisor = Supervisor::new(plan, launcher)?;
    supervisor.dir.write_status(&supervisor.status)?;
    supervisor.run()
}

/// The outcome of an attempt.
enum AttemptOutcome {
    /// The attempt ran and ended, or its program could not be started.
    Terminated(LocalTermination),
    /// The sandbox could not be set up, and nothing was run.
    SandboxFailed(String),
}

/// The progress of a job's shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShutdownState {
    /// No shutdown was requested.
    NotRequested,
    /// The next step is to send `SIGTERM`.
    Requested,
    /// The signal was sent. The job must be killed at this time.
    KillAt(Instant),
    /// The next step is to kill the job.
    KillNow,
    /// The job was killed.
    Killed,
}

/// The supervised job and its state.
struct Supervisor {
    plan: SupervisorPlan,
    dir: JobDir,
    output: LogWriter,
    /// The inotify descriptor for new files in the job's directory.
    control_fd: OwnedFd,
    /// The socket to the launcher. Closed after the reply for a detached job, and when the launcher exits.
    launcher: Option<UnixStream>,
    is_reply_sent: bool,
    status: StatusFile,
    began: Instant,
    deadline: Instant,
    /// The shutdown state of the job.
    shutdown: ShutdownState,
}

impl Supervisor {
    fn new(plan: SupervisorPlan, launcher: UnixStream) -> io::Result<Self> {
        let dir = JobDir::new(plan.job_dir.clone());
        let output = LogWriter::create(&dir.log_dir(), plan.max_log_bytes.units())?;
        let control_fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(&control_fd, dir.path(), WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
        let began = Instant::now();
        let status = StatusFile {
            started_at: Some(SystemEnv.now()),
            supervisor: ProcessId::lookup(std::process::id()),
            ..StatusFile::default()
        };
        Ok(Self {
            deadline: began + Duration::from_secs(plan.timeout.get()),
            plan,
            dir,
            output,
            control_fd,
            launcher: Some(launcher),
            is_reply_sent: false,
            status,
            began,
            shutdown: ShutdownState::NotRequested,
        })
    }

    fn run(mut self) -> io::Result<()> {
        for number in 1..=self.plan.retries.saturating_add(1) {
            self.output.begin_attempt(number);
            self.status.attempts.push(LocalAttempt {
                scheduled: SystemEnv.now(),
                started: None,
                ended: None,
                termination: None,
                oom_kills: 0,
            });
            let kills_before = self.plan.cgroups.oom_kills();
            let outcome = self.run_attempt();
            self.clean_up();
            let end = match outcome {
                Ok(AttemptOutcome::Terminated(end)) => {
                    // If the attempt ended before the job's process ran, the reply has not been sent yet.
                    self.confirm_start();
                    end
                }
                Ok(AttemptOutcome::SandboxFailed(why)) => {
                    if !self.is_reply_sent {
                        return self.fail_start(why);
                    }
                    LocalTermination::NotStarted { message: why, code: 125 }
                }
                Err(error) if !self.is_reply_sent => return self.fail_start(error.to_string()),
                Err(error) => LocalTermination::NotStarted { message: error.to_string(), code: 125 },
            };
            let kills = self.plan.cgroups.oom_kills().saturating_sub(kills_before);
            let is_finished = end.is_success() || self.shutdown != ShutdownState::NotRequested;
            if let Some(last) = self.status.attempts.last_mut() {
                last.ended = Some(SystemEnv.now());
                last.termination = Some(end);
                last.oom_kills = kills;
            }
            // If the status cannot be written, a retry would not be visible, so the job ends.
            if is_finished || self.write_status().is_err() {
                break;
            }
        }
        self.write_outcome()
    }

    /// Runs the job's command once.
    fn run_attempt(&mut self) -> io::Result<AttemptOutcome> {
        // A request to cancel or kill the job can arrive before the attempt starts.
        self.poll_control();
        let files_dir = self.dir.files_dir();
        let mut attempt = Attempt::spawn(&files_dir, self.plan.sandbox.run_as)?;
        self.status.init = attempt.init();
        attempt.send_plans(&self.plan, &files_dir)?;
        let mut meter = StorageMeter::new(&files_dir, self.plan.max_storage_bytes.units(), Instant::now());
        let (mut outcome, mut is_evicted) = (None, false);
        loop {
            let now = Instant::now();
            let processes = || self.plan.cgroups.processes();
            if now >= meter.next_check() && meter.is_exceeded(self.output.disk_bytes(), processes, now) {
                is_evicted = true;
                self.kill(&attempt);
            }
            self.enforce_deadlines(&mut attempt, now);
            let wakeups = [self.next_wakeup(), Some(meter.next_check())];
            let next = wakeups.into_iter().flatten().min().unwrap_or(now);
            let timeout = next.saturating_duration_since(now);
            let ready = attempt.wait(&self.control_fd, self.launcher.as_ref(), timeout)?;
            if ready.report
                && let Some(report) = attempt.receive()
            {
                outcome = self.on_report(report)?.or(outcome);
            }
            if attempt.pump(&mut self.output, ready.stdout, ready.stderr)? {
                self.notify_launcher();
            }
            // inotify reports the deletion of the directory only after the last file in it is closed. The
            // loop therefore checks whether the directory exists.
            if ready.control || !self.dir.exists() {
                self.poll_control();
            }
            if ready.launcher {
                self.on_launcher_exit();
            }
            if ready.exited {
                break;
            }
        }
        attempt.reap()?;
        while let Some(report) = attempt.receive() {
            outcome = self.on_report(report)?.or(outcome);
        }
        // Kill the remaining processes first, because they hold the pipes open.
        kill_processes(&self.plan.cgroups, self.status.init, DRAIN_TIMEOUT);
        self.drain(&mut attempt)?;
        if is_evicted {
            return Ok(AttemptOutcome::Terminated(LocalTermination::StorageExceeded {
                limit: self.plan.max_storage_bytes,
            }));
        }
        // Without a report of the end, init itself was killed.
        Ok(outcome.unwrap_or(AttemptOutcome::Terminated(LocalTermination::Signaled { signal: 9 })))
    }

    /// Starts the shutdown of the job at the deadline. Takes the next step of a started shutdown.
    fn enforce_deadlines(&mut self, attempt: &mut Attempt, now: Instant) {
        if now >= self.deadline {
            self.request_shutdown(StopReason::Deadline);
        }
        self.shutdown = match self.shutdown {
            ShutdownState::Requested => {
                // A process that has not started cannot receive the signal, so the job is killed without a
                // grace period.
                let has_started = self.status.attempts.last().is_some_and(|last| last.started.is_some());
                if has_started && attempt.signal(Signal::TERM) {
                    ShutdownState::KillAt(now + Duration::from_secs(self.plan.grace.get()))
                } else if has_started {
                    ShutdownState::KillNow
                } else {
                    ShutdownState::KillAt(now)
                }
            }
            ShutdownState::KillAt(at) if now >= at => ShutdownState::KillNow,
            state => state,
        };
        if self.shutdown == ShutdownState::KillNow {
            self.kill(attempt);
            self.shutdown = ShutdownState::Killed;
        }
    }

    fn next_wakeup(&self) -> Option<Instant> {
        match self.shutdown {
            ShutdownState::NotRequested => Some(self.deadline),
            ShutdownState::KillAt(at) => Some(at),
            ShutdownState::Requested | ShutdownState::KillNow => Some(Instant::now()),
            ShutdownState::Killed => None,
        }
    }

    /// Kills the processes in the control groups and in the namespaces.
    fn kill(&self, attempt: &Attempt) {
        self.plan.cgroups.kill();
        attempt.kill();
    }

    /// Handles a report. Returns the outcome of the attempt if the report contains it.
    fn on_report(&mut self, report: ChildReport) -> io::Result<Option<AttemptOutcome>> {
        Ok(match report {
            ChildReport::InitStarted(init) => {
                self.status.init = ProcessId::lookup(init);
                None
            }
            ChildReport::SandboxFailed(why) => Some(AttemptOutcome::SandboxFailed(why)),
            ChildReport::Running => {
                if let Some(last) = self.status.attempts.last_mut() {
                    last.started = Some(SystemEnv.now());
                }
                self.write_status()?;
                self.confirm_start();
                None
            }
            ChildReport::NotStarted { message, code } => {
                self.confirm_start();
                Some(AttemptOutcome::Terminated(LocalTermination::NotStarted { message, code }))
            }
            ChildReport::Exited(code) => Some(AttemptOutcome::Terminated(LocalTermination::Exited { code })),
            ChildReport::Signaled(signal) => {
                Some(AttemptOutcome::Terminated(LocalTermination::Signaled { signal }))
            }
        })
    }

    /// Reads the remaining output from the pipes.
    fn drain(&mut self, attempt: &mut Attempt) -> io::Result<()> {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        while attempt.has_output() && Instant::now() < deadline {
            attempt.wait_for_output(deadline.saturating_duration_since(Instant::now()))?;
            if attempt.pump(&mut self.output, true, true)? {
                self.notify_launcher();
            }
        }
        Ok(())
    }

    /// Handles the exit of the launcher: an attached job is cancelled.
    fn on_launcher_exit(&mut self) {
        self.launcher = None;
        if self.plan.attached {
            self.request_shutdown(StopReason::Cancelled);
        }
    }

    /// Kills the remaining processes of an attempt and deletes the attempt's files.
    fn clean_up(&mut self) {
        // A process that cannot be killed still uses its files and resources, so they are kept.
        if kill_processes(&self.plan.cgroups, self.status.init, KILL_TIMEOUT) {
            let _ = tree::remove(&self.dir.files_dir());
        }
    }

    /// Writes the outcome as the last step, so that a reader of the outcome finds no remains of the job. If a
    /// process of the job cannot be killed, the job stays unfinished, and a later recovery retries.
    fn write_outcome(mut self) -> io::Result<()> {
        // The outcome is more important than the end marker of the output, so this error is ignored.
        let _ = self.output.finish();
        self.notify_launcher();
        self.status.usage = Usage::measure(self.began.elapsed(), &self.plan.cgroups);
        if kill_processes(&self.plan.cgroups, self.status.init, Duration::ZERO) {
            let _ = self.plan.cgroups.remove(KILL_TIMEOUT);
            self.status.finished_at = Some(SystemEnv.now());
        }
        self.write_status()?;
        // The launcher would delete the directory, but it has exited.
        if self.plan.attached && self.launcher.is_none() {
            self.dir.remove()?;
        }
        Ok(())
    }

    /// Writes the status and notifies the launcher.
    fn write_status(&self) -> io::Result<()> {
        self.dir.write_status(&self.status)?;
        self.notify_launcher();
        Ok(())
    }

    /// Notifies the launcher of an attached job of a change, after the reply was sent. If the socket is full,
    /// the launcher has not read an earlier notification, so none is lost.
    fn notify_launcher(&self) {
        if let Some(launcher) = self.launcher.as_ref().filter(|_| self.is_reply_sent) {
            let _ = rustix::net::send(launcher, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// Sends the reply to the launcher that the job has started, unless it was sent before.
    fn confirm_start(&mut self) {
        if self.is_reply_sent {
            return;
        }
        self.is_reply_sent = true;
        if let Some(launcher) = &self.launcher {
            let _ = wire::send(launcher, &SupervisorReply::Started);
        }
        if !self.plan.attached {
            self.launcher = None;
        }
    }

    fn fail_start(self, reason: String) -> io::Result<()> {
        let _ = self.plan.cgroups.remove(KILL_TIMEOUT);
        match &self.launcher {
            Some(launcher) => wire::send(launcher, &SupervisorReply::SandboxFailed(reason)),
            None => Ok(()),
        }
    }

    /// Reads the requests in the job's directory, and requests the shutdown that they ask for.
    fn poll_control(&mut self) {
        // Only the arrival of events matters, not their content.
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.control_fd, &mut buffer).is_ok_and(|count| count > 0) {}
        // Without its directory the job is neither visible nor controllable, so it is killed.
        if self.dir.is_requested(ControlRequest::Kill) || !self.dir.exists() {
            self.shutdown = ShutdownState::KillNow;
            self.status.stop.get_or_insert(StopReason::Cancelled);
        } else if self.dir.is_requested(ControlRequest::Cancel) {
            self.request_shutdown(StopReason::Cancelled);
        }
    }

    /// Starts the shutdown of the job, unless one was requested before.
    fn request_shutdown(&mut self, reason: StopReason) {
        if self.shutdown == ShutdownState::NotRequested {
            self.status.stop = Some(reason);
            self.shutdown = ShutdownState::Requested;
            let _ = self.write_status();
        }
    }
}
