//! The JSON Schema of a table of fields.

use super::field::Field;
use crate::policy::Policy;
use crate::shape::{described, object_of};
use serde_json::{Map, Value as Json, json};

/// Returns the schema of a mapping with these fields under a policy.
pub(super) fn fields<S, N>(fields: &[Field<S, N>], policy: &Policy) -> Json {
    let schema = |field: &Field<S, N>| or_null(described((field.schema)(policy), field.doc));
    let properties: Map<_, _> = fields.iter().map(|field| (field.name.to_owned(), schema(field))).collect();
    let required: Vec<_> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    object_of(properties.into(), &required)
}

/// A field with the value `null` is the same as a missing one.
fn or_null(mut schema: Json) -> Json {
    if let Some(Json::Array(values)) = schema.get_mut("enum") {
        values.push(Json::Null);
    }
    match schema.get_mut("type") {
        Some(Json::Array(types)) => types.push("null".into()),
        Some(one) => *one = json!([one, "null"]),
        None => {}
    }
    schema
}
