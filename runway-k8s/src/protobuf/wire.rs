//! The wire format of protobuf: fields with numbers, without their meaning.
//!
//! See <https://protobuf.dev/programming-guides/encoding/>. Kubernetes uses no groups, and Runway reads no
//! fixed-width fields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff;
use std::collections::BTreeMap;

/// The input is not valid protobuf, or not the expected message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The input ends in the middle of a field.
    #[error("the message ends in the middle of a field")]
    Cut,
    /// A varint has more than 64 bits.
    #[error("a varint has more than 64 bits")]
    TooLong,
    /// A key has no valid field number or wire type.
    #[error("invalid field key {key:#x}")]
    NoField {
        /// The key, which contains the field number and the wire type.
        key: u64,
    },
    /// The value has another wire type, or is out of range.
    #[error("a field has the wrong type")]
    OtherType,
    /// The input does not begin with the magic bytes of Kubernetes.
    #[error("the message does not begin with `k8s`")]
    NoMagic,
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Number(u64),
    /// A string, a message, or a packed list.
    Bytes(&'a [u8]),
    /// A value of four or eight bytes, which Runway does not use.
    Fixed,
}

/// An iterator over the fields of a message.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = self.number()?;
        let field = u32::try_from(key >> 3).ok().filter(|field| *field > 0);
        let field = field.ok_or(Malformed::NoField { key })?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| Malformed::Cut)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed::NoField { key }),
        };
        Ok((field, value))
    }

    /// Seven bits per byte, lowest bits first. The eighth bit says that more bytes follow.
    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed::Cut)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed::TooLong)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// A message that is decoded field by field. Unknown fields are ignored.
pub(crate) trait Message: Default {
    /// Sets a field. For a repeated field, adds a value.
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed>;

    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut message = Self::default();
        for field in Fields::of(bytes) {
            let (field, value) = field?;
            message.set(field, value)?;
        }
        Ok(message)
    }
}

impl<'a> Value<'a> {
    pub(crate) const fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Err(Malformed::OtherType),
        }
    }

    pub(crate) fn message<T: Message>(self) -> Result<T, Malformed> {
        T::read(self.bytes()?)
    }

    /// Replaces invalid UTF-8, as JSON does.
    pub(crate) fn text(self) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    /// Returns `None` for an empty string, which JSON omits.
    pub(crate) fn some_text(self) -> Result<Option<String>, Malformed> {
        self.text().map(|text| Some(text).filter(|text| !text.is_empty()))
    }

    /// A negative number always takes 64 bits, even in a 32-bit field.
    pub(crate) const fn long(self) -> Result<i64, Malformed> {
        match self {
            Self::Number(number) => Ok(number.cast_signed()),
            Self::Bytes(_) | Self::Fixed => Err(Malformed::OtherType),
        }
    }

    pub(crate) fn int(self) -> Result<i32, Malformed> {
        i32::try_from(self.long()?).map_err(|_| Malformed::OtherType)
    }

    /// Returns `None` for zero, which JSON omits.
    pub(crate) fn some_int(self) -> Result<Option<i32>, Malformed> {
        self.int().map(|number| Some(number).filter(|number| *number != 0))
    }

    pub(crate) fn flag(self) -> Result<bool, Malformed> {
        Ok(self.long()? != 0)
    }

    pub(crate) fn time(self) -> Result<Option<Time>, Malformed> {
        Ok(self.message::<Instant>()?.timestamp()?.map(Time))
    }

    pub(crate) fn micro_time(self) -> Result<Option<MicroTime>, Malformed> {
        Ok(self.message::<Instant>()?.timestamp()?.map(MicroTime))
    }

    /// Adds an entry to a map. An entry is a message with a key and a value.
    pub(crate) fn entry<T>(
        self,
        map: &mut Option<BTreeMap<String, T>>,
        read: impl Fn(Value<'_>) -> Result<T, Malformed>,
    ) -> Result<(), Malformed> {
        let (mut key, mut value) = (String::new(), None);
        for field in Fields::of(self.bytes()?) {
            match field? {
                (1, name) => key = name.text()?,
                (2, found) => value = Some(read(found)?),
                _ => {}
            }
        }
        // An entry without a value has an empty value.
        let value = value.map_or_else(|| read(Value::Bytes(&[])), Ok)?;
        map.get_or_insert_default().insert(key, value);
        Ok(())
    }
}

/// `Time` and `MicroTime` in `apimachinery/pkg/apis/meta/v1/generated.proto`.
#[derive(Default)]
struct Instant {
    seconds: i64,
    nanos: i32,
}

impl Instant {
    /// Returns `None` for Go's zero time and for the Unix epoch, as the API server does.
    fn timestamp(&self) -> Result<Option<jiff::Timestamp>, Malformed> {
        if self.seconds <= 0 {
            return Ok(None);
        }
        jiff::Timestamp::new(self.seconds, self.nanos).map(Some).map_err(|_| Malformed::OtherType)
    }
}

impl Message for Instant {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.seconds = value.long()?,
            2 => self.nanos = value.int()?,
            _ => {}
        }
        Ok(())
    }
}
