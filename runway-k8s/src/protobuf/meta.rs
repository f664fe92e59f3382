//! Decodes the messages of `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.

use super::wire::{DecodeError, FieldReader, Message, Value};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, OwnerReference, Time};
use kube::core::Status;

impl Message for ObjectMeta {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.name = value.non_empty_string()?,
            3 => self.namespace = value.non_empty_string()?,
            5 => self.uid = value.non_empty_string()?,
            6 => self.resource_version = value.non_empty_string()?,
            8 => self.creation_timestamp = value.time()?,
            9 => self.deletion_timestamp = value.time()?,
            10 => self.deletion_grace_period_seconds = Some(value.int64()?),
            11 => value.merge_map_entry(&mut self.labels, |value| value.string())?,
            12 => value.merge_map_entry(&mut self.annotations, |value| value.string())?,
            13 => self.owner_references.get_or_insert_default().push(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

/// Runway does not need the name of the owner, because its uid identifies it.
impl Message for OwnerReference {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.kind = value.string()?,
            4 => self.uid = value.string()?,
            6 => self.controller = Some(value.boolean()?),
            _ => {}
        }
        Ok(())
    }
}

/// The fields that Runway reads from the response to a create call. Runway takes all other fields from its
/// request.
#[derive(Debug, Default)]
pub(crate) struct CreateResponse {
    pub(crate) uid: Option<String>,
    pub(crate) created_at: Option<Time>,
}

impl Message for CreateResponse {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field != 1 {
            return Ok(());
        }
        for field in FieldReader::new(value.bytes()?) {
            match field? {
                (5, uid) => self.uid = uid.non_empty_string()?,
                (8, time) => self.created_at = time.time()?,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Message for ListMeta {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            2 => self.resource_version = value.non_empty_string()?,
            3 => self.continue_ = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for Status {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            3 => self.message = value.string()?,
            4 => self.reason = value.string()?,
            6 => self.code = u16::try_from(value.int32()?).unwrap_or_default(),
            _ => {}
        }
        Ok(())
    }
}
