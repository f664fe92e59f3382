//! Builds the JSON Schema of a field table.

use super::field::Field;
use crate::policy::Policy;
use crate::schema_parts::{object, with_description};
use serde_json::{Map, Value as Json, json};

/// Returns the JSON Schema of a mapping with these fields.
pub(super) fn object_schema<S, N>(fields: &[Field<S, N>], policy: &Policy) -> Json {
    let schema = |field: &Field<S, N>| nullable(with_description((field.schema)(policy), field.doc));
    let properties: Map<_, _> = fields.iter().map(|field| (field.name.to_owned(), schema(field))).collect();
    let required: Vec<_> = fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    object(properties.into(), &required)
}

/// Makes a schema accept `null`. A field with the value `null` counts as missing.
fn nullable(mut schema: Json) -> Json {
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
