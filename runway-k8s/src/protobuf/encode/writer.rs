//! Serializes values as protobuf, with tables of field numbers.
//!
//! See <https://protobuf.dev/programming-guides/encoding/>. A message is preceded by its length, which is
//! known only after the message was encoded. The encoder then moves the message by the size of the length.

use super::{FieldTable, FieldTag, FieldType, field_tag};
use serde::ser::{Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use std::fmt::Display;

/// The reason that an object cannot be encoded as protobuf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    /// The field is in no table.
    #[error("unknown field `{0}`")]
    UnknownField(&'static str),
    /// The value does not have the type in the table.
    #[error("the field `{0}` has a value of the wrong type")]
    TypeMismatch(&'static str),
    /// The value cannot be serialized.
    #[error("{0}")]
    Other(String),
}

impl Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }
}

/// Encodes a field. Errors contain `name`.
pub(super) fn put_field<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    tag: FieldTag,
    name: &'static str,
    value: &T,
) -> Result<(), EncodeError> {
    value.serialize(FieldSerializer { bytes, tag, name })
}

/// Begins a message. Returns its start for [`end_message`].
pub(super) fn begin_message(bytes: &mut Vec<u8>, number: u8) -> usize {
    put_varint(bytes, u64::from(number) << 3 | 2);
    bytes.len()
}

/// Ends a message: inserts its length before it.
pub(super) fn end_message(bytes: &mut Vec<u8>, start: usize) {
    let end = bytes.len();
    put_varint(bytes, length(end.saturating_sub(start)));
    let length_size = bytes.len().saturating_sub(end);
    if let Some(message) = bytes.get_mut(start..) {
        message.rotate_right(length_size);
    }
}

pub(super) fn put_string(bytes: &mut Vec<u8>, number: u8, text: &str) {
    put_varint(bytes, u64::from(number) << 3 | 2);
    put_varint(bytes, length(text.len()));
    bytes.extend_from_slice(text.as_bytes());
}

fn put_int(bytes: &mut Vec<u8>, number: u8, value: i64) {
    put_varint(bytes, u64::from(number) << 3);
    put_varint(bytes, value.cast_unsigned());
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Writes a varint: seven bits per byte, lowest bits first. The eighth bit is set if more bytes follow.
fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Serializes the value of one field.
struct FieldSerializer<'a> {
    bytes: &'a mut Vec<u8>,
    tag: FieldTag,
    name: &'static str,
}

impl<'a> FieldSerializer<'a> {
    const fn type_mismatch<T>(&self) -> Result<T, EncodeError> {
        Err(EncodeError::TypeMismatch(self.name))
    }

    fn serialize_int(self, value: impl TryInto<i64>) -> Result<(), EncodeError> {
        match (self.tag.field_type, value.try_into()) {
            (FieldType::Varint, Ok(value)) => {
                self.write_scalar(|bytes, number| put_int(bytes, number, value))
            }
            _ => self.type_mismatch(),
        }
    }

    fn write_scalar(self, write: impl FnOnce(&mut Vec<u8>, u8)) -> Result<(), EncodeError> {
        let Self { bytes, tag, .. } = self;
        match tag.inner_number {
            None => write(bytes, tag.number),
            Some(number) => {
                let outer = begin_message(bytes, tag.number);
                write(bytes, number);
                end_message(bytes, outer);
            }
        }
        Ok(())
    }
}

impl<'a> Serializer for FieldSerializer<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = SeqSerializer<'a>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = MapSerializer<'a>;
    type SerializeStruct = StructSerializer<'a>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), EncodeError> {
        self.serialize_int(value)
    }

    fn serialize_f32(self, _: f32) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_f64(self, _: f64) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_char(self, _: char) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_str(self, text: &str) -> Result<(), EncodeError> {
        match self.tag.field_type {
            FieldType::String => self.write_scalar(|bytes, number| put_string(bytes, number, text)),
            FieldType::Wrapped => self.write_scalar(|bytes, number| {
                let start = begin_message(bytes, number);
                put_string(bytes, 1, text);
                end_message(bytes, start);
            }),
            FieldType::Envelope => Ok(()),
            FieldType::Varint | FieldType::Message(_) | FieldType::Map(_) => self.type_mismatch(),
        }
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), EncodeError> {
        self.type_mismatch()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<SeqSerializer<'a>, EncodeError> {
        Ok(SeqSerializer(self))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, EncodeError> {
        self.type_mismatch()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, EncodeError> {
        self.type_mismatch()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, EncodeError> {
        self.type_mismatch()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapSerializer<'a>, EncodeError> {
        match self.tag.field_type {
            FieldType::Map(kind) => {
                Ok(MapSerializer { entry_start: 0, value_tag: field_tag(2, *kind), map: self })
            }
            _ => self.type_mismatch(),
        }
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<StructSerializer<'a>, EncodeError> {
        let FieldType::Message(fields) = self.tag.field_type else { return self.type_mismatch() };
        let Self { bytes, tag: FieldTag { number, inner_number, .. }, .. } = self;
        let outer_start = begin_message(bytes, number);
        let inner_start = inner_number.map(|number| begin_message(bytes, number));
        Ok(StructSerializer { bytes, fields, outer_start, inner_start })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, EncodeError> {
        self.type_mismatch()
    }
}

/// Serializes a list as a repeated field.
struct SeqSerializer<'a>(FieldSerializer<'a>);

impl SerializeSeq for SeqSerializer<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), EncodeError> {
        put_field(self.0.bytes, self.0.tag, self.0.name, item)
    }

    fn end(self) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Serializes a map. Each entry is a message with a key and a value.
struct MapSerializer<'a> {
    map: FieldSerializer<'a>,
    value_tag: FieldTag,
    /// The start of the entry whose value is serialized next.
    entry_start: usize,
}

impl SerializeMap for MapSerializer<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        let FieldSerializer { bytes, tag, name } = &mut self.map;
        self.entry_start = begin_message(bytes, tag.number);
        put_field(bytes, field_tag(1, FieldType::String), name, key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        put_field(self.map.bytes, self.value_tag, self.map.name, value)?;
        end_message(self.map.bytes, self.entry_start);
        Ok(())
    }

    fn end(self) -> Result<(), EncodeError> {
        Ok(())
    }
}

/// Serializes the fields of a message. The message can be nested in an outer message.
struct StructSerializer<'a> {
    bytes: &'a mut Vec<u8>,
    fields: FieldTable,
    outer_start: usize,
    inner_start: Option<usize>,
}

impl SerializeStruct for StructSerializer<'_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        let known = self.fields.iter().find(|(known, _)| *known == name);
        let (_, tag) = known.ok_or(EncodeError::UnknownField(name))?;
        put_field(self.bytes, *tag, name, value)
    }

    fn end(self) -> Result<(), EncodeError> {
        for start in self.inner_start.into_iter().chain([self.outer_start]) {
            end_message(self.bytes, start);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::test_encode::{TestField, encode_message, int, map_entry, nested, string};
    use std::collections::BTreeMap;

    const INNER: FieldTable = &[("text", field_tag(1, FieldType::String))];

    const FIELDS: FieldTable = &[
        ("text", field_tag(1, FieldType::String)),
        ("number", field_tag(2, FieldType::Varint)),
        ("wrapped", field_tag(3, FieldType::Wrapped)),
        ("map", field_tag(4, FieldType::Map(&FieldType::Wrapped))),
        ("message", field_tag(5, FieldType::Message(INNER))),
        ("above", field_tag(6, FieldType::Envelope)),
        ("within", super::super::nested_field_tag(7, 3, FieldType::Message(INNER))),
        ("text_within", super::super::nested_field_tag(8, 2, FieldType::String)),
    ];

    /// Returns the encoding of one field of [`FIELDS`], without the key and the length of the whole message.
    fn encode_field(name: &'static str, value: &impl Serialize) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = Vec::new();
        let mut members =
            StructSerializer { bytes: &mut bytes, fields: FIELDS, outer_start: 0, inner_start: None };
        members.serialize_field(name, value)?;
        Ok(bytes)
    }

    #[derive(serde::Serialize)]
    struct Inner {
        text: String,
    }

    fn inner(text: &str) -> Inner {
        Inner { text: text.to_owned() }
    }

    #[test]
    fn fields_of_each_type_encode_as_protobuf() {
        let of = |number, field: TestField| Ok(encode_message(&[(number, field)]));
        assert_eq!(encode_field("text", &"one"), of(1, string("one")));
        let list = encode_message(&[(1, string("one")), (1, string("")), (1, string("two"))]);
        assert_eq!(encode_field("text", &["one", "", "two"].as_slice()), Ok(list));
        assert_eq!(encode_field("text", &Some("one")), of(1, string("one")));
        assert_eq!(encode_field("number", &true), of(2, int(1)));
        for value in [0, 1, 127, 128, -1, i64::MAX, i64::MIN] {
            assert_eq!(encode_field("number", &value), of(2, int(value)));
        }
        assert_eq!(encode_field("wrapped", &"1Gi"), of(3, nested(&[(1, string("1Gi"))])));
        let map = BTreeMap::from([("cpu", "2"), ("memory", "4Gi")]);
        let entries = [("cpu", "2"), ("memory", "4Gi")]
            .map(|(key, value)| (4, map_entry(key, nested(&[(1, string(value))]))));
        assert_eq!(encode_field("map", &map), Ok(encode_message(&entries)));
        assert_eq!(encode_field("message", &inner("one")), of(5, nested(&[(1, string("one"))])));
        assert_eq!(encode_field("above", &"batch/v1"), Ok(Vec::new()));
        assert_eq!(
            encode_field("within", &inner("one")),
            of(7, nested(&[(3, nested(&[(1, string("one"))]))]))
        );
        assert_eq!(encode_field("text_within", &"one"), of(8, nested(&[(2, string("one"))])));
    }

    /// Tests messages whose length is encoded in one, two or three bytes.
    #[test]
    fn messages_of_every_length_size_encode() {
        for length in [0, 1, 124, 125, 126, 127, 128, 16_379, 16_380, 16_381, 16_384, 100_000] {
            let long = "x".repeat(length);
            assert_eq!(
                encode_field("message", &inner(&long)),
                Ok(encode_message(&[(5, nested(&[(1, string(&long))]))]))
            );
        }
    }

    #[test]
    fn encode_fails_for_a_value_of_another_type() {
        let assert_mismatch = |result, name| assert_eq!(result, Err(EncodeError::TypeMismatch(name)));
        assert_mismatch(encode_field("number", &"1"), "number");
        assert_mismatch(encode_field("number", &1.5), "number");
        assert_mismatch(encode_field("number", &u64::MAX), "number");
        assert_mismatch(encode_field("number", &inner("")), "number");
        assert_mismatch(encode_field("number", &None::<i64>), "number");
        assert_mismatch(encode_field("text", &1), "text");
        assert_mismatch(encode_field("text", &true), "text");
        assert_mismatch(encode_field("text", &BTreeMap::from([("a", "b")])), "text");
        assert_mismatch(encode_field("map", &"a"), "map");
        assert_mismatch(encode_field("map", &BTreeMap::from([(1, "b")])), "map");
        assert_mismatch(encode_field("map", &BTreeMap::from([("a", 1)])), "map");
        assert_mismatch(encode_field("message", &"a"), "message");
        assert_eq!(encode_field("another", &"a"), Err(EncodeError::UnknownField("another")));
    }
}
