//! Serializes the normalised form of a job.

use super::field::Field;
use super::fields::{JOB, RESOURCES};
use crate::job::{Job, Resources};
use serde::ser::{Serialize, SerializeMap, Serializer};

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self, JOB, serializer)
    }
}

impl Serialize for Resources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self, RESOURCES, serializer)
    }
}

fn serialize<T, N, S: Serializer>(
    normal: &N,
    fields: &[Field<T, N>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    for is_last in [false, true] {
        for form in fields.iter().filter_map(|field| field.normalised.as_ref()) {
            if form.is_last == is_last
                && let Some(value) = (form.value)(normal)
            {
                map.serialize_entry(form.key, &value)?;
            }
        }
    }
    map.end()
}
