//! Reading what a job prints: from any byte on, at any pace, while it runs or later.

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

/// At most this much at a time.
const PIECE: u64 = 64 * 1024;

/// A reader of one job's output. Any number of them read at the same time, none of them held up by another or holding up
/// the job.
///
/// As [`std::io::Read`] it reads both streams together, as they were written, and waits for more until the job has ended.
#[derive(Debug)]
pub struct Reader {
    data: File,
    index: File,
    /// The next byte.
    offset: u64,
    current: Option<Record>,
    next: Option<Record>,
    /// How many records have been read.
    records: u64,
    /// The folder of the job, where the output is that of one.
    job: Option<Folder>,
    /// Rings when there may be more.
    bell: Arc<Bell>,
    _listening: Option<Listening>,
    /// What is left of a piece, for [`Read`].
    rest: Bytes,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The place of its first byte. A reader that begins at the place behind its last one goes on from here.
    pub offset: u64,
    /// The attempt that it comes from, the first of which is 1.
    pub attempt: u32,
    /// The stream that it comes from.
    pub stream: Stream,
    /// What was written.
    pub bytes: Bytes,
}

/// What there is to read just now.
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

    /// The same, of a job whose own bell rings for what it prints.
    pub(crate) fn with_bell(folder: &Folder, offset: u64, bell: &Arc<Bell>) -> io::Result<Self> {
        let mut reader = Self::listening(&folder.log(), offset, Arc::clone(bell), None)?;
        reader.job = Some(folder.clone());
        Ok(reader)
    }

    pub(super) fn open(folder: &Path, offset: u64) -> io::Result<Self> {
        let bell = Arc::new(Bell::default());
        // First listen, then look.
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

    /// A reader of what the newest attempt prints, from its last lines on where only so many are wanted.
    pub(crate) fn of_attempt(folder: &Folder, attempt: u32, lines: Option<u32>) -> io::Result<Self> {
        let mut reader = Self::of_job(folder, 0)?;
        // Where it has printed nothing yet, what it prints will stand behind all else.
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

    /// The place of the byte that is read next.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece, or `None` at the end; waits until there is one or the other.
    ///
    /// # Errors
    /// What the file system says.
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

    /// The next piece, or `None` where there is none just now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn try_next(&mut self) -> io::Result<Option<Chunk>> {
        match self.look()? {
            Now::Chunk(chunk) => Ok(Some(chunk)),
            Now::Nothing | Now::Ended => Ok(None),
        }
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// What the file system says.
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
                    // It was written just before the end was told.
                    now => Ok(now),
                }
            }
            now => Ok(now),
        }
    }

    fn piece(&mut self) -> io::Result<Now> {
        loop {
            // In this order: see the module above.
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

/// Where the last lines of a file begin, but not before `start`. A line that has no end yet is one.
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
            // The end of the last line ends no line before it.
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

/// Whether more may come. Where a supervisor was killed, whoever notices says in the job's folder that it has ended.
fn may_go_on(job: &Folder) -> bool {
    match job.status() {
        Ok(Some(status)) => status.finished_at.is_none(),
        Ok(None) => job.exists(),
        Err(_) => false,
    }
}
