//! Moves the output of a job from its pipes to its data file, without copying it to the memory of this
//! process.

use super::index::{IndexEntry, Stream};
use super::{DATA_FILE, INDEX_FILE};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Maximum number of bytes that are moved from one pipe at a time, so that the other pipe is served too.
const MAX_SPLICE_BYTES: usize = 1 << 20;

/// The size of an index entry.
const ENTRY_BYTES: u64 = IndexEntry::LENGTH as u64;

/// Writes the output of one job.
#[derive(Debug)]
pub(crate) struct LogWriter {
    data: File,
    index: File,
    /// `/dev/null`, the target of output above the limit.
    dev_null: File,
    data_len: u64,
    /// The size of the index in bytes.
    index_len: u64,
    limit: u64,
    attempt: u32,
    last_source: Option<(u32, Stream)>,
    is_truncated: bool,
    dropped_bytes: u64,
}

/// The result of moving output from a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PumpOutcome {
    /// Data was moved, and more may follow.
    More,
    /// The pipe is currently empty.
    Empty,
    /// The pipe is closed.
    Closed,
}

impl LogWriter {
    /// Creates the output files of a job. `limit` is the maximum size of data and index together, in bytes.
    /// The messages of Runway and the last index entries can exceed it.
    pub(crate) fn create(log_dir: &Path, limit: u64) -> io::Result<Self> {
        let new =
            |name: &str| OpenOptions::new().create_new(true).write(true).mode(0o600).open(log_dir.join(name));
        Ok(Self {
            data: new(DATA_FILE)?,
            index: new(INDEX_FILE)?,
            dev_null: OpenOptions::new().write(true).open("/dev/null")?,
            data_len: 0,
            index_len: 0,
            limit,
            attempt: 0,
            last_source: None,
            is_truncated: false,
            dropped_bytes: 0,
        })
    }

    /// Sets the attempt to which the following output belongs.
    pub(crate) fn begin_attempt(&mut self, attempt: u32) {
        self.attempt = attempt;
    }

    /// Returns the size of data and index on disk, in bytes.
    pub(crate) const fn disk_bytes(&self) -> u64 {
        self.data_len.saturating_add(self.index_len)
    }

    /// Moves the available data of a pipe to the data file. Does not block.
    pub(crate) fn pump(&mut self, pipe: &PipeReader, stream: Stream) -> io::Result<PumpOutcome> {
        if self.last_source != Some((self.attempt, stream)) && !self.is_truncated {
            // Only a stream with output gets an index entry.
            match poll_pipe(pipe)? {
                PumpOutcome::More => {}
                outcome => return Ok(outcome),
            }
            self.write_index_entry(Some(stream))?;
            self.last_source = Some((self.attempt, stream));
        }
        let remaining = usize::try_from(self.limit.saturating_sub(self.disk_bytes())).unwrap_or(usize::MAX);
        let wanted = remaining.min(MAX_SPLICE_BYTES);
        if wanted == 0 || self.is_truncated {
            return self.discard(pipe);
        }
        match splice(pipe, None, &self.data, None, wanted, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Ok(0) => Ok(PumpOutcome::Closed),
            Ok(count) => {
                self.data_len += u64::try_from(count).unwrap_or(0);
                Ok(PumpOutcome::More)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(PumpOutcome::Empty),
            // The disk is full or broken. The job must not block on its output, so the output is discarded.
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO) => self.discard(pipe),
            Err(error) => Err(error.into()),
        }
    }

    /// Discards the available data of a pipe, so that the job can continue to write.
    fn discard(&mut self, pipe: &PipeReader) -> io::Result<PumpOutcome> {
        match splice(
            pipe,
            None,
            &self.dev_null,
            None,
            MAX_SPLICE_BYTES,
            SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
        ) {
            Ok(0) => Ok(PumpOutcome::Closed),
            Ok(count) => {
                self.dropped_bytes = self.dropped_bytes.saturating_add(u64::try_from(count).unwrap_or(0));
                if !self.is_truncated {
                    self.is_truncated = true;
                    let _ =
                        self.write_marker("\n[runway: output limit reached; further output is discarded]\n");
                }
                Ok(PumpOutcome::More)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(PumpOutcome::Empty),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the end of the output. If bytes were discarded, a message with their number comes first.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.dropped_bytes > 0 {
            let _ = self
                .write_marker(&format!("[runway: {} bytes of output were discarded]\n", self.dropped_bytes));
        }
        self.write_index_entry(None)
    }

    fn write_marker(&mut self, text: &str) -> io::Result<()> {
        self.write_index_entry(Some(Stream::Marker))?;
        self.last_source = Some((self.attempt, Stream::Marker));
        self.data.write_all(text.as_bytes())?;
        self.data_len += u64::try_from(text.len()).unwrap_or(0);
        Ok(())
    }

    fn write_index_entry(&mut self, stream: Option<Stream>) -> io::Result<()> {
        let entry = IndexEntry { start: self.data_len, attempt: self.attempt, stream };
        self.index.write_all(&entry.to_bytes())?;
        self.index_len = self.index_len.saturating_add(ENTRY_BYTES);
        Ok(())
    }
}

/// Writes the end of the output for a supervisor that was killed, so that readers reach the end.
pub(crate) fn finish_abandoned(log_dir: &Path) -> io::Result<()> {
    let open = OpenOptions::new().append(true).open(log_dir.join(INDEX_FILE));
    let mut index = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        index => index?,
    };
    // A partially written entry is removed, because it would shift the following entries.
    let entry_len = IndexEntry::LENGTH as u64;
    index.set_len(index.metadata()?.len() / entry_len * entry_len)?;
    let start = log_dir.join(DATA_FILE).metadata()?.len();
    index.write_all(&IndexEntry { start, attempt: u32::MAX, stream: None }.to_bytes())
}

/// Returns [`PumpOutcome::More`] if a pipe has data, and otherwise whether it is empty or closed.
fn poll_pipe(pipe: &PipeReader) -> io::Result<PumpOutcome> {
    let mut polled = [PollFd::new(pipe, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&Timespec::default()))?;
    let [events] = polled.map(|polled| polled.revents());
    Ok(if events.contains(PollFlags::IN) {
        PumpOutcome::More
    } else if events.is_empty() {
        PumpOutcome::Empty
    } else {
        PumpOutcome::Closed
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::LogReader;
    use std::fs;

    fn create_test_dir(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("runway-output-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        dir
    }

    fn print(writer: &mut LogWriter, stream: Stream, bytes: &[u8]) {
        let (from, mut to) = io::pipe().unwrap();
        to.write_all(bytes).unwrap();
        drop(to);
        while writer.pump(&from, stream).unwrap() != PumpOutcome::Closed {}
    }

    fn read_all(dir: &Path, from: u64) -> Vec<(u64, u32, Stream, Vec<u8>)> {
        let mut reader = LogReader::open(dir, from).unwrap();
        let mut read = Vec::new();
        while let Some(chunk) = reader.next_blocking().unwrap() {
            read.push((chunk.offset, chunk.attempt, chunk.stream, chunk.bytes.to_vec()));
        }
        read
    }

    #[test]
    fn chunks_have_offset_attempt_and_stream() {
        let dir = create_test_dir("streams");
        let mut writer = LogWriter::create(&dir, 1000).unwrap();
        writer.begin_attempt(1);
        print(&mut writer, Stream::Stdout, b"");
        print(&mut writer, Stream::Stdout, b"one\n");
        print(&mut writer, Stream::Stdout, b"\xff\0");
        print(&mut writer, Stream::Stderr, b"oh");
        writer.begin_attempt(2);
        print(&mut writer, Stream::Stderr, b"again");
        writer.finish().unwrap();
        let all = read_all(&dir, 0);
        assert_eq!(
            all,
            [
                (0, 1, Stream::Stdout, b"one\n\xff\0".to_vec()),
                (6, 1, Stream::Stderr, b"oh".to_vec()),
                (8, 2, Stream::Stderr, b"again".to_vec()),
            ]
        );
        assert_eq!(read_all(&dir, 7)[0], (7, 1, Stream::Stderr, b"h".to_vec()));
        assert_eq!(read_all(&dir, 8)[0].0, 8);
        assert!(read_all(&dir, 13).is_empty() && read_all(&dir, 1000).is_empty());
        crate::tree::remove(&dir).unwrap();
    }

    #[test]
    fn output_above_the_limit_is_cut_with_a_marker() {
        // The limit leaves `kept` bytes beside one index entry. The 10 bytes of output fit into 10 bytes, but
        // not into 9.
        for (kept, cut) in [(10, false), (9, true)] {
            let dir = create_test_dir(&format!("cut-{kept}"));
            let mut writer = LogWriter::create(&dir, ENTRY_BYTES + kept).unwrap();
            writer.begin_attempt(1);
            print(&mut writer, Stream::Stdout, b"0123456789");
            writer.finish().unwrap();
            let all = read_all(&dir, 0);
            let text: Vec<u8> = all.iter().flat_map(|(.., bytes)| bytes.clone()).collect();
            let text = String::from_utf8(text).unwrap();
            assert!(text.starts_with("012345678"), "{text}");
            assert_eq!(all.iter().any(|(_, _, stream, _)| *stream == Stream::Marker), cut, "{text}");
            assert_eq!(text.contains("1 bytes of output were discarded"), cut, "{text}");
            crate::tree::remove(&dir).unwrap();
        }
    }
}
