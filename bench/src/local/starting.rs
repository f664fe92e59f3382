//! From the start of `true` to its exit, and of `echo` to its first output.

use super::bed::Bed;
use crate::timing::{Contender, Outcome};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

/// What else there is, by name.
pub(super) const PEERS: [&str; 4] = ["sh", "unshare", "bwrap", "podman"];

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

/// Those that are installed.
pub(super) fn peers(starts: usize) -> Vec<(&'static str, Contender)> {
    let words = |name: &str| -> &'static [&'static str] {
        match name {
            "sh" => &["sh", "-c", "true"],
            "unshare" => &["unshare", "--fork", "--pid", "--mount", "true"],
            "bwrap" => &[
                "bwrap",
                "--ro-bind",
                "/",
                "/",
                "--dev",
                "/dev",
                "--proc",
                "/proc",
                "--tmpfs",
                "/tmp",
                "--unshare-all",
                "--die-with-parent",
                "true",
            ],
            _ => &["podman", "run", "--rm", "--network=none", "runway.test/busybox:1", "true"],
        }
    };
    let installed = PEERS.into_iter().filter(|name| run(&mut command(words(name))).is_ok());
    installed.map(|name| (name, peer(words(name), starts))).collect()
}

fn peer(words: &'static [&'static str], starts: usize) -> Contender {
    Contender::new(move |samples| (0..starts).try_for_each(|_| samples.time(1, || run(&mut command(words)))))
}

pub(super) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

fn run(command: &mut Command) -> Outcome {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}").into()) }
}
