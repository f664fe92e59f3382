//! Generates load on the machine: busy loops for the CPUs, and a writer for the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Number of busy loops. Each occupies one CPU.
const BUSY_LOOPS: usize = 2;

/// Number of 1 MiB blocks in the file. The writer syncs each block to the disk and starts again at the end.
const BLOCKS: usize = 64;

/// The load on the machine. The load stops when this value is dropped, or when the program exits.
pub(crate) struct MachineLoad {
    is_stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    file: PathBuf,
}

impl MachineLoad {
    /// Starts the load. The writer writes to a file in `dir`.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be created.
    pub(crate) fn start(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let file = dir.join("disk-writer");
        let is_stopped = Arc::new(AtomicBool::new(false));
        let output = File::create(&file)?;
        let mut threads = Vec::new();
        for _ in 0..BUSY_LOOPS {
            let is_stopped = Arc::clone(&is_stopped);
            threads.push(thread::spawn(move || {
                while !is_stopped.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        let writer = Arc::clone(&is_stopped);
        threads.push(thread::spawn(move || {
            while !writer.load(Ordering::Relaxed) {
                if let Err(error) = write(&output, &writer) {
                    eprintln!("xtask: the disk writer ended: {error}");
                    return;
                }
            }
        }));
        Ok(Self { is_stopped, threads, file })
    }
}

/// Writes the file once from the start.
fn write(mut file: &File, is_stopped: &AtomicBool) -> io::Result<()> {
    use std::io::Seek as _;
    let block = vec![1; 1 << 20];
    file.rewind()?;
    for _ in 0..BLOCKS {
        if is_stopped.load(Ordering::Relaxed) {
            break;
        }
        file.write_all(&block)?;
        file.sync_data()?;
    }
    Ok(())
}

impl Drop for MachineLoad {
    fn drop(&mut self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
        let _gone_already = fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::MachineLoad;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    #[test]
    fn load_writes_until_it_is_dropped_and_leaves_no_file() {
        let dir = std::env::temp_dir().join(format!("runway-soak-{}", std::process::id()));
        let load = MachineLoad::start(&dir).unwrap();
        let file = load.file.clone();
        let started_at = Instant::now();
        while file.metadata().unwrap().len() == 0 {
            assert!(started_at.elapsed() < Duration::from_secs(60));
            sleep(Duration::from_millis(5));
        }
        drop(load);
        assert!(!file.exists());
        std::fs::remove_dir(dir).unwrap();
    }
}
