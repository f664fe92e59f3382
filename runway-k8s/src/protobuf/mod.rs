//! Decodes the protobuf of the API server. It decodes only the fields that Runway needs, into the types of
//! `k8s-openapi`.
//!
//! The API server encodes a change in protobuf once for all watches, as its own controllers use protobuf. It
//! encodes JSON again for each watch.
//!
//! The fields have the numbers of the `generated.proto` files of Kubernetes, which never change. Go has no
//! null for strings and counts, so protobuf contains them even if they are empty. JSON omits empty ones; the
//! decoder therefore treats them as absent.

mod batch;
mod core;
mod meta;
pub(crate) mod sent;
#[cfg(test)]
mod tests;
mod wire;
#[cfg(test)]
pub(crate) mod written;

pub(crate) use meta::Made;
pub(crate) use wire::{Malformed, Message};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use kube::core::Status;
use wire::{Fields, Value};

/// The first bytes of each object.
const MAGIC: &[u8] = b"k8s\0";

/// Returns the object in its envelope, which is `Unknown` in
/// `k8s.io/apimachinery/pkg/runtime/generated.proto`.
fn unpack(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(Malformed::NoMagic)?;
    last_bytes(envelope, 2)
}

/// Returns the last value of a field, which is the one that counts. Empty if the field is missing.
fn last_bytes(message: &[u8], wanted: u32) -> Result<&[u8], Malformed> {
    let mut found: &[u8] = &[];
    for field in Fields::of(message) {
        let (field, value) = field?;
        if field == wanted {
            found = value.bytes()?;
        }
    }
    Ok(found)
}

/// Decodes an object.
pub(crate) fn object<T: Message>(bytes: &[u8]) -> Result<T, Malformed> {
    T::read(unpack(bytes)?)
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
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
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
pub(crate) enum Change<K> {
    /// The object was created or changed.
    Applied(Box<K>),
    Deleted(Box<K>),
    /// No change. Later events are newer than the resource version of this object.
    Bookmark(Box<K>),
    Error(Box<Status>),
    /// An event of an unknown type.
    Other,
}

/// Decodes one frame of a watch.
pub(crate) fn change<K: Message>(frame: &[u8]) -> Result<Change<K>, Malformed> {
    // The event contains a `RawExtension`, which contains the envelope of the object.
    let object_in = || unpack(last_bytes(last_bytes(frame, 2)?, 1)?);
    let object = || K::read(object_in()?).map(Box::new);
    Ok(match last_bytes(frame, 1)? {
        b"ADDED" | b"MODIFIED" => Change::Applied(object()?),
        b"DELETED" => Change::Deleted(object()?),
        b"BOOKMARK" => Change::Bookmark(object()?),
        b"ERROR" => Change::Error(Box::new(Status::read(object_in()?)?)),
        _ => Change::Other,
    })
}
