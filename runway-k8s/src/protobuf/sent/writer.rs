//! Serializes values as protobuf, with tables of field numbers.
//!
//! See <https://protobuf.dev/programming-guides/encoding/>. A message is preceded by its length, which is
//! known only after the message was encoded. The encoder then moves the message by the size of the length.

use super::{Fields, Kind, Place, at};
use serde::ser::{Error, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};
use std::fmt::Display;

/// The reason that an object cannot be encoded as protobuf.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritten {
    /// The field is in no table.
    #[error("unknown field `{0}`")]
    Unknown(&'static str),
    /// The value does not have the type in the table.
    #[error("the field `{0}` has a value of the wrong type")]
    OtherType(&'static str),
    /// The value cannot be serialized.
    #[error("{0}")]
    Other(String),
}

impl Error for Unwritten {
    fn custom<T: Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }
}

/// Encodes a field. `name` is for errors.
pub(super) fn put<T: Serialize + ?Sized>(
    bytes: &mut Vec<u8>,
    place: Place,
    name: &'static str,
    value: &T,
) -> Result<(), Unwritten> {
    value.serialize(Writer { bytes, place, name })
}

/// Begins a message. Returns its start for [`end_message`].
pub(super) fn begin(bytes: &mut Vec<u8>, number: u8) -> usize {
    put_varint(bytes, u64::from(number) << 3 | 2);
    bytes.len()
}

/// Ends a message: inserts its length before it.
pub(super) fn end(bytes: &mut Vec<u8>, start: usize) {
    let end = bytes.len();
    put_varint(bytes, length(end.saturating_sub(start)));
    let taken = bytes.len().saturating_sub(end);
    if let Some(message) = bytes.get_mut(start..) {
        message.rotate_right(taken);
    }
}

pub(super) fn put_text(bytes: &mut Vec<u8>, number: u8, text: &str) {
    put_varint(bytes, u64::from(number) << 3 | 2);
    put_varint(bytes, length(text.len()));
    bytes.extend_from_slice(text.as_bytes());
}

fn put_number(bytes: &mut Vec<u8>, number: u8, value: i64) {
    put_varint(bytes, u64::from(number) << 3);
    put_varint(bytes, value.cast_unsigned());
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Seven bits per byte, lowest bits first. The eighth bit says that more bytes follow.
fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Serializes the value of one field.
struct Writer<'a> {
    bytes: &'a mut Vec<u8>,
    place: Place,
    name: &'static str,
}

impl<'a> Writer<'a> {
    const fn other_type<T>(&self) -> Result<T, Unwritten> {
        Err(Unwritten::OtherType(self.name))
    }

    fn number(self, value: impl TryInto<i64>) -> Result<(), Unwritten> {
        match (self.place.kind, value.try_into()) {
            (Kind::Number, Ok(value)) => self.scalar(|bytes, number| put_number(bytes, number, value)),
            _ => self.other_type(),
        }
    }

    fn scalar(self, write: impl FnOnce(&mut Vec<u8>, u8)) -> Result<(), Unwritten> {
        let Self { bytes, place, .. } = self;
        match place.within {
            None => write(bytes, place.number),
            Some(number) => {
                let outer = begin(bytes, place.number);
                write(bytes, number);
                end(bytes, outer);
            }
        }
        Ok(())
    }
}

impl<'a> Serializer for Writer<'a> {
    type Ok = ();
    type Error = Unwritten;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Impossible<(), Unwritten>;
    type SerializeTupleStruct = Impossible<(), Unwritten>;
    type SerializeTupleVariant = Impossible<(), Unwritten>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Members<'a>;
    type SerializeStructVariant = Impossible<(), Unwritten>;

    fn serialize_bool(self, value: bool) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_i8(self, value: i8) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_i16(self, value: i16) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_i32(self, value: i32) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_i64(self, value: i64) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_u16(self, value: u16) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_u32(self, value: u32) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_u64(self, value: u64) -> Result<(), Unwritten> {
        self.number(value)
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_char(self, _: char) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_str(self, text: &str) -> Result<(), Unwritten> {
        match self.place.kind {
            Kind::Text => self.scalar(|bytes, number| put_text(bytes, number, text)),
            Kind::Wrapped => self.scalar(|bytes, number| {
                let start = begin(bytes, number);
                put_text(bytes, 1, text);
                end(bytes, start);
            }),
            Kind::Envelope => Ok(()),
            Kind::Number | Kind::Message(_) | Kind::Map(_) => self.other_type(),
        }
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_none(self) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritten> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unwritten> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unwritten> {
        self.other_type()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'a>, Unwritten> {
        Ok(Items(self))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unwritten> {
        self.other_type()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unwritten> {
        self.other_type()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unwritten> {
        self.other_type()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, Unwritten> {
        match self.place.kind {
            Kind::Map(kind) => Ok(Entries { start: 0, values: at(2, *kind), map: self }),
            _ => self.other_type(),
        }
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'a>, Unwritten> {
        let Kind::Message(fields) = self.place.kind else { return self.other_type() };
        let Self { bytes, place: Place { number, within, .. }, .. } = self;
        let outer = begin(bytes, number);
        let inner = within.map(|number| begin(bytes, number));
        Ok(Members { bytes, fields, outer, inner })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unwritten> {
        self.other_type()
    }
}

/// Serializes a list as a repeated field.
struct Items<'a>(Writer<'a>);

impl SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = Unwritten;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), Unwritten> {
        put(self.0.bytes, self.0.place, self.0.name, item)
    }

    fn end(self) -> Result<(), Unwritten> {
        Ok(())
    }
}

/// Serializes a map. Each entry is a message with a key and a value.
struct Entries<'a> {
    map: Writer<'a>,
    values: Place,
    /// The start of the entry whose value is serialized next.
    start: usize,
}

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = Unwritten;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritten> {
        let Writer { bytes, place, name } = &mut self.map;
        self.start = begin(bytes, place.number);
        put(bytes, at(1, Kind::Text), name, key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritten> {
        put(self.map.bytes, self.values, self.map.name, value)?;
        end(self.map.bytes, self.start);
        Ok(())
    }

    fn end(self) -> Result<(), Unwritten> {
        Ok(())
    }
}

/// Serializes the fields of a message, which can be nested in an outer one.
struct Members<'a> {
    bytes: &'a mut Vec<u8>,
    fields: Fields,
    outer: usize,
    inner: Option<usize>,
}

impl SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = Unwritten;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unwritten> {
        let known = self.fields.iter().find(|(known, _)| *known == name);
        let (_, place) = known.ok_or(Unwritten::Unknown(name))?;
        put(self.bytes, *place, name, value)
    }

    fn end(self) -> Result<(), Unwritten> {
        for start in self.inner.into_iter().chain([self.outer]) {
            end(self.bytes, start);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::written::{Field, entry, message, nested, number, text};
    use std::collections::BTreeMap;

    const INNER: Fields = &[("text", at(1, Kind::Text))];

    const FIELDS: Fields = &[
        ("text", at(1, Kind::Text)),
        ("number", at(2, Kind::Number)),
        ("wrapped", at(3, Kind::Wrapped)),
        ("map", at(4, Kind::Map(&Kind::Wrapped))),
        ("message", at(5, Kind::Message(INNER))),
        ("above", at(6, Kind::Envelope)),
        ("within", super::super::within(7, 3, Kind::Message(INNER))),
        ("text_within", super::super::within(8, 2, Kind::Text)),
    ];

    /// Returns the encoding of one field, without the start of its message.
    fn member(name: &'static str, value: &impl Serialize) -> Result<Vec<u8>, Unwritten> {
        let mut bytes = Vec::new();
        let mut members = Members { bytes: &mut bytes, fields: FIELDS, outer: 0, inner: None };
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
    fn each_kind_is_written_as_a_server_would() {
        let of = |number, field: Field| Ok(message(&[(number, field)]));
        assert_eq!(member("text", &"one"), of(1, text("one")));
        let list = message(&[(1, text("one")), (1, text("")), (1, text("two"))]);
        assert_eq!(member("text", &["one", "", "two"].as_slice()), Ok(list));
        assert_eq!(member("text", &Some("one")), of(1, text("one")));
        assert_eq!(member("number", &true), of(2, number(1)));
        for value in [0, 1, 127, 128, -1, i64::MAX, i64::MIN] {
            assert_eq!(member("number", &value), of(2, number(value)));
        }
        assert_eq!(member("wrapped", &"1Gi"), of(3, nested(&[(1, text("1Gi"))])));
        let map = BTreeMap::from([("cpu", "2"), ("memory", "4Gi")]);
        let entries = [("cpu", "2"), ("memory", "4Gi")]
            .map(|(key, value)| (4, entry(key, nested(&[(1, text(value))]))));
        assert_eq!(member("map", &map), Ok(message(&entries)));
        assert_eq!(member("message", &inner("one")), of(5, nested(&[(1, text("one"))])));
        assert_eq!(member("above", &"batch/v1"), Ok(Vec::new()));
        assert_eq!(member("within", &inner("one")), of(7, nested(&[(3, nested(&[(1, text("one"))]))])));
        assert_eq!(member("text_within", &"one"), of(8, nested(&[(2, text("one"))])));
    }

    /// The length of a message takes one, two or three bytes.
    #[test]
    fn a_message_is_moved_by_as_much_as_its_length_takes() {
        for length in [0, 1, 124, 125, 126, 127, 128, 16_379, 16_380, 16_381, 16_384, 100_000] {
            let long = "x".repeat(length);
            assert_eq!(member("message", &inner(&long)), Ok(message(&[(5, nested(&[(1, text(&long))]))])));
        }
    }

    #[test]
    fn what_does_not_fit_its_table_is_told_of() {
        let other = |told, name| assert_eq!(told, Err(Unwritten::OtherType(name)));
        other(member("number", &"1"), "number");
        other(member("number", &1.5), "number");
        other(member("number", &u64::MAX), "number");
        other(member("number", &inner("")), "number");
        other(member("number", &None::<i64>), "number");
        other(member("text", &1), "text");
        other(member("text", &true), "text");
        other(member("text", &BTreeMap::from([("a", "b")])), "text");
        other(member("map", &"a"), "map");
        other(member("map", &BTreeMap::from([(1, "b")])), "map");
        other(member("map", &BTreeMap::from([("a", 1)])), "map");
        other(member("message", &"a"), "message");
        assert_eq!(member("another", &"a"), Err(Unwritten::Unknown("another")));
    }
}
