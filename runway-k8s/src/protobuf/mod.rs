//! What the API server sends as protobuf: the fields that are of interest here, put into the types that go with them.
//!
//! The API server's own controllers ask for protobuf, and it encodes a change once for all who watch in the same way. Whoever
//! asks for JSON has each change encoded for himself alone.
//!
//! Fields are known by the numbers that the `generated.proto` files of Kubernetes give them, which never change. Texts and
//! counts that Go has no null for are written even where they are empty; JSON leaves them out, and so they are read here.

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

/// What an object begins with, so that it is taken for nothing else.
const MAGIC: &[u8] = b"k8s\0";

/// The object in its envelope, which is `Unknown` of `k8s.io/apimachinery/pkg/runtime/generated.proto`.
fn unpack(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(Malformed::NoMagic)?;
    last_bytes(envelope, 2)
}

/// The value that a field has in the end.
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

/// Reads an object.
pub(crate) fn object<T: Message>(bytes: &[u8]) -> Result<T, Malformed> {
    T::read(unpack(bytes)?)
}

/// A page of a list.
pub(crate) struct Page<K> {
    pub(crate) metadata: ListMeta,
    pub(crate) items: Vec<K>,
}

impl<K> Default for Page<K> {
    fn default() -> Self {
        Self { metadata: ListMeta::default(), items: Vec::new() }
    }
}

/// `JobList`, `PodList` and `EventList` are alike.
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

/// What a watch tells, which is `WatchEvent` of `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.
#[derive(Debug)]
pub(crate) enum Change<K> {
    /// It is new, or was changed.
    Applied(Box<K>),
    Deleted(Box<K>),
    /// Nothing, but what comes next comes after this object's version.
    Bookmark(Box<K>),
    Error(Box<Status>),
    /// Of a kind that is not known here.
    Other,
}

/// Reads what one frame of a watch tells.
pub(crate) fn change<K: Message>(frame: &[u8]) -> Result<Change<K>, Malformed> {
    // The object is in an envelope, in a `RawExtension`, in the event.
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
