//! Idempotency keys.

use std::fmt;
use std::str::FromStr;

/// A key that a client generates, so that a repeated request creates no second job.
///
/// The header follows the IETF draft `draft-ietf-httpapi-idempotency-key-header`. A key has 1 to 255 visible
/// ASCII characters. It may contain a secret, so the `Debug` output shows only its length.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyKey(Box<str>);

/// The text is not a valid idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {} visible ASCII characters", IdempotencyKey::MAX_LENGTH)]
pub struct KeyError;

impl IdempotencyKey {
    /// The maximum number of characters.
    pub const MAX_LENGTH: usize = 255;

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) { Ok(Self(text.into())) } else { Err(KeyError) }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({} characters)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_parses_if_1_to_255_visible_ascii_characters() {
        for good in ["a", "6f9619ff-8b86-d011", &"k".repeat(255)] {
            assert_eq!(good.parse::<IdempotencyKey>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "é", "a\n", &"k".repeat(256)] {
            assert_eq!(bad.parse::<IdempotencyKey>(), Err(KeyError), "{bad}");
        }
        assert!(!format!("{:?}", "token".parse::<IdempotencyKey>()).contains("token"));
    }
}
