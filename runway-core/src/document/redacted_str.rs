//! Strings of a document. Their `Debug` output hides the text.

use smol_str::SmolStr;
use std::fmt;
use std::ops::Deref;

/// A string of a document. Up to 23 bytes are stored inline, without an allocation. Most strings of a
/// document are that short.
///
/// The `Debug` output shows only the length, because the string can be a secret.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedactedStr(SmolStr);

impl RedactedStr {
    /// Returns the string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Deref for RedactedStr {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for RedactedStr {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for RedactedStr {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&str> for RedactedStr {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for RedactedStr {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for RedactedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for RedactedStr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedactedStr({} bytes)", self.len())
    }
}
