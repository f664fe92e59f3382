//! SHA-256 digests of canonical JSON.

use crate::text::serde_as_text;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest. Its text form is `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

/// The text is not `sha256:` followed by 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not `sha256:` followed by 64 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// Returns the digest of a value's canonical form: compact JSON with sorted keys.
    #[must_use]
    pub fn of_json(value: &Json) -> Self {
        let mut text = Vec::new();
        write_sorted(value, &mut text);
        Self(Sha256::digest(text).into())
    }
}

/// Returns the first 128 bits of the SHA-256 digest of these bytes.
pub(crate) fn first_128_bits(bytes: &[u8]) -> u128 {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.first_chunk().copied().map_or(0, u128::from_be_bytes)
}

fn write_sorted(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            let write = |(key, value): &(&String, &Json), out: &mut Vec<u8>| {
                write_scalar(key, out);
                out.push(b':');
                write_sorted(value, out);
            };
            write_separated(&entries, [b'{', b'}'], out, write);
        }
        Json::Array(items) => write_separated(items, [b'[', b']'], out, write_sorted),
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(scalar: &impl serde::Serialize, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(out, scalar);
}

fn write_separated<T>(
    items: &[T],
    [open, close]: [u8; 2],
    out: &mut Vec<u8>,
    write: impl Fn(&T, &mut Vec<u8>),
) {
    out.push(open);
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each job has several digests in its annotations, so this avoids one formatting call per byte.
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        f.write_str("sha256:")?;
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").ok_or(DigestError)?;
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(DigestError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| DigestError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| DigestError)?;
        }
        Ok(Self(bytes))
    }
}

serde_as_text!(Digest);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn digest_ignores_key_order() {
        let digest = Digest::of_json(&json!({"a": 1, "b": 2}));
        assert_eq!(digest, Digest::of_json(&json!({"b": 2, "a": 1})));
        // The expected digest is the output of `printf '{"a":1,"b":2}' | sha256sum`.
        assert_eq!(
            digest.to_string(),
            "sha256:43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777"
        );
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
}
