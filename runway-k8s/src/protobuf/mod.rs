//! Decodes the protobuf of the API server. It decodes only the fields that Runway needs, into the types of
//! `k8s-openapi`.
//!
//! The controllers of Kubernetes also use protobuf. The API server encodes a change once for all watches with
//! the same encoding, so a watch in protobuf needs no extra encoding.
//!
//! The fields have the numbers of the `generated.proto` files of Kubernetes, which never change. Go has no
//! null for strings and integers, so protobuf contains empty strings and zeros. JSON omits them, so the
//! decoder treats them as absent.

mod batch;
mod core;
pub(crate) mod encode;
mod meta;
#[cfg(test)]
pub(crate) mod test_encode;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use meta::CreateResponse;
pub(crate) use wire::{DecodeError, Message};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::core::Status;
use wire::{FieldReader, Value};

/// The first bytes of each object.
const MAGIC: &[u8] = b"k8s\0";

/// Returns the bytes of the object in an envelope. The envelope is the message `Unknown` in
/// `k8s.io/apimachinery/pkg/runtime/generated.proto`.
fn unwrap_envelope(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(DecodeError::MissingMagic)?;
    last_field_bytes(envelope, 2)
}

/// Returns the last value of a field, which is the one that counts. Empty if the field is missing.
fn last_field_bytes(message: &[u8], wanted: u32) -> Result<&[u8], DecodeError> {
    let mut found: &[u8] = &[];
    for field in FieldReader::new(message) {
        let (field, value) = field?;
        if field == wanted {
            found = value.bytes()?;
        }
    }
    Ok(found)
}

/// Decodes an object in its envelope.
pub(crate) fn decode_object<T: Message>(bytes: &[u8]) -> Result<T, DecodeError> {
    T::decode(unwrap_envelope(bytes)?)
}

/// One page of a list.
pub(crate) struct Page<K> {
    pub(crate) metadata: ListMeta,
    pub(crate) items: Vec<K>,
}

impl<K> Default for Page<K> {
    fn default() -> Self {
        Self { metadata: ListMeta::default(), items: Vec::new() }
    }
}

/// `JobList`, `PodList` and `EventList` have the same field numbers.
impl<K: Message> Message for Page<K> {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.metadata = value.message()?,
            2 => self.items.push(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

/// A watch event: `WatchEvent` in `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.
#[derive(Debug)]
pub(crate) enum RawWatchEvent<K> {
    /// The object was created or changed.
    Applied(Box<K>),
    Deleted(Box<K>),
    /// No change. Later events are newer than the resource version of this object.
    Bookmark(Box<K>),
    Error(Box<Status>),
    /// An event of an unknown type.
    Unknown,
}

/// Decodes one frame of a watch.
pub(crate) fn decode_watch_event<K: Message>(frame: &[u8]) -> Result<RawWatchEvent<K>, DecodeError> {
    // The event contains a `RawExtension`, which contains the envelope of the object.
    let object_in = || unwrap_envelope(last_field_bytes(last_field_bytes(frame, 2)?, 1)?);
    let object = || K::decode(object_in()?).map(Box::new);
    Ok(match last_field_bytes(frame, 1)? {
        b"ADDED" | b"MODIFIED" => RawWatchEvent::Applied(object()?),
        b"DELETED" => RawWatchEvent::Deleted(object()?),
        b"BOOKMARK" => RawWatchEvent::Bookmark(object()?),
        b"ERROR" => RawWatchEvent::Error(Box::new(Status::decode(object_in()?)?)),
        _ => RawWatchEvent::Unknown,
    })
}
