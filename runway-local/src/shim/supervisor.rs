//! The process that watches over one job, from its first attempt to its outcome.

use super::attempt::{Attempted, Ending};
use crate::cgroup::Groups;
use crate::folder::{Folder, Wish};
use crate::output::Writer;
use crate::plan::{Answer, Plan};
use crate::process::Seen;
use crate::record::StatusFile;
use crate::usage::Usage;
use crate::{tree, wire};
use runway_control::{Surroundings, System};
use runway_core::status::{LocalAttempt, LocalEnd, LocalStop};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::net::SendFlags;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// For so long the kernel may take to end what it was told to kill.
const DEATH: Duration = Duration::from_secs(30);

/// The whole life of the process.
pub(crate) fn main() -> u8 {
    // Whatever the one who started this left open is not the job's.
    close_fds::set_fds_cloexec(3, &[]);
    // Signals to the terminal's foreground, and its end, are not for the job.
    let _ = rustix::process::setsid();
    match begin() {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn begin() -> io::Result<()> {
    let starter = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some(plan) = wire::receive::<Plan>(&starter)? else { return Ok(()) };
    let folder = Folder::new(plan.folder.clone());
    let output = Writer::create(&folder.log(), plan.log.units())?;
    let asked = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    inotify::add_watch(&asked, folder.path(), WatchFlags::CREATE | WatchFlags::MOVED_TO)?;
    let now = Instant::now();
    let status = StatusFile {
        started_at: Some(System.now()),
        supervisor: Seen::of(std::process::id()),
        ..StatusFile::default()
    };
    let deadline = now + Duration::from_secs(plan.timeout.get());
    let supervisor = Supervisor {
        plan,
        folder,
        output,
        asked,
        starter: Some(starter),
        is_answered: false,
        status,
        began: now,
        deadline,
        ending: Ending::No,
    };
    supervisor.folder.write_status(&supervisor.status)?;
    supervisor.run()
}

/// One job and all that is known of it.
pub(super) struct Supervisor {
    pub(super) plan: Plan,
    pub(super) folder: Folder,
    pub(super) output: Writer,
    /// Tells of files that are made in the job's folder.
    pub(super) asked: OwnedFd,
    /// The line to whoever started it, as long as that is of interest.
    pub(super) starter: Option<UnixStream>,
    is_answered: bool,
    pub(super) status: StatusFile,
    began: Instant,
    pub(super) deadline: Instant,
    /// Whether it is being ended.
    pub(super) ending: Ending,
}

impl Supervisor {
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
                    // It may have been ended before its process was there.
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
            // What cannot be written down is not tried again.
            if is_over || self.write_status().is_err() {
                break;
            }
        }
        self.conclude()
    }

    /// Leaves nothing of an attempt.
    fn clear(&mut self) {
        // What cannot be killed holds what it has, until somebody sees it gone: its end is not told.
        if self.end_all(DEATH) {
            let _ = tree::remove(&self.folder.files());
        }
    }

    /// Kills what is left. Whether nothing was seen to be.
    pub(super) fn end_all(&self, within: Duration) -> bool {
        end_all(&self.plan.groups, self.status.init, within)
    }

    /// Tells the outcome, last of all: whoever reads it finds nothing left of the job.
    fn conclude(mut self) -> io::Result<()> {
        // Where even this cannot be written, the outcome says more than the end of the output.
        let _ = self.output.finish();
        self.wake();
        self.status.usage = Usage {
            wall: self.began.elapsed(),
            cpu: self.plan.groups.cpu(),
            throttled: self.plan.groups.throttled(),
            peak_memory: self.plan.groups.peak_memory(),
        };
        if self.end_all(Duration::ZERO) {
            let _ = self.plan.groups.remove(DEATH);
            self.status.finished_at = Some(System.now());
        }
        self.write_status()?;
        if self.plan.attached && self.is_alone() {
            self.folder.remove()?;
        }
        Ok(())
    }

    /// Whether the one who started the job, and was to take it away, is gone.
    fn is_alone(&self) -> bool {
        self.starter.is_none()
    }

    /// Writes down how the job is, and says so.
    pub(super) fn write_status(&self) -> io::Result<()> {
        self.folder.write_status(&self.status)?;
        self.wake();
        Ok(())
    }

    /// Says to the one who started an attached job that something has changed. Where that was said before and not heard yet,
    /// the line may be full; then it has been said.
    pub(super) fn wake(&self) {
        if let Some(starter) = self.starter.as_ref().filter(|_| self.is_answered) {
            let _ = rustix::net::send(starter, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// The job is inside its walls.
    pub(super) fn answer(&mut self) {
        if self.is_answered {
            return;
        }
        self.is_answered = true;
        if let Some(starter) = &self.starter {
            let _ = wire::send(starter, &Answer::Started);
        }
        if !self.plan.attached {
            self.starter = None;
        }
    }

    fn refuse(self, why: String) -> io::Result<()> {
        let _ = self.plan.groups.remove(DEATH);
        match &self.starter {
            Some(starter) => wire::send(starter, &Answer::Refused(why)),
            None => Ok(()),
        }
    }

    /// What the job's folder asks for now.
    pub(super) fn look_for_wishes(&mut self) {
        // Only that something came is of interest.
        let mut buffer = [0; 4096];
        while rustix::io::read(&self.asked, &mut buffer).is_ok_and(|count| count > 0) {}
        // Without its folder nobody can see the job, nor end it.
        if self.folder.is_asked(Wish::Kill) || !self.folder.exists() {
            self.ending = Ending::Now;
            self.status.stop.get_or_insert(LocalStop::Cancelled);
        } else if self.folder.is_asked(Wish::Cancel) {
            self.stop(LocalStop::Cancelled);
        }
    }

    /// Begins to end the job, unless that has begun.
    pub(super) fn stop(&mut self, why: LocalStop) {
        if self.ending == Ending::No {
            self.status.stop = Some(why);
            self.ending = Ending::Asked;
            let _ = self.write_status();
        }
    }
}

/// Kills what is in the groups, and the first process of the namespaces, with which all in there dies. Whether nothing is left.
pub(crate) fn end_all(groups: &Groups, init: Option<Seen>, within: Duration) -> bool {
    let began = Instant::now();
    if !groups.kill_all(within) {
        return false;
    }
    // Without groups this is all there is to go by.
    let mut pause = Duration::from_micros(100);
    while let Some(init) = init.filter(|init| init.lives()) {
        if began.elapsed() > within {
            return false;
        }
        init.kill();
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    true
}
