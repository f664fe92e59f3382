//! Decodes the messages of `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.

use super::wire::{DecodeError, FieldReader, Message, Value, messages};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, OwnerReference, Time};
use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};

messages! { |this, value|
    ObjectMeta {
        1 => this.name = value.non_empty_string()?,
        3 => this.namespace = value.non_empty_string()?,
        5 => this.uid = value.non_empty_string()?,
        6 => this.resource_version = value.non_empty_string()?,
        8 => this.creation_timestamp = value.time()?,
        9 => this.deletion_timestamp = value.time()?,
        10 => this.deletion_grace_period_seconds = Some(value.int64()?),
        11 => value.merge_map_entry(&mut this.labels, |value| value.string())?,
        12 => value.merge_map_entry(&mut this.annotations, |value| value.string())?,
        13 => this.owner_references.get_or_insert_default().push(value.message()?),
    }

    /// Runway does not need the name of the owner, because its uid identifies it.
    OwnerReference {
        1 => this.kind = value.string()?,
        4 => this.uid = value.string()?,
        6 => this.controller = Some(value.boolean()?),
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

messages! { |this, value|
    ListMeta {
        2 => this.resource_version = value.non_empty_string()?,
        3 => this.continue_ = value.non_empty_string()?,
    }

    Status {
        3 => this.message = value.string()?,
        4 => this.reason = value.string()?,
        5 => this.details = Some(value.message::<Details>()?.into()),
        6 => this.code = u16::try_from(value.int32()?).unwrap_or_default(),
    }
}

/// The details of a [`Status`]. The type of `kube` has no default value.
#[derive(Default)]
struct Details {
    name: String,
    kind: String,
    causes: Vec<Cause>,
    retry_after_seconds: u32,
}

/// One cause in the details of a [`Status`].
#[derive(Default)]
struct Cause {
    reason: String,
    message: String,
    field: String,
}

messages! { |this, value|
    Details {
        1 => this.name = value.string()?,
        3 => this.kind = value.string()?,
        4 => this.causes.push(value.message()?),
        5 => this.retry_after_seconds = u32::try_from(value.int32()?).unwrap_or_default(),
    }

    Cause {
        1 => this.reason = value.string()?,
        2 => this.message = value.string()?,
        3 => this.field = value.string()?,
    }
}

impl From<Details> for StatusDetails {
    fn from(details: Details) -> Self {
        let Details { name, kind, causes, retry_after_seconds } = details;
        let causes =
            causes.into_iter().map(|Cause { reason, message, field }| StatusCause { reason, message, field });
        Self {
            name,
            group: String::new(),
            kind,
            uid: String::new(),
            causes: causes.collect(),
            retry_after_seconds,
        }
    }
}
