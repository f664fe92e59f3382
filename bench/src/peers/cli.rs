//! Benchmarks of `runway check` as a whole process, from its start to its exit.

use crate::timing::{BenchResult, Benchmark};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::{env, fs, process};

const FILES: usize = 1_000;

/// Returns two benchmarks. In the first, one process checks 1,000 files. In the second, each process checks
/// the same single file.
pub(crate) fn benchmarks(runway: &Path, rounds: usize) -> BenchResult<[Benchmark; 2]> {
    let runway = runway.canonicalize()?;
    let directory = Rc::new(Directory::with_jobs()?);
    let names: Vec<_> = (0..FILES).map(file_name).collect();
    let many_files = {
        let (runway, directory, names) = (runway.clone(), Rc::clone(&directory), names.clone());
        Benchmark::new(move |samples| samples.time(1, || check(&runway, &directory, &names)))
    };
    // The second benchmark starts at least 30 processes in all rounds together.
    let starts = 30usize.div_ceil(rounds);
    let one_file = Benchmark::new(move |samples| {
        (0..starts).try_for_each(|_| samples.time(1, || check(&runway, &directory, &names[..1])))
    });
    Ok([many_files, one_file])
}

fn check(runway: &Path, directory: &Directory, names: &[String]) -> BenchResult {
    let mut command = Command::new(runway);
    command.arg("check").args(names).current_dir(&directory.0).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("`check` ended with {status}").into()) }
}

/// A temporary directory of job files.
struct Directory(PathBuf);

impl Directory {
    fn with_jobs() -> BenchResult<Self> {
        let directory = Self(env::temp_dir().join(format!("runway-bench-{}", process::id())));
        fs::create_dir(&directory.0)?;
        for number in 0..FILES {
            fs::write(directory.0.join(file_name(number)), job(number))?;
        }
        Ok(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

fn file_name(number: usize) -> String {
    format!("job-{number:04}.yaml")
}

fn job(number: usize) -> String {
    format!(
        "name: embed-docs-{number}
tenant: tenant-{:02}
class: cpu_long
image: registry.internal/search/embed:1.8.0
command: [python, /app/embed.py]
args: [--shard, \"{number}\"]
env:
  LOG_LEVEL: info
  OMP_NUM_THREADS: \"2\"
resources:
  cpu: 1500m
  memory: 2Gi
  ephemeral_storage: 4Gi
timeout: 10m
retries: 2
network: internal
",
        number % 100
    )
}
