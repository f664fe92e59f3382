//! Reads the output of a job from any offset, while the job runs or later.

use super::index::{Record, Stream};
use super::{DATA, INDEX};
use crate::bell::{Bell, Listening, listen};
use crate::folder::Folder;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Maximum size of a chunk.
const PIECE: u64 = 64 * 1024;

/// A reader of one job's output. Readers are independent of each other and never block the job.
///
/// As [`std::io::Read`], it returns both streams together, in the order in which they were written. It waits
/// for more output until the job is finished.
#[derive(Debug)]
pub struct Reader {
    data: File,
    index: File,
    /// The offset of the next byte.
    offset: u64,
    current: Option<Record>,
    next: Option<Record>,
    /// The number of index entries that were read.
    records: u64,
    /// The job's directory. `None` for output that belongs to no job.
    job: Option<Folder>,
    /// Notified when there may be more output.
    bell: Arc<Bell>,
    _listening: Option<Listening>,
    /// The rest of a chunk, for [`Read`].
    rest: Bytes,
}

/// A chunk of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The offset of the first byte. A reader resumes after this chunk at `offset + bytes.len()`.
    pub offset: u64,
    /// The attempt that wrote it. The first one is 1.
    pub attempt: u32,
    /// The stream that it was written to.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Bytes,
}

/// The result of reading without waiting.
enum Now {
    Chunk(Chunk),
    Nothing,
    Ended,
}

impl Reader {
    pub(crate) fn of_job(folder: &Folder, offset: u64) -> io::Result<Self> {
        let mut reader = Self::open(&folder.log(), offset)?;
        reader.job = Some(folder.clone());
        Ok(reader)
    }

    /// Returns a reader for a job whose supervisor notifies this notifier of output.
    pub(crate) fn with_bell(folder: &Folder, offset: u64, bell: &Arc<Bell>) -> io::Result<Self> {
        let mut reader = Self::listening(&folder.log(), offset, Arc::clone(bell), None)?;
        reader.job = Some(folder.clone());
        Ok(reader)
    }

    pub(super) fn open(folder: &Path, offset: u64) -> io::Result<Self> {
        let bell = Arc::new(Bell::default());
        // Subscribe before reading, so that no change is missed.
        let listening = listen(folder, &bell)?;
        Self::listening(folder, offset, bell, Some(listening))
    }

    fn listening(
        folder: &Path,
        offset: u64,
        bell: Arc<Bell>,
        listening: Option<Listening>,
    ) -> io::Result<Self> {
        Ok(Self {
            data: File::open(folder.join(DATA))?,
            index: File::open(folder.join(INDEX))?,
            offset,
            current: None,
            next: None,
            records: 0,
            job: None,
            bell,
            _listening: listening,
            rest: Bytes::new(),
        })
    }

    /// Returns a reader that starts at this attempt. With `lines`, it starts at the last lines that the
    /// attempt has written.
    pub(crate) fn of_attempt(folder: &Folder, attempt: u32, lines: Option<u32>) -> io::Result<Self> {
        let mut reader = Self::of_job(folder, 0)?;
        // The output of an attempt that has written nothing yet starts at the current end.
        let mut start = reader.data.metadata()?.len();
        while let Some(record) = reader.record()? {
            if record.attempt >= attempt {
                start = start.min(record.start);
                break;
            }
        }
        reader.records = 0;
        reader.offset = match lines {
            Some(lines) => tail(&reader.data, start, lines)?,
            None => start,
        };
        Ok(reader)
    }

    /// Returns the offset of the next byte.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next chunk, or `None` at the end of the output. Blocks until one of them is known.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn next_blocking(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            let times = self.bell.times();
            match self.look()? {
                Now::Chunk(chunk) => return Ok(Some(chunk)),
                Now::Ended => return Ok(None),
                Now::Nothing => self.bell.wait(times, None),
            }
        }
    }

    /// Returns the next chunk, or `None` if there is currently none. Never blocks.
    ///
    /// # Errors
    /// The error of the file system.
    pub fn try_next(&mut self) -> io::Result<Option<Chunk>> {
        match self.look()? {
            Now::Chunk(chunk) => Ok(Some(chunk)),
            Now::Nothing | Now::Ended => Ok(None),
        }
    }

    /// Returns the next chunk, or `None` at the end of the output. The asynchronous form of
    /// [`next_blocking`](Self::next_blocking).
    ///
    /// # Errors
    /// The error of the file system.
    pub async fn next(&mut self) -> io::Result<Option<Chunk>> {
        loop {
            let times = self.bell.times();
            match self.look()? {
                Now::Chunk(chunk) => return Ok(Some(chunk)),
                Now::Ended => return Ok(None),
                Now::Nothing => self.bell.rings(times).await,
            }
        }
    }

    fn look(&mut self) -> io::Result<Now> {
        let is_over = self.bell.is_over();
        match self.piece()? {
            Now::Nothing if is_over || self.job.as_ref().is_some_and(|job| !may_go_on(job)) => {
                match self.piece()? {
                    Now::Nothing => Ok(Now::Ended),
                    // The output was written just before the job finished.
                    now => Ok(now),
                }
            }
            now => Ok(now),
        }
    }

    fn piece(&mut self) -> io::Result<Now> {
        loop {
            // The length must be read before the index, see the module documentation.
            let length = self.data.metadata()?.len();
            if self.next.is_none() {
                self.next = self.record()?;
            }
            let Some(current) = self.current else {
                match self.next.take() {
                    Some(record) => self.current = Some(record),
                    None => return Ok(Now::Nothing),
                }
                continue;
            };
            let Some(stream) = current.stream else { return Ok(Now::Ended) };
            let end = self.next.map_or(length, |next| next.start);
            if self.offset < end {
                let wanted = (end - self.offset).min(PIECE);
                let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
                let read = self.data.read_at(&mut bytes, self.offset)?;
                bytes.truncate(read);
                let chunk =
                    Chunk { offset: self.offset, attempt: current.attempt, stream, bytes: bytes.into() };
                self.offset += u64::try_from(read).unwrap_or(0);
                return Ok(Now::Chunk(chunk));
            }
            match self.next.take() {
                Some(record) => self.current = Some(record),
                None => return Ok(Now::Nothing),
            }
        }
    }

    fn record(&mut self) -> io::Result<Option<Record>> {
        let mut bytes = [0; Record::LENGTH];
        let length = u64::try_from(Record::LENGTH).unwrap_or(0);
        match self.index.read_exact_at(&mut bytes, self.records * length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        self.records += 1;
        Ok(Some(Record::from_bytes(bytes)))
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            match self.next_blocking()? {
                Some(chunk) => self.rest = chunk.bytes,
                None => return Ok(0),
            }
        }
        let part = self.rest.split_to(self.rest.len().min(buffer.len()));
        if let Some(to) = buffer.get_mut(..part.len()) {
            to.copy_from_slice(&part);
        }
        Ok(part.len())
    }
}

/// Returns the offset of the last `lines` lines of the file, at least `start`. An unterminated last line
/// counts too.
fn tail(data: &File, start: u64, lines: u32) -> io::Result<u64> {
    let mut end = data.metadata()?.len();
    let mut is_last = true;
    let mut left = u64::from(lines);
    if left == 0 {
        return Ok(end.max(start));
    }
    while end > start {
        let from = end.saturating_sub(PIECE).max(start);
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

/// Returns whether more output can follow. If the supervisor was killed, the recovery writes the time of the
/// end.
fn may_go_on(job: &Folder) -> bool {
    match job.status() {
        Ok(Some(status)) => status.finished_at.is_none(),
        Ok(None) => job.exists(),
        Err(_) => false,
    }
}
