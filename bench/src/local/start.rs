//! The time from the start of `true` to its exit, and from the start of `echo` to its first output.

use super::command::command;
use super::harness::Harness;
use super::podman::Podman;
use crate::timing::{BenchResult, Benchmark};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

/// The peers except podman. Each has a name and a command that runs `true`.
const PEERS: [(&str, &str); 3] = [
    ("sh", "sh -c true"),
    ("unshare", "unshare --fork --pid --mount true"),
    (
        "bwrap",
        "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all --die-with-parent true",
    ),
];

pub(super) fn library_to_exit(harness: Rc<Harness>, starts: usize) -> Benchmark {
    Benchmark::new(move |samples| {
        for _ in 0..starts {
            let job = samples.time(1, || {
                let job = harness.start(&["true"])?;
                job.wait(None)?;
                BenchResult::Ok(job)
            })?;
            job.remove()?;
        }
        Ok(())
    })
}

pub(super) fn library_to_output(harness: Rc<Harness>, starts: usize) -> Benchmark {
    Benchmark::new(move |samples| {
        for _ in 0..starts {
            let job = samples.time(1, || {
                let job = harness.start(&["echo", "x"])?;
                job.reader()?.next_blocking()?;
                BenchResult::Ok(job)
            })?;
            job.wait(None)?;
            job.remove()?;
        }
        Ok(())
    })
}

pub(super) fn command_line(runway: &Path, starts: usize) -> BenchResult<Benchmark> {
    let runway = runway.canonicalize()?;
    let file = std::env::temp_dir().join(format!("runway-bench-{}.yaml", std::process::id()));
    std::fs::write(&file, "name: x\ntenant: t\nimage: busybox\ncommand: [\"true\"]\n")?;
    let file = TemporaryFile(file);
    Ok(Benchmark::new(move |samples| {
        for _ in 0..starts {
            let mut command = Command::new(&runway);
            command.arg("run").arg(&file.0);
            samples.time(1, || run(&mut command))?;
        }
        Ok(())
    }))
}

struct TemporaryFile(std::path::PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.0);
    }
}

/// Returns the benchmarks of the installed peers, and the error of each other peer.
pub(super) fn peers(starts: usize) -> (Vec<(&'static str, Benchmark)>, Vec<String>) {
    let (mut installed, mut missing) = (Vec::new(), Vec::new());
    for (name, words) in PEERS {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        match run(&mut command(&words)) {
            Ok(()) => installed.push((name, benchmark_of(words, (), starts))),
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    match Podman::set_up() {
        Ok(podman) => {
            println!("podman: {}", podman.words.join(" "));
            installed.push(("podman", benchmark_of(podman.words.clone(), podman, starts)));
        }
        Err(error) => missing.push(format!("podman: {error}")),
    }
    (installed, missing)
}

/// Returns a benchmark that runs the command repeatedly. `guard` keeps the command's files until the
/// benchmark is dropped.
fn benchmark_of<T: 'static>(words: Vec<String>, guard: T, starts: usize) -> Benchmark {
    Benchmark::new(move |samples| {
        let _kept = &guard;
        (0..starts).try_for_each(|_| samples.time(1, || run(&mut command(&words))))
    })
}

fn run(command: &mut Command) -> BenchResult {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}
