//! Benchmarks of many jobs, and of many `bwrap` processes, that run at the same time.

use super::command::command;
use super::harness::Harness;
use crate::timing::{BenchResult, Benchmark};
use runway_local::{Job, Supervision};
use std::process::Stdio;
use std::rc::Rc;
use std::thread;

/// Starts all jobs at the same time, each in a separate thread, and waits for all of them.
pub(super) fn jobs(harness: Rc<Harness>, count: usize) -> Benchmark {
    Benchmark::new(move |samples| {
        let requests =
            (0..count).map(|_| harness.create_request(&["true"])).collect::<BenchResult<Vec<_>>>()?;
        let machine = &harness.machine;
        samples.time(count, || {
            thread::scope(|scope| {
                let run = |order| {
                    move || {
                        let job = Job::start(machine, order, Supervision::Attached)
                            .map_err(|error| error.to_string())?;
                        let snapshot = job.wait(None).map_err(|error| error.to_string())?;
                        job.remove().map_err(|error| error.to_string())?;
                        if snapshot.status.exit_code == Some(0) {
                            Ok(())
                        } else {
                            Err(snapshot.status.message)
                        }
                    }
                };
                let all: Vec<_> = requests.iter().map(|order| scope.spawn(run(order))).collect();
                all.into_iter().try_for_each(|one| one.join().map_err(|_| "a thread panicked".to_owned())?)
            })
        })?;
        Ok(())
    })
}

/// Starts this number of `bwrap` processes at the same time, and waits for all of them. Returns `None` if
/// `bwrap` cannot run.
pub(super) fn bwraps(count: usize) -> Option<Benchmark> {
    let start = || {
        let words =
            ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all", "true"];
        let mut bwrap = command(&words);
        bwrap.stdin(Stdio::null()).spawn()
    };
    start().ok()?.wait().ok()?;
    Some(Benchmark::new(move |samples| {
        samples.time(count, || {
            let mut all = (0..count).map(|_| start()).collect::<std::io::Result<Vec<_>>>()?;
            all.iter_mut().try_for_each(|one| one.wait().map(drop))
        })?;
        Ok(())
    }))
}
