//! Many jobs at the same time.

use super::bed::Bed;
use super::command::command;
use crate::timing::{Contender, Outcome};
use runway_local::{Job, Supervision};
use std::process::Stdio;
use std::rc::Rc;
use std::thread;

/// Starts all jobs at the same time, each in a separate thread, and waits for all of them.
pub(super) fn jobs(bed: Rc<Bed>, count: usize) -> Contender {
    Contender::new(move |samples| {
        let orders = (0..count).map(|_| bed.order(&["true"])).collect::<Outcome<Vec<_>>>()?;
        let machine = &bed.machine;
        samples.time(count, || {
            thread::scope(|scope| {
                let run = |order| {
                    move || {
                        let job = Job::start(machine, order, Supervision::Attached)
                            .map_err(|error| error.to_string())?;
                        let seen = job.wait(None).map_err(|error| error.to_string())?;
                        job.remove().map_err(|error| error.to_string())?;
                        if seen.status.exit_code == Some(0) { Ok(()) } else { Err(seen.status.message) }
                    }
                };
                let all: Vec<_> = orders.iter().map(|order| scope.spawn(run(order))).collect();
                all.into_iter().try_for_each(|one| one.join().map_err(|_| "a thread panicked".to_owned())?)
            })
        })?;
        Ok(())
    })
}

/// Starts the same number of `bwrap` processes. Returns `None` if `bwrap` cannot run.
pub(super) fn bwraps(count: usize) -> Option<Contender> {
    let start = || {
        let words =
            ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "true"];
        let mut bwrap = command(&words);
        bwrap.stdin(Stdio::null()).spawn()
    };
    start().ok()?.wait().ok()?;
    Some(Contender::new(move |samples| {
        samples.time(count, || {
            let mut all = (0..count).map(|_| start()).collect::<std::io::Result<Vec<_>>>()?;
            all.iter_mut().try_for_each(|one| one.wait().map(drop))
        })?;
        Ok(())
    }))
}
