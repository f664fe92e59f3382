//! Messages between the processes of one job: the length as 4 bytes in little-endian order, then JSON.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind, Read, Write};

/// Maximum length of a message. The texts of a job have at most 256 KiB, and JSON escapes can lengthen them
/// sixfold.
const MAX_MESSAGE_BYTES: u32 = 4 << 20;

/// Sends one message.
pub(crate) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_MESSAGE_BYTES);
    let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the message is too long"))?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    to.write_all(&frame)
}

/// Receives one message. Returns `None` if the sender has closed the connection.
pub(crate) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_MESSAGE_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidData, "the message is too long"));
    }
    let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_and_end_with_the_stream() {
        let mut wire = Vec::new();
        send(&mut wire, &"one").unwrap();
        send(&mut wire, &[2, 3]).unwrap();
        let mut from = wire.as_slice();
        assert_eq!(receive::<String>(&mut from).unwrap().as_deref(), Some("one"));
        assert_eq!(receive::<Vec<u8>>(&mut from).unwrap(), Some(vec![2, 3]));
        assert_eq!(receive::<String>(&mut from).unwrap(), None);
    }

    #[test]
    fn oversized_messages_are_rejected_on_both_sides() {
        let long = "x".repeat(usize::try_from(MAX_MESSAGE_BYTES).unwrap());
        assert!(send(Vec::new(), &long).is_err());
        assert!(send(Vec::new(), &long.get(2..)).is_ok());
        assert!(receive::<String>((MAX_MESSAGE_BYTES + 1).to_le_bytes().as_slice()).is_err());
    }
}
