//! A scalar as the author of a job wrote it. Messages quote the text of the scalar. The check parses the text
//! in the unit of the field.

use crate::document::integer_to_json;
use serde_json::Value as Json;
use std::fmt;

/// A scalar as written in a document: a number or a string.
///
/// ```
/// use runway_core::spec::RawScalar;
///
/// assert_eq!(RawScalar::from("500m").as_str(), "500m");
/// assert_eq!(RawScalar::from(2), RawScalar::from("2").as_number());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawScalar {
    text: String,
    is_number: bool,
}

impl RawScalar {
    /// Returns the literal text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the same scalar as a number without quotes.
    #[must_use]
    pub fn as_number(mut self) -> Self {
        self.is_number = true;
        self
    }

    /// Returns a JSON number if the scalar is a decimal whole number without quotes that fits in 64 bits.
    /// Otherwise, returns the literal text as a string.
    #[must_use]
    pub fn to_json(&self) -> Json {
        if self.is_number { integer_to_json(&self.text) } else { Json::String(self.text.clone()) }
    }
}

impl From<&str> for RawScalar {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), is_number: false }
    }
}

impl From<String> for RawScalar {
    fn from(text: String) -> Self {
        Self { text, is_number: false }
    }
}

impl From<u64> for RawScalar {
    fn from(number: u64) -> Self {
        Self { text: number.to_string(), is_number: true }
    }
}

impl fmt::Display for RawScalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl serde::Serialize for RawScalar {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for RawScalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(text) => Ok(text.into()),
            Json::Number(number) => Ok(Self { text: number.to_string(), is_number: true }),
            _ => Err(serde::de::Error::custom("expected a number or a string")),
        }
    }
}
