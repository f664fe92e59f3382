//! Reads the output of a job from any offset, while the job runs or later.

use super::index::{IndexEntry, Stream};
use super::{DATA_FILE, INDEX_FILE};
use crate::job_dir::JobDir;
use crate::notify::{Notifier, Subscription, subscribe};
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Maximum size of a chunk.
const MAX_CHUNK_BYTES: u64 = 64 * 1024;

/// A reader of one job's output. Readers are independent of each other and never block the job.
///
/// As [`std::io::Read`], it returns both streams together, in the order in which the supervisor received the
/// output. It waits for more output until the job is finished.
#[derive(Debug)]
pub struct LogReader {
    data: File,
    index: File,
    /// The offset of the next byte.
    offset: u64,
    current: Option<IndexEntry>,
    next: Option<IndexEntry>,
    /// The number of index entries that were read.
    entries_read: u64,
    /// The job's directory. `None` in tests of output that belongs to no job.
    job_dir: Option<JobDir>,
    /// Notified when there may be more output.
    notifier: Arc<Notifier>,
    _subscription: Option<Subscription>,
    /// The rest of the last chunk that [`Read`] has not returned yet.
    unread: Bytes,
}

/// A chunk of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// The offset of the first byte. A reader resumes after this chunk at `offset + bytes.len()`.
    pub offset: u64,
    /// The number of the attempt that wrote the bytes. The first attempt is 1.
    pub attempt: u32,
    /// The stream to which the bytes were written.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Bytes,
}

/// The result of reading without waiting.
enum ReadOutcome {
    Chunk(LogChunk),
    Pending,
    Ended,
}

impl LogReader {
    pub(crate) fn for_job(dir: &JobDir, offset: u64) -> io::Result<Self> {
        let mut reader = Self::open(&dir.log_dir(), offset)?;
        reader.job_dir = Some(dir.clone());
        Ok(reader)
    }

    /// Returns a reader that waits on `notifier`. The supervisor's notifications must reach this notifier.
    pub(crate) fn with_notifier(dir: &JobDir, offset: u64, notifier: &Arc<Notifier>) -> io::Result<Self> {
        let mut reader = Self::with_subscription(&dir.log_dir(), offset, Arc::clone(notifier), None)?;
        reader.job_dir = Some(dir.clone());
        Ok(reader)
    }

    pub(super) fn open(log_dir: &Path, offset: u64) -> io::Result<Self> {
        let notifier = Arc::new(Notifier::default());
        // Subscribe before reading, so that no change is missed.
        let subscription = subscribe(log_dir, &notifier)?;
        Self::with_subscription(log_dir, offset, notifier, Some(subscription))
    }

    fn with_subscription(
        log_dir: &Path,
        offset: u64,
        notifier: Arc<Notifier>,
        subscription: Option<Subscription>,
    ) -> io::Result<Self> {
        Ok(Self {
            data: File::open(log_dir.join(DATA_FILE))?,
            index: File::open(log_dir.join(INDEX_FILE))?,
            offset,
            current: None,
            next: None,
            entries_read: 0,
            job_dir: None,
            notifier,
            _subscription: subscription,
            unread: Bytes::new(),
        })
    }

    /// Returns a reader that starts at the output of this attempt and continues with later attempts. With
    /// `lines`, it skips all but that many last lines of this output.
    pub(crate) fn for_attempt(dir: &JobDir, attempt: u32, lines: Option<u32>) -> io::Result<Self> {
        let mut reader = Self::for_job(dir, 0)?;
        // If the attempt has written nothing yet, its output starts at the current end.
        let mut start = reader.data.metadata()?.len();
        while let Some(entry) = reader.read_entry()? {
            if entry.attempt >= attempt {
                start = start.min(entry.start);
                break;
            }
        }
        reader.entries_read = 0;
        reader.offset = match lines {
            Some(lines) => tail_offset(&reader.data, start, lines)?,
            None => start,
        };
        Ok(reader)
    }

    /// Returns the offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next chunk, or `None` at the end of the output. Blocks until a chunk is available or the
    /// output has ended.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn next_blocking(&mut self) -> io::Result<Option<LogChunk>> {
        loop {
            let count = self.notifier.count();
            match self.try_read()? {
                ReadOutcome::Chunk(chunk) => return Ok(Some(chunk)),
                ReadOutcome::Ended => return Ok(None),
                ReadOutcome::Pending => self.notifier.wait(count, None),
            }
        }
    }

    /// Returns the next chunk, or `None` if there is currently none. Never blocks.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn try_next(&mut self) -> io::Result<Option<LogChunk>> {
        match self.try_read()? {
            ReadOutcome::Chunk(chunk) => Ok(Some(chunk)),
            ReadOutcome::Pending | ReadOutcome::Ended => Ok(None),
        }
    }

    /// Returns the next chunk, or `None` at the end of the output. The asynchronous form of
    /// [`next_blocking`](Self::next_blocking).
    ///
    /// # Errors
    /// The error of the file system.
    pub async fn next(&mut self) -> io::Result<Option<LogChunk>> {
        loop {
            let count = self.notifier.count();
            match self.try_read()? {
                ReadOutcome::Chunk(chunk) => return Ok(Some(chunk)),
                ReadOutcome::Ended => return Ok(None),
                ReadOutcome::Pending => self.notifier.notified(count).await,
            }
        }
    }

    fn try_read(&mut self) -> io::Result<ReadOutcome> {
        let is_closed = self.notifier.is_closed();
        match self.read_chunk()? {
            ReadOutcome::Pending if is_closed || self.job_dir.as_ref().is_some_and(|job| !may_grow(job)) => {
                match self.read_chunk()? {
                    ReadOutcome::Pending => Ok(ReadOutcome::Ended),
                    // This output was written just before the job finished.
                    now => Ok(now),
                }
            }
            now => Ok(now),
        }
    }

    fn read_chunk(&mut self) -> io::Result<ReadOutcome> {
        loop {
            // The length must be read before the index, see the documentation of the module `output`.
            let length = self.data.metadata()?.len();
            if self.next.is_none() {
                self.next = self.read_entry()?;
            }
            let Some(current) = self.current else {
                match self.next.take() {
                    Some(entry) => self.current = Some(entry),
                    None => return Ok(ReadOutcome::Pending),
                }
                continue;
            };
            let Some(stream) = current.stream else { return Ok(ReadOutcome::Ended) };
            let end = self.next.map_or(length, |next| next.start);
            if self.offset < end {
                let wanted = (end - self.offset).min(MAX_CHUNK_BYTES);
                let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
                let read = self.data.read_at(&mut bytes, self.offset)?;
                bytes.truncate(read);
                let chunk =
                    LogChunk { offset: self.offset, attempt: current.attempt, stream, bytes: bytes.into() };
                self.offset += u64::try_from(read).unwrap_or(0);
                return Ok(ReadOutcome::Chunk(chunk));
            }
            match self.next.take() {
                Some(entry) => self.current = Some(entry),
                None => return Ok(ReadOutcome::Pending),
            }
        }
    }

    fn read_entry(&mut self) -> io::Result<Option<IndexEntry>> {
        let mut bytes = [0; IndexEntry::LENGTH];
        let length = u64::try_from(IndexEntry::LENGTH).unwrap_or(0);
        match self.index.read_exact_at(&mut bytes, self.entries_read * length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        self.entries_read += 1;
        Ok(Some(IndexEntry::from_bytes(bytes)))
    }
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            match self.next_blocking()? {
                Some(chunk) => self.unread = chunk.bytes,
                None => return Ok(0),
            }
        }
        let part = self.unread.split_to(self.unread.len().min(buffer.len()));
        if let Some(to) = buffer.get_mut(..part.len()) {
            to.copy_from_slice(&part);
        }
        Ok(part.len())
    }
}

/// Returns the offset at which the last `lines` lines of the file begin, but at least `start`. An
/// unterminated last line counts too.
fn tail_offset(data: &File, start: u64, lines: u32) -> io::Result<u64> {
    let mut end = data.metadata()?.len();
    let mut is_last = true;
    let mut left = u64::from(lines);
    if left == 0 {
        return Ok(end.max(start));
    }
    while end > start {
        let from = end.saturating_sub(MAX_CHUNK_BYTES).max(start);
        let mut bytes = vec![0; usize::try_from(end - from).unwrap_or(0)];
        data.read_exact_at(&mut bytes, from)?;
        for (behind, byte) in bytes.iter().rev().zip((from..end).rev()).map(|(byte, at)| (at + 1, byte)) {
            // The newline at the end of the file does not separate two lines.
            if *byte == b'\n' && !is_last {
                left -= 1;
                if left == 0 {
                    return Ok(behind);
                }
            }
            is_last = false;
        }
        end = from;
    }
    Ok(start)
}

/// Returns whether more output of the job can follow, because the job is not finished. If the supervisor was
/// killed, the recovery finishes the job. A status that cannot be read counts as finished.
fn may_grow(dir: &JobDir) -> bool {
    match dir.read_status() {
        Ok(Some(status)) => status.finished_at.is_none(),
        Ok(None) => dir.exists(),
        Err(_) => false,
    }
}
