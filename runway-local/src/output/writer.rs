//! Moves the output of a job from its pipes to its data file, without copying it through memory.

use super::index::{Record, Stream};
use super::{DATA, INDEX};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Maximum number of bytes that are moved from one pipe at a time, so that the other pipe is served too.
const PIECE: usize = 1 << 20;

/// The size of an index entry.
const RECORD_BYTES: u64 = Record::LENGTH as u64;

/// Writes the output of one job.
#[derive(Debug)]
pub(crate) struct Writer {
    data: File,
    index: File,
    /// `/dev/null`, the target of output above the limit.
    nowhere: File,
    length: u64,
    /// The size of the index in bytes.
    indexed: u64,
    limit: u64,
    attempt: u32,
    last: Option<(u32, Stream)>,
    cut: bool,
    dropped: u64,
}

/// The result of moving output from a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pumped {
    /// Data was moved, and more may follow.
    More,
    /// The pipe is currently empty.
    Empty,
    /// The pipe is closed.
    Ended,
}

impl Writer {
    /// Creates the output files of a job. `limit` is the maximum size of data and index together, in bytes.
    pub(crate) fn create(folder: &Path, limit: u64) -> io::Result<Self> {
        let new =
            |name: &str| OpenOptions::new().create_new(true).write(true).mode(0o600).open(folder.join(name));
        Ok(Self {
            data: new(DATA)?,
            index: new(INDEX)?,
            nowhere: OpenOptions::new().write(true).open("/dev/null")?,
            length: 0,
            indexed: 0,
            limit,
            attempt: 0,
            last: None,
            cut: false,
            dropped: 0,
        })
    }

    /// Starts the output of this attempt.
    pub(crate) fn begin(&mut self, attempt: u32) {
        self.attempt = attempt;
    }

    /// Returns the size of the output on disk, in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.length.saturating_add(self.indexed)
    }

    /// Moves the available data of a pipe to the data file. Does not block.
    pub(crate) fn pump(&mut self, pipe: &PipeReader, stream: Stream) -> io::Result<Pumped> {
        if self.last != Some((self.attempt, stream)) && !self.cut {
            // Only a stream with output gets an index entry.
            match look(pipe)? {
                Pumped::More => {}
                nothing => return Ok(nothing),
            }
            self.mark(Some(stream))?;
            self.last = Some((self.attempt, stream));
        }
        let room = usize::try_from(self.limit.saturating_sub(self.bytes())).unwrap_or(usize::MAX);
        let wanted = room.min(PIECE);
        if wanted == 0 || self.cut {
            return self.discard(pipe);
        }
        match splice(pipe, None, &self.data, None, wanted, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Ok(0) => Ok(Pumped::Ended),
            Ok(count) => {
                self.length += u64::try_from(count).unwrap_or(0);
                Ok(Pumped::More)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Pumped::Empty),
            // The disk is full or broken. The job must not block on its output, so it is discarded.
            Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG | Errno::IO) => self.discard(pipe),
            Err(error) => Err(error.into()),
        }
    }

    /// Discards the available data of a pipe, so that the job can continue to write.
    fn discard(&mut self, pipe: &PipeReader) -> io::Result<Pumped> {
        match splice(pipe, None, &self.nowhere, None, PIECE, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Ok(0) => Ok(Pumped::Ended),
            Ok(count) => {
                self.dropped = self.dropped.saturating_add(u64::try_from(count).unwrap_or(0));
                if !self.cut {
                    self.cut = true;
                    let _ = self.note("\n[runway: output limit reached; further output is discarded]\n");
                }
                Ok(Pumped::More)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(Pumped::Empty),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the output. Writes how many bytes were discarded.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if self.dropped > 0 {
            let _ = self.note(&format!("[runway: {} bytes of output were discarded]\n", self.dropped));
        }
        self.mark(None)
    }

    fn note(&mut self, text: &str) -> io::Result<()> {
        self.mark(Some(Stream::Mark))?;
        self.last = Some((self.attempt, Stream::Mark));
        self.data.write_all(text.as_bytes())?;
        self.length += u64::try_from(text.len()).unwrap_or(0);
        Ok(())
    }

    fn mark(&mut self, stream: Option<Stream>) -> io::Result<()> {
        let record = Record { start: self.length, attempt: self.attempt, stream };
        self.index.write_all(&record.to_bytes())?;
        self.indexed = self.indexed.saturating_add(RECORD_BYTES);
        Ok(())
    }
}

/// Ends the output of a killed supervisor, so that its readers end.
pub(crate) fn conclude(folder: &Path) -> io::Result<()> {
    let open = OpenOptions::new().append(true).open(folder.join(INDEX));
    let mut index = match open {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        index => index?,
    };
    // Removes a partially written entry, which would shift the following ones.
    let records = Record::LENGTH as u64;
    index.set_len(index.metadata()?.len() / records * records)?;
    let start = folder.join(DATA).metadata()?.len();
    index.write_all(&Record { start, attempt: u32::MAX, stream: None }.to_bytes())
}

/// Returns whether a pipe has data.
fn look(pipe: &PipeReader) -> io::Result<Pumped> {
    let mut polled = [PollFd::new(pipe, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&Timespec::default()))?;
    let [seen] = polled.map(|polled| polled.revents());
    Ok(if seen.contains(PollFlags::IN) {
        Pumped::More
    } else if seen.is_empty() {
        Pumped::Empty
    } else {
        Pumped::Ended
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Reader;
    use std::fs;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("runway-output-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        folder
    }

    fn print(writer: &mut Writer, stream: Stream, bytes: &[u8]) {
        let (from, mut to) = io::pipe().unwrap();
        to.write_all(bytes).unwrap();
        drop(to);
        while writer.pump(&from, stream).unwrap() != Pumped::Ended {}
    }

    fn read(folder: &Path, from: u64) -> Vec<(u64, u32, Stream, Vec<u8>)> {
        let mut reader = Reader::open(folder, from).unwrap();
        let mut read = Vec::new();
        while let Some(chunk) = reader.next_blocking().unwrap() {
            read.push((chunk.offset, chunk.attempt, chunk.stream, chunk.bytes.to_vec()));
        }
        read
    }

    #[test]
    fn a_byte_has_one_place_and_knows_where_it_came_from() {
        let folder = folder("streams");
        let mut writer = Writer::create(&folder, 1000).unwrap();
        writer.begin(1);
        print(&mut writer, Stream::Out, b"");
        print(&mut writer, Stream::Out, b"one\n");
        print(&mut writer, Stream::Out, b"\xff\0");
        print(&mut writer, Stream::Err, b"oh");
        writer.begin(2);
        print(&mut writer, Stream::Err, b"again");
        writer.finish().unwrap();
        let all = read(&folder, 0);
        assert_eq!(
            all,
            [
                (0, 1, Stream::Out, b"one\n\xff\0".to_vec()),
                (6, 1, Stream::Err, b"oh".to_vec()),
                (8, 2, Stream::Err, b"again".to_vec()),
            ]
        );
        assert_eq!(read(&folder, 7)[0], (7, 1, Stream::Err, b"h".to_vec()));
        assert_eq!(read(&folder, 8)[0].0, 8);
        assert!(read(&folder, 13).is_empty() && read(&folder, 1000).is_empty());
        crate::tree::remove(&folder).unwrap();
    }

    #[test]
    fn what_is_too_much_is_cut_at_its_place_and_told_of() {
        // The index entry counts towards the limit too.
        for (kept, cut) in [(10, false), (9, true)] {
            let folder = folder(&format!("cut-{kept}"));
            let mut writer = Writer::create(&folder, RECORD_BYTES + kept).unwrap();
            writer.begin(1);
            print(&mut writer, Stream::Out, b"0123456789");
            writer.finish().unwrap();
            let all = read(&folder, 0);
            let text: Vec<u8> = all.iter().flat_map(|(.., bytes)| bytes.clone()).collect();
            let text = String::from_utf8(text).unwrap();
            assert!(text.starts_with("012345678"), "{text}");
            assert_eq!(all.iter().any(|(_, _, stream, _)| *stream == Stream::Mark), cut, "{text}");
            assert_eq!(text.contains("1 bytes of output were discarded"), cut, "{text}");
            crate::tree::remove(&folder).unwrap();
        }
    }
}
