//! Decodes the framed log format, which says which attempt printed which bytes.
//!
//! A line `attempt N` starts the output of attempt N. A line `bytes N` is followed by N bytes of output.

use std::io::{self, BufRead, ErrorKind, Read};

/// Maximum length of a header line in bytes.
const MAX_HEADER_LENGTH: u64 = 40;

/// Maximum number of bytes in one [`LogFrame::Bytes`].
const MAX_CHUNK_BYTES: u64 = 64 * 1024;

/// A part of the framed output of a job.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LogFrame {
    /// The following bytes are the output of this attempt.
    Attempt(u32),
    /// Bytes of output.
    Bytes(Vec<u8>),
}

/// Decodes frames from a reader.
pub(crate) struct FramedLog<R> {
    reader: R,
    /// The number of bytes that remain in the current `bytes` frame.
    remaining: u64,
}

impl<R: BufRead> FramedLog<R> {
    pub(crate) const fn new(reader: R) -> Self {
        Self { reader, remaining: 0 }
    }

    /// Returns the next frame, or `None` at the end of the output.
    ///
    /// # Errors
    ///
    /// [`FrameError::Disconnected`] if the input ends within a frame or cannot be read.
    ///
    /// [`FrameError::InvalidHeader`] if a header line is malformed.
    pub(crate) fn next_frame(&mut self) -> Result<Option<LogFrame>, FrameError> {
        loop {
            if self.remaining > 0 {
                let mut bytes = Vec::new();
                // Return the buffered bytes at once, without waiting for the rest of the frame.
                let buffered = u64::try_from(self.reader.fill_buf()?.len()).unwrap_or(MAX_CHUNK_BYTES);
                let length = self.remaining.min(buffered).min(MAX_CHUNK_BYTES);
                if length == 0 {
                    return Err(truncated());
                }
                (&mut self.reader).take(length).read_to_end(&mut bytes)?;
                self.remaining -= length;
                return Ok(Some(LogFrame::Bytes(bytes)));
            }
            let mut header = Vec::new();
            (&mut self.reader).take(MAX_HEADER_LENGTH).read_until(b'\n', &mut header)?;
            if header.is_empty() {
                return Ok(None);
            }
            match parse_header(&header) {
                Some(FrameHeader::Attempt(attempt)) => return Ok(Some(LogFrame::Attempt(attempt))),
                Some(FrameHeader::Bytes(bytes)) => self.remaining = bytes,
                None if is_truncated(&header) => return Err(truncated()),
                None => return Err(FrameError::InvalidHeader),
            }
        }
    }
}

/// An error from decoding a frame.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The input ends within a frame or cannot be read. A retry may succeed.
    Disconnected(io::Error),
    /// The input is not in the framed log format.
    InvalidHeader,
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        Self::Disconnected(error)
    }
}

fn truncated() -> FrameError {
    FrameError::Disconnected(ErrorKind::UnexpectedEof.into())
}

/// Returns whether a header line is incomplete because the input ended. Returns `false` if the line is
/// incomplete because it is longer than [`MAX_HEADER_LENGTH`].
fn is_truncated(header: &[u8]) -> bool {
    !header.ends_with(b"\n") && u64::try_from(header.len()).unwrap_or(u64::MAX) < MAX_HEADER_LENGTH
}

enum FrameHeader {
    Attempt(u32),
    Bytes(u64),
}

fn parse_header(line: &[u8]) -> Option<FrameHeader> {
    let (word, number) = str::from_utf8(line).ok()?.strip_suffix('\n')?.split_once(' ')?;
    match word {
        "attempt" => number.parse().ok().map(FrameHeader::Attempt),
        "bytes" => number.parse().ok().map(FrameHeader::Bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_frames(text: &[u8]) -> Result<Vec<LogFrame>, FrameError> {
        let mut log = FramedLog::new(text);
        let mut frames = Vec::new();
        while let Some(piece) = log.next_frame()? {
            frames.push(piece);
        }
        Ok(frames)
    }

    #[test]
    fn frame_contents_are_not_parsed_as_headers() {
        let frames =
            read_frames(b"attempt 1\nbytes 10\nattempt 9\nbytes 0\nbytes 1\n\xffattempt 2\n").unwrap();
        let expected = [
            LogFrame::Attempt(1),
            LogFrame::Bytes(b"attempt 9\n".to_vec()),
            LogFrame::Bytes(b"\xff".to_vec()),
            LogFrame::Attempt(2),
        ];
        assert_eq!(frames, expected);
        assert_eq!(read_frames(b"").unwrap(), []);
    }

    #[test]
    fn truncated_frame_differs_from_invalid_header() {
        for cut in
            [&b"bytes 3\nab"[..], b"bytes 3\n", b"bytes 18446744073709551615\nab", b"attempt 1", b"byt", b"x"]
        {
            assert!(matches!(read_frames(cut), Err(FrameError::Disconnected(_))), "{cut:?}");
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
            assert!(matches!(read_frames(wrong), Err(FrameError::InvalidHeader)));
        }
    }
}
