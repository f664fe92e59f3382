//! The index of a job's output: which part came from which stream and attempt.

/// The source of a part of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A message from Runway about discarded output.
    Marker,
}

/// An entry of the index: a part of the output with one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IndexEntry {
    /// The offset of the first byte.
    pub start: u64,
    pub attempt: u32,
    /// The source, or `None` at the end of the output.
    pub stream: Option<Stream>,
}

impl IndexEntry {
    pub(super) const LENGTH: usize = 16;

    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let stream: u32 = match self.stream {
            Some(Stream::Stdout) => 0,
            Some(Stream::Stderr) => 1,
            Some(Stream::Marker) => 2,
            None => 3,
        };
        let mut bytes = [0; Self::LENGTH];
        let parts = self.start.to_le_bytes().into_iter().chain(self.attempt.to_le_bytes());
        for (byte, part) in bytes.iter_mut().zip(parts.chain(stream.to_le_bytes())) {
            *byte = part;
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, stream, ..] = bytes;
        Self {
            start: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            attempt: u32::from_le_bytes([i, j, k, l]),
            stream: match stream {
                0 => Some(Stream::Stdout),
                1 => Some(Stream::Stderr),
                2 => Some(Stream::Marker),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_entry_round_trips() {
        for stream in [Some(Stream::Stdout), Some(Stream::Stderr), Some(Stream::Marker), None] {
            let entry = IndexEntry { start: u64::MAX - 5, attempt: 4_000_000_000, stream };
            assert_eq!(IndexEntry::from_bytes(entry.to_bytes()), entry);
        }
    }
}
