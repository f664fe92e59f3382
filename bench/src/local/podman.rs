//! podman with an image that contains only busybox, and with its store in a temporary directory.

use super::command::command;
use crate::timing::BenchResult;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const IMAGE: &str = "runway.test/busybox:1";

/// A podman that has run a container successfully.
pub(super) struct Podman {
    root: PathBuf,
    /// The command line that runs `true` in a container.
    pub(super) words: Vec<String>,
}

impl Podman {
    /// Imports the image and finds options with which podman can run a container.
    ///
    /// # Errors
    /// The last error of podman if it cannot run a container.
    /// Another error if there is no busybox, or if the import fails.
    pub(super) fn set_up() -> BenchResult<Self> {
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.is_file());
        let busybox = busybox.ok_or("no busybox found for the image")?;
        let root = std::env::temp_dir().join(format!("runway-bench-podman-{}", std::process::id()));
        let mut podman = Self { root, words: Vec::new() };
        podman.import(busybox)?;
        let files = getrlimit(Resource::Nofile).current.unwrap_or(1024);
        // Some machines do not let podman raise its limits. Some runtimes do not support cgroup v1 and v2
        // together.
        let limits = [format!("--ulimit=nofile={files}:{files}"), "--ulimit=nproc=1024:1024".to_owned()];
        let variants: [&[&str]; 3] =
            [&[], &[&limits[0], &limits[1]], &["--runtime=runc", &limits[0], &limits[1]]];
        let mut last_error = String::new();
        for options in variants {
            podman.words = podman
                .command_line(&[&["run", "--rm", "--network=none"], options, &[IMAGE, "true"]].concat());
            match podman.run() {
                Ok(()) => return Ok(podman),
                Err(error) => last_error = error.to_string(),
            }
        }
        Err(last_error.into())
    }

    /// Returns podman's command line with a separate store. Of the storage drivers that work everywhere,
    /// `vfs` is the fastest with such a small image.
    fn command_line(&self, words: &[&str]) -> Vec<String> {
        let directory = |name: &str| self.root.join(name).display().to_string();
        let store = [
            "podman".to_owned(),
            format!("--root={}", directory("store")),
            format!("--runroot={}", directory("run")),
        ];
        let options = ["--storage-driver=vfs", "--cgroup-manager=cgroupfs"];
        store.into_iter().chain(options.iter().chain(words).map(|word| (*word).to_owned())).collect()
    }

    fn import(&self, busybox: &Path) -> BenchResult {
        let bin = self.root.join("image/bin");
        fs::create_dir_all(&bin)?;
        fs::copy(busybox, bin.join("busybox"))?;
        std::os::unix::fs::symlink("busybox", bin.join("true"))?;
        let image = self.root.join("image.tar");
        let mut tar = Command::new("tar");
        run_command(tar.arg("-C").arg(self.root.join("image")).arg("-cf").arg(&image).arg("."))?;
        run_command(&mut command(&self.command_line(&[
            "import",
            "--quiet",
            &image.display().to_string(),
            IMAGE,
        ])))
    }

    fn run(&self) -> BenchResult {
        run_command(&mut command(&self.words))
    }
}

impl Drop for Podman {
    /// Removes the directory. The removal is retried for up to 10 seconds, because podman's cleanup processes
    /// may still be running.
    fn drop(&mut self) {
        let start = Instant::now();
        while let Err(error) = fs::remove_dir_all(&self.root) {
            if start.elapsed() > Duration::from_secs(10) {
                eprintln!("{}: {error}", self.root.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Runs a program. If it fails, returns the last line of its standard error.
fn run_command(command: &mut Command) -> BenchResult {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(stderr.lines().last().unwrap_or("no error output").to_owned().into())
}
