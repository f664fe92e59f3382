//! Sections of a policy: mappings whose fields are declared in a table.

use crate::decoder::{Decoder, Fields, Path};
use crate::document::Node;
use crate::schema_parts::{object, with_description};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value as Json};

/// One field of the section `S`.
pub(super) struct Field<S: 'static> {
    /// The field's name in a policy.
    pub(super) name: &'static str,
    /// The description in the JSON Schema. Empty if there is none.
    pub(super) doc: &'static str,
    /// The message for a policy without the field, if the field is required.
    pub(super) required: Option<&'static str>,
    /// The JSON Schema of the value, without the description.
    pub(super) schema: fn() -> Json,
    /// Parses the value and stores it in the section.
    pub(super) read: fn(&mut Decoder, &Node, &Path<'_>, &mut S),
    /// Returns the canonical form of the value. `None` omits the field from the canonical policy and from the
    /// digest.
    pub(super) write: fn(&S) -> Option<Canonical>,
}

/// Parser, JSON Schema and canonical form of one type.
pub(super) struct Format<T: 'static> {
    pub(super) read: fn(&mut Decoder, &Node, &Path<'_>) -> Option<T>,
    pub(super) schema: fn() -> Json,
    pub(super) write: fn(&T) -> Canonical,
}

/// Declares a field by its name, its format, its presence in the canonical policy, and its description. A
/// required field also has a message for policies without it. The presence is one of:
///
/// - `always`: The field is in every canonical policy. Only the fields of the first version use this mark,
///   because digests of such policies exist.
/// - `if_set`: The field is present if its value is not the default of its type. A new field with this mark
///   changes no existing digest.
/// - `optional`: The same for an `Option` of the format's type.
macro_rules! field {
    ($name:ident, $format:expr, $when:ident, $doc:expr) => {
        field!(@new $name, $format, $when, $doc, None)
    };
    ($name:ident, $format:expr, $when:ident, $doc:expr, required: $message:expr) => {
        field!(@new $name, $format, $when, $doc, Some($message))
    };
    (@new $name:ident, $format:expr, $when:ident, $doc:expr, $required:expr) => {
        $crate::policy::section::Field {
            name: stringify!($name),
            doc: $doc,
            required: $required,
            schema: || ($format.schema)(),
            read: |decoder, node, path, section| {
                if let Some(value) = ($format.read)(decoder, node, path) {
                    section.$name = field!(@value $when, value);
                }
            },
            write: |section| field!(@write $when, section.$name, $format),
        }
    };
    (@value optional, $value:ident) => { Some($value) };
    (@value $when:ident, $value:ident) => { $value };
    (@write always, $value:expr, $format:expr) => { Some(($format.write)(&$value)) };
    (@write if_set, $value:expr, $format:expr) => {
        ($value != Default::default()).then(|| ($format.write)(&$value))
    };
    (@write optional, $value:expr, $format:expr) => { $value.as_ref().map($format.write) };
}

pub(super) use field;

/// Parses a mapping into `section`, which holds the values for missing fields.
pub(super) fn read_section<S>(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
    fields: &[Field<S>],
    mut section: S,
) -> Option<S> {
    let present = decoder.fields(node, path, &field_names(fields).collect::<Vec<_>>())?;
    read_fields(decoder, &present, path, fields, &mut section);
    Some(section)
}

pub(super) fn read_fields<S>(
    decoder: &mut Decoder,
    present: &Fields<'_, '_>,
    path: &Path<'_>,
    fields: &[Field<S>],
    section: &mut S,
) {
    for field in fields {
        match (present.get(field.name), field.required) {
            (Some((node, path)), _) => (field.read)(decoder, node, &path, section),
            (None, Some(message)) => decoder.missing_field(&path.join(field.name), message),
            (None, None) => {}
        }
    }
}

pub(super) fn field_names<S>(fields: &[Field<S>]) -> impl Iterator<Item = &'static str> {
    fields.iter().map(|field| field.name)
}

/// Returns the JSON Schema of a section.
pub(super) fn section_schema<S>(fields: &[Field<S>]) -> Json {
    let required: Vec<_> =
        fields.iter().filter(|field| field.required.is_some()).map(|field| field.name).collect();
    object(schema_properties(fields).into(), &required)
}

pub(super) fn schema_properties<S>(fields: &[Field<S>]) -> Map<String, Json> {
    let schema = |field: &Field<S>| match field.doc {
        "" => (field.schema)(),
        doc => with_description((field.schema)(), doc),
    };
    fields.iter().map(|field| (field.name.to_owned(), schema(field))).collect()
}

/// Returns the canonical form of a section.
pub(super) fn write_section<S>(section: &S, fields: &[Field<S>]) -> Canonical {
    Canonical::Map(canonical_entries(section, fields).collect())
}

pub(super) fn canonical_entries<S>(
    section: &S,
    fields: &[Field<S>],
) -> impl Iterator<Item = (String, Canonical)> {
    fields.iter().filter_map(|field| Some((field.name.to_owned(), (field.write)(section)?)))
}

/// The canonical form of a value. Mappings keep the order of their fields.
pub(super) enum Canonical {
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Canonical>),
    Map(Vec<(String, Canonical)>),
}

impl Serialize for Canonical {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => serializer.serialize_u64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => serializer.collect_seq(values),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}
