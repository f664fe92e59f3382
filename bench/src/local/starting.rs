//! The time from the start of `true` to its exit, and from the start of `echo` to its first output.

use super::bed::Bed;
use super::command::command;
use super::podman::Podman;
use crate::timing::{Contender, Outcome};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

/// The peers except podman: the name, and the command that runs `true`.
const PEERS: [(&str, &str); 3] = [
    ("sh", "sh -c true"),
    ("unshare", "unshare --fork --pid --mount true"),
    (
        "bwrap",
        "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all --die-with-parent true",
    ),
];

pub(super) fn library_to_exit(bed: Rc<Bed>, starts: usize) -> Contender {
    Contender::new(move |samples| {
        for _ in 0..starts {
            let job = samples.time(1, || {
                let job = bed.start(&["true"])?;
                job.wait(None)?;
                Outcome::Ok(job)
            })?;
            job.remove()?;
        }
        Ok(())
    })
}

pub(super) fn library_to_output(bed: Rc<Bed>, starts: usize) -> Contender {
    Contender::new(move |samples| {
        for _ in 0..starts {
            let job = samples.time(1, || {
                let job = bed.start(&["echo", "x"])?;
                job.reader()?.next_blocking()?;
                Outcome::Ok(job)
            })?;
            job.wait(None)?;
            job.remove()?;
        }
        Ok(())
    })
}

pub(super) fn command_line(runway: &Path, starts: usize) -> Outcome<Contender> {
    let runway = runway.canonicalize()?;
    let file = std::env::temp_dir().join(format!("runway-bench-{}.yaml", std::process::id()));
    std::fs::write(&file, "name: x\ntenant: t\nimage: busybox\ncommand: [\"true\"]\n")?;
    let file = TemporaryFile(file);
    Ok(Contender::new(move |samples| {
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
pub(super) fn peers(starts: usize) -> (Vec<(&'static str, Contender)>, Vec<String>) {
    let (mut here, mut missing) = (Vec::new(), Vec::new());
    for (name, words) in PEERS {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        match run(&mut command(&words)) {
            Ok(()) => here.push((name, peer(words, (), starts))),
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    match Podman::set_up() {
        Ok(podman) => {
            println!("podman: {}", podman.words.join(" "));
            here.push(("podman", peer(podman.words.clone(), podman, starts)));
        }
        Err(error) => missing.push(format!("podman: {error}")),
    }
    (here, missing)
}

/// Runs the command repeatedly. `guard` keeps the command's files until the end.
fn peer<T: 'static>(words: Vec<String>, needed: T, starts: usize) -> Contender {
    Contender::new(move |samples| {
        let _kept = &needed;
        (0..starts).try_for_each(|_| samples.time(1, || run(&mut command(&words))))
    })
}

fn run(command: &mut Command) -> Outcome {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}
