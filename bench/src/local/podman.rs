//! podman, with an image that holds busybox alone, in a folder of the measurement's own.

use super::command::command;
use crate::timing::Outcome;
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const IMAGE: &str = "runway.test/busybox:1";

/// podman that has been seen to run a container.
pub(super) struct Podman {
    root: PathBuf,
    /// The whole command that runs `true`.
    pub(super) words: Vec<String>,
}

impl Podman {
    /// Imports the image, and finds a way to run it. Otherwise the last thing that podman said.
    pub(super) fn set_up() -> Outcome<Self> {
        let busybox =
            ["/bin/busybox", "/usr/bin/busybox"].into_iter().map(Path::new).find(|path| path.is_file());
        let busybox = busybox.ok_or("there is no busybox to make an image of")?;
        let root = std::env::temp_dir().join(format!("runway-bench-podman-{}", std::process::id()));
        let mut podman = Self { root, words: Vec::new() };
        podman.import(busybox)?;
        let files = getrlimit(Resource::Nofile).current.unwrap_or(1024);
        // Not every machine lets podman raise its limits, and not every runtime takes control groups of both versions at once.
        let limits = [format!("--ulimit=nofile={files}:{files}"), "--ulimit=nproc=1024:1024".to_owned()];
        let ways: [&[&str]; 3] =
            [&[], &[&limits[0], &limits[1]], &["--runtime=runc", &limits[0], &limits[1]]];
        let mut said = String::new();
        for way in ways {
            podman.words = podman.call(&[&["run", "--rm", "--network=none"], way, &[IMAGE, "true"]].concat());
            match podman.run() {
                Ok(()) => return Ok(podman),
                Err(error) => said = error.to_string(),
            }
        }
        Err(said.into())
    }

    /// podman with its store elsewhere: of those kinds of store that work everywhere, this one is the quickest with so small an
    /// image.
    fn call(&self, words: &[&str]) -> Vec<String> {
        let folder = |name: &str| self.root.join(name).display().to_string();
        let store = [
            "podman".to_owned(),
            format!("--root={}", folder("store")),
            format!("--runroot={}", folder("run")),
        ];
        let options = ["--storage-driver=vfs", "--cgroup-manager=cgroupfs"];
        store.into_iter().chain(options.iter().chain(words).map(|word| (*word).to_owned())).collect()
    }

    fn import(&self, busybox: &Path) -> Outcome {
        let bin = self.root.join("image/bin");
        fs::create_dir_all(&bin)?;
        fs::copy(busybox, bin.join("busybox"))?;
        std::os::unix::fs::symlink("busybox", bin.join("true"))?;
        let image = self.root.join("image.tar");
        let mut tar = Command::new("tar");
        succeeds(tar.arg("-C").arg(self.root.join("image")).arg("-cf").arg(&image).arg("."))?;
        succeeds(&mut command(&self.call(&["import", "--quiet", &image.display().to_string(), IMAGE])))
    }

    fn run(&self) -> Outcome {
        succeeds(&mut command(&self.words))
    }
}

impl Drop for Podman {
    /// What cleans up after its containers may still be at work.
    fn drop(&mut self) {
        let began = Instant::now();
        while let Err(error) = fs::remove_dir_all(&self.root) {
            if began.elapsed() > Duration::from_secs(10) {
                eprintln!("{}: {error}", self.root.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Runs a program, or tells the last line of what it said.
fn succeeds(command: &mut Command) -> Outcome {
    let ran = command.stdin(Stdio::null()).output()?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    Err(said.lines().last().unwrap_or("it said nothing").to_owned().into())
}
