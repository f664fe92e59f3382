//! The wire format of protobuf: fields with numbers, without their meaning.
//!
//! See <https://protobuf.dev/programming-guides/encoding/>. Kubernetes uses no groups, and Runway reads no
//! fixed-width fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff;
use std::collections::BTreeMap;

/// The input is not valid protobuf, or not the expected message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The input ends in the middle of a field.
    #[error("the message ends in the middle of a field")]
    Truncated,
    /// A varint has more than 64 bits.
    #[error("a varint has more than 64 bits")]
    VarintTooLong,
    /// A key has an invalid field number or an invalid wire type.
    #[error("invalid field key {key:#x}")]
    InvalidKey {
        /// The key, which contains the field number and the wire type.
        key: u64,
    },
    /// The value does not have the wire type of the field, or is out of range.
    #[error("a field has the wrong type")]
    TypeMismatch,
    /// The input does not begin with the magic bytes of Kubernetes.
    #[error("the message does not begin with `k8s`")]
    MissingMagic,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    /// A string, a message, or a packed list.
    Bytes(&'a [u8]),
    /// A value of four or eight bytes, which Runway does not use.
    Fixed,
}

/// An iterator over the fields of a message. It ends after the first error.
pub(crate) struct FieldReader<'a>(&'a [u8]);

impl<'a> FieldReader<'a> {
    pub(crate) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn read_field(&mut self) -> Result<(u32, Value<'a>), DecodeError> {
        let key = self.read_varint()?;
        let field = u32::try_from(key >> 3).ok().filter(|field| *field > 0);
        let field = field.ok_or(DecodeError::InvalidKey { key })?;
        let value = match key & 7 {
            0 => Value::Varint(self.read_varint()?),
            1 => self.read_bytes(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.read_varint()?).map_err(|_| DecodeError::Truncated)?;
                Value::Bytes(self.read_bytes(length)?)
            }
            5 => self.read_bytes(4).map(|_| Value::Fixed)?,
            _ => return Err(DecodeError::InvalidKey { key }),
        };
        Ok((field, value))
    }

    /// Reads a varint: seven bits per byte, lowest bits first. The eighth bit is set if more bytes follow.
    fn read_varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    fn read_bytes(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for FieldReader<'a> {
    type Item = Result<(u32, Value<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read_field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// A message that is decoded field by field. Unknown fields are ignored.
pub(crate) trait Message: Default {
    /// Sets a field. For a repeated field, adds a value.
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError>;

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut message = Self::default();
        for field in FieldReader::new(bytes) {
            let (field, value) = field?;
            message.merge_field(field, value)?;
        }
        Ok(message)
    }
}

/// Implements [`Message`] for types. Each line has the number of a field, and an expression that merges its
/// value. The names of the message and of the value come first.
macro_rules! messages {
    (
        |$message:ident, $value:ident|
        $($(#[$attribute:meta])* $name:ident { $($field:literal => $merge:expr,)+ })+
    ) => {$(
        $(#[$attribute])*
        impl Message for $name {
            fn merge_field(&mut self, field: u32, $value: Value<'_>) -> Result<(), DecodeError> {
                let $message = self;
                match field {
                    $($field => $merge,)+
                    _ => {}
                }
                Ok(())
            }
        }
    )+};
}

pub(super) use messages;

impl<'a> Value<'a> {
    pub(crate) const fn bytes(self) -> Result<&'a [u8], DecodeError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed => Err(DecodeError::TypeMismatch),
        }
    }

    pub(crate) fn message<T: Message>(self) -> Result<T, DecodeError> {
        T::decode(self.bytes()?)
    }

    /// Returns the value as a string. Replaces invalid UTF-8 with U+FFFD, as Go's JSON encoder does.
    pub(crate) fn string(self) -> Result<String, DecodeError> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// Returns the value as a string. `None` for an empty string, which JSON omits.
    pub(crate) fn non_empty_string(self) -> Result<Option<String>, DecodeError> {
        self.string().map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    /// Returns the value as an integer. A negative number always takes 64 bits, even in a 32-bit field.
    pub(crate) const fn int64(self) -> Result<i64, DecodeError> {
        match self {
            Self::Varint(number) => Ok(number.cast_signed()),
            Self::Bytes(_) | Self::Fixed => Err(DecodeError::TypeMismatch),
        }
    }

    pub(crate) fn int32(self) -> Result<i32, DecodeError> {
        i32::try_from(self.int64()?).map_err(|_| DecodeError::TypeMismatch)
    }

    /// Returns the value as an integer. `None` for zero, which JSON omits.
    pub(crate) fn non_zero_int32(self) -> Result<Option<i32>, DecodeError> {
        self.int32().map(|number| Some(number).filter(|number| *number != 0))
    }

    pub(crate) fn boolean(self) -> Result<bool, DecodeError> {
        Ok(self.int64()? != 0)
    }

    pub(crate) fn time(self) -> Result<Option<Time>, DecodeError> {
        Ok(self.message::<ProtobufTime>()?.timestamp()?.map(Time))
    }

    pub(crate) fn micro_time(self) -> Result<Option<MicroTime>, DecodeError> {
        Ok(self.message::<ProtobufTime>()?.timestamp()?.map(MicroTime))
    }

    /// Adds an entry to a map. An entry is a message with a key and a value.
    pub(crate) fn merge_map_entry<T>(
        self,
        map: &mut Option<BTreeMap<String, T>>,
        decode: impl Fn(Value<'_>) -> Result<T, DecodeError>,
    ) -> Result<(), DecodeError> {
        let (mut key, mut value) = (String::new(), None);
        for field in FieldReader::new(self.bytes()?) {
            match field? {
                (1, name) => key = name.string()?,
                (2, found) => value = Some(decode(found)?),
                _ => {}
            }
        }
        // An entry without a value has an empty value.
        let value = value.map_or_else(|| decode(Value::Bytes(&[])), Ok)?;
        map.get_or_insert_default().insert(key, value);
        Ok(())
    }
}

/// The messages `Time` and `MicroTime` of `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.
#[derive(Default)]
struct ProtobufTime {
    seconds: i64,
    nanos: i32,
}

impl ProtobufTime {
    /// Returns `None` if the number of seconds is not positive. Go's zero time, which stands for an absent
    /// time, has a negative number.
    fn timestamp(&self) -> Result<Option<jiff::Timestamp>, DecodeError> {
        if self.seconds <= 0 {
            return Ok(None);
        }
        jiff::Timestamp::new(self.seconds, self.nanos).map(Some).map_err(|_| DecodeError::TypeMismatch)
    }
}

messages! { |this, value|
    ProtobufTime {
        1 => this.seconds = value.int64()?,
        2 => this.nanos = value.int32()?,
    }
}
