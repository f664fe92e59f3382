//! Decodes the messages of `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`, and of `pkg/runtime`.

use super::wire::{Fields, Malformed, Message, Value};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, Time};
use kube::core::Status;

impl Message for ObjectMeta {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.name = value.some_text()?,
            3 => self.namespace = value.some_text()?,
            5 => self.uid = value.some_text()?,
            6 => self.resource_version = value.some_text()?,
            8 => self.creation_timestamp = value.time()?,
            9 => self.deletion_timestamp = value.time()?,
            10 => self.deletion_grace_period_seconds = Some(value.long()?),
            11 => value.entry(&mut self.labels, |value| value.text())?,
            12 => value.entry(&mut self.annotations, |value| value.text())?,
            _ => {}
        }
        Ok(())
    }
}

/// The fields that Runway reads from the response to a create call. The other fields equal those of the
/// request.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) uid: Option<String>,
    pub(crate) created: Option<Time>,
}

impl Message for Made {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field != 1 {
            return Ok(());
        }
        for field in Fields::of(value.bytes()?) {
            match field? {
                (5, uid) => self.uid = uid.some_text()?,
                (8, time) => self.created = time.time()?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Message for ListMeta {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            2 => self.resource_version = value.some_text()?,
            3 => self.continue_ = value.some_text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for Status {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            3 => self.message = value.text()?,
            4 => self.reason = value.text()?,
            6 => self.code = u16::try_from(value.int()?).unwrap_or_default(),
            _ => {}
        }
        Ok(())
    }
}
