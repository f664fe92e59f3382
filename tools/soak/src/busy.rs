//! Generates load on the machine: busy loops for the CPUs, and a writer for the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Number of busy loops. Each occupies one CPU.
const LOOPS: usize = 2;

/// Number of 1 MiB blocks in the file. The writer syncs each block to the disk and starts again at the end.
const BLOCKS: usize = 64;

/// The load on the machine. It stops when this value is dropped, or when the program exits.
pub(crate) struct Busy {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    file: PathBuf,
}

impl Busy {
    /// Starts the load. The writer writes to a file in `dir`.
    ///
    /// # Errors
    /// [`io::Error`] if the file cannot be created.
    pub(crate) fn start(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join("disk-writer");
        let is_over = Arc::new(AtomicBool::new(false));
        let output = File::create(&file)?;
        let mut threads = Vec::new();
        for _ in 0..LOOPS {
            let is_over = Arc::clone(&is_over);
            threads.push(thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }));
        }
        let writer = Arc::clone(&is_over);
        threads.push(thread::spawn(move || {
            while !writer.load(Ordering::Relaxed) {
                if let Err(error) = write(&output, &writer) {
                    eprintln!("xtask: the disk writer ended: {error}");
                    return;
                }
            }
        }));
        Ok(Self { is_over, threads, file })
    }
}

/// Writes the file once from the start.
fn write(mut file: &File, is_over: &AtomicBool) -> io::Result<()> {
    use std::io::Seek as _;
    let block = vec![1; 1 << 20];
    file.rewind()?;
    for _ in 0..BLOCKS {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        file.write_all(&block)?;
        file.sync_data()?;
    }
    Ok(())
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ended = thread.join();
        }
        let _gone_already = fs::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::Busy;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    #[test]
    fn load_writes_until_it_is_dropped_and_leaves_no_file() {
        let folder = std::env::temp_dir().join(format!("runway-soak-{}", std::process::id()));
        let busy = Busy::start(&folder).unwrap();
        let file = busy.file.clone();
        let begun = Instant::now();
        while file.metadata().unwrap().len() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(60));
            sleep(Duration::from_millis(5));
        }
        drop(busy);
        assert!(!file.exists());
        std::fs::remove_dir(folder).unwrap();
    }
}
