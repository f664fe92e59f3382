//! Decodes the framed log format, which says which attempt printed which bytes.
//!
//! A line `attempt N` starts the output of attempt N. A line `bytes N` is followed by N bytes of output.

use std::io::{self, BufRead, ErrorKind, Read};

/// Maximum length of a header line in bytes.
const LONGEST_HEAD: u64 = 40;

/// Maximum number of bytes in one [`LogFrame::Bytes`].
const PIECE: u64 = 64 * 1024;

/// A part of the framed output of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// The following bytes are the output of this attempt.
    Attempt(u32),
    /// Bytes of output.
    Bytes(Vec<u8>),
}

/// Decodes frames from a reader.
pub(crate) struct Marked<R> {
    reader: R,
    /// The number of bytes that remain in the current `bytes` frame.
    left: u64,
}

impl<R: BufRead> Marked<R> {
    pub(crate) const fn new(reader: R) -> Self {
        Self { reader, left: 0 }
    }

    /// Returns the next frame, or `None` at the end of the output.
    ///
    /// # Errors
    ///
    /// [`FrameError::Disconnected`] if the input ends within a frame or cannot be read.
    ///
    /// [`FrameError::InvalidHeader`] if a header line is malformed.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, MarkedError> {
        loop {
            if self.left > 0 {
                let mut bytes = Vec::new();
                // Return the buffered bytes at once, without waiting for the rest of the frame.
                let there = u64::try_from(self.reader.fill_buf()?.len()).unwrap_or(PIECE);
                let wanted = self.left.min(there).min(PIECE);
                if wanted == 0 {
                    return Err(cut_off());
                }
                (&mut self.reader).take(wanted).read_to_end(&mut bytes)?;
                self.left -= wanted;
                return Ok(Some(Piece::Bytes(bytes)));
            }
            let mut head = Vec::new();
            (&mut self.reader).take(LONGEST_HEAD).read_until(b'\n', &mut head)?;
            if head.is_empty() {
                return Ok(None);
            }
            match parse(&head) {
                Some(Head::Attempt(attempt)) => return Ok(Some(Piece::Attempt(attempt))),
                Some(Head::Bytes(bytes)) => self.left = bytes,
                None if is_cut(&head) => return Err(cut_off()),
                None => return Err(MarkedError::NoRecord),
            }
        }
    }
}

/// An error from decoding a frame.
#[derive(Debug)]
pub(crate) enum MarkedError {
    /// The input ends within a frame or cannot be read. A retry may succeed.
    BrokenOff(io::Error),
    /// The input is not in the framed log format.
    NoRecord,
}

impl From<io::Error> for MarkedError {
    fn from(error: io::Error) -> Self {
        Self::BrokenOff(error)
    }
}

fn cut_off() -> MarkedError {
    MarkedError::BrokenOff(ErrorKind::UnexpectedEof.into())
}

/// Returns whether a header line is incomplete because the input ended, and not because it is too long.
fn is_cut(head: &[u8]) -> bool {
    !head.ends_with(b"\n") && u64::try_from(head.len()).unwrap_or(u64::MAX) < LONGEST_HEAD
}

enum Head {
    Attempt(u32),
    Bytes(u64),
}

fn parse(line: &[u8]) -> Option<Head> {
    let (word, number) = str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    match word {
        "attempt" => number.parse().ok().map(Head::Attempt),
        "bytes" => number.parse().ok().map(Head::Bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Piece>, MarkedError> {
        let mut marked = Marked::new(text);
        let mut pieces = Vec::new();
        while let Some(piece) = marked.next()? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    #[test]
    fn records_are_told_apart_whatever_is_in_them() {
        let pieces = read(b"attempt 1\nbytes 10\nattempt 9\nbytes 0\nbytes 1\n\xffattempt 2\n").unwrap();
        let expected = [
            Piece::Attempt(1),
            Piece::Bytes(b"attempt 9\n".to_vec()),
            Piece::Bytes(b"\xff".to_vec()),
            Piece::Attempt(2),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(read(b"").unwrap(), []);
    }

    #[test]
    fn what_is_cut_off_is_told_from_what_is_no_record() {
        for cut in
            [&b"bytes 3\nab"[..], b"bytes 3\n", b"bytes 18446744073709551615\nab", b"attempt 1", b"byt", b"x"]
        {
            assert!(matches!(read(cut), Err(MarkedError::BrokenOff(_))), "{cut:?}");
        }
        let endless = b"x".repeat(1_000_000);
        for wrong in [
            &b"bytes 18446744073709551616\nab"[..],
            b"bytes -1\n",
            b"bytes\n",
            b"\xff\n",
            b"hello\n",
            b"\n",
            &endless,
        ] {
            assert!(matches!(read(wrong), Err(MarkedError::NoRecord)));
        }
    }
}
