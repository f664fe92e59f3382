//! Throughput of a job's output to its file and to its readers.

use super::harness::Harness;
use crate::timing::{BenchResult, Benchmark};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::{io, thread};

/// The baseline: a program that writes to a file through a pipe.
pub(super) fn bare(harness: &Harness, megabytes: usize) -> Benchmark {
    let file = harness.directory.join("bare");
    Benchmark::new(move |samples| {
        let shell = format!("head -c {megabytes}M /dev/zero | cat >{}", file.display());
        samples.time(megabytes, || Command::new("sh").args(["-c", &shell]).stdin(Stdio::null()).status())?;
        Ok(std::fs::remove_file(&file)?)
    })
}

/// A job that prints this number of MiB, with this number of concurrent readers. Each reader reads the whole
/// output.
pub(super) fn job(harness: Rc<Harness>, megabytes: usize, readers: usize) -> Benchmark {
    Benchmark::new(move |samples| {
        let size = format!("{megabytes}M");
        let job = samples.time(megabytes, || {
            let job = harness.start(&["head", "-c", &size, "/dev/zero"])?;
            let mut open = Vec::new();
            for _ in 0..readers {
                open.push(job.reader()?);
            }
            thread::scope(|scope| {
                let read: Vec<_> = open
                    .into_iter()
                    .map(|mut reader| {
                        scope.spawn(move || {
                            let mut bytes = 0;
                            while let Some(chunk) = reader.next_blocking()? {
                                bytes += chunk.bytes.len();
                            }
                            io::Result::Ok(bytes)
                        })
                    })
                    .collect();
                for reader in read {
                    let bytes = reader.join().map_err(|_| "a reader panicked")??;
                    if bytes != megabytes << 20 {
                        return Err(format!("a reader received {bytes} bytes").into());
                    }
                }
                BenchResult::Ok(())
            })?;
            job.wait(None)?;
            BenchResult::Ok(job)
        })?;
        job.remove()?;
        Ok(())
    })
}
