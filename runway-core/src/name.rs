//! Names: of jobs, tenants, classes and variables. What has one of these types is valid.

use crate::digest::first_bits;
use crate::text::serde_as_text;
use std::borrow::Borrow;
use std::{fmt, str::FromStr, sync::Arc};

/// Why a text is not a name of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no text.
    #[error("is empty")]
    Empty,
    /// There are too many characters.
    #[error("has more than {limit} characters")]
    TooLong {
        /// How many there may be.
        limit: usize,
    },
    /// A character stands in it that may not.
    #[error("may hold only {allowed}")]
    BadCharacter {
        /// Which characters there may be.
        allowed: &'static str,
    },
    /// It starts or ends with a character that may stand only inside.
    #[error("must start and end with a letter or digit")]
    BadEnd,
    /// It starts with a character that may stand only further on.
    #[error("must not start with a digit or with `..`, nor be `.`")]
    BadStart,
}

const LABEL_CHARACTERS: &str = "lower-case letters, digits and `-`";

/// Checks the form of a DNS label (RFC 1123, section 2.1) of at most `limit` characters.
fn check_label(text: &str, limit: usize) -> Result<(), NameError> {
    let bytes = text.as_bytes();
    if bytes.is_empty() {
        return Err(NameError::Empty);
    }
    if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-') {
        return Err(NameError::BadCharacter { allowed: LABEL_CHARACTERS });
    }
    if bytes.len() > limit {
        return Err(NameError::TooLong { limit });
    }
    if bytes.first() == Some(&b'-') || bytes.last() == Some(&b'-') {
        return Err(NameError::BadEnd);
    }
    Ok(())
}

/// Checks the form of a class's name: that of a label which may also have `_` inside.
fn check_class_name(text: &str, limit: usize) -> Result<(), NameError> {
    match check_label(&text.replace('_', "-"), limit) {
        Err(NameError::BadCharacter { .. }) => {
            Err(NameError::BadCharacter { allowed: "lower-case letters, digits, `-` and `_`" })
        }
        result => result,
    }
}

/// The label nearest to a text that is none: lower-case, with `-` for what may not stand there.
pub(crate) fn nearest_label(text: &str, limit: usize) -> Option<String> {
    let mut label = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if label.len() == limit {
            break;
        }
        let c = if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
        if !(c == '-' && (label.is_empty() || label.ends_with('-'))) {
            label.push(c);
        }
    }
    let label = label.trim_end_matches('-');
    (!label.is_empty()).then(|| label.to_owned())
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident, $limit:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The most characters it may have.
            pub const MAX_LENGTH: usize = $limit;

            /// Checks the form without keeping the text.
            pub(crate) fn check(text: &str) -> Result<(), NameError> {
                $check(text, Self::MAX_LENGTH)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        serde_as_text!($name);
    };
}

label! {
    /// The name of a job: a DNS label of at most 50 characters, so that with `-` and an id it is one of 63.
    JobName, 50, check_label
}

label! {
    /// Who submits: a DNS label of at most 63 characters, which can be a Kubernetes label as it is.
    Tenant, 63, check_label
}

label! {
    /// The name of a class or of a GPU type: as a DNS label of at most 63 characters, with `_` allowed inside, so that
    /// it can be the value of a Kubernetes label.
    ClassName, 63, check_class_name
}

label! {
    /// The name of something in Kubernetes: a DNS label of at most 63 characters.
    DnsLabel, 63, check_label
}

/// The id of a job: 12 characters of `a`–`z` and `0`–`9`.
///
/// ```
/// use runway_core::JobId;
///
/// let id: JobId = "4d5c9fa91db4".parse()?;
/// assert_eq!(id.to_string(), "4d5c9fa91db4");
/// assert!("4D5C9FA91DB4".parse::<JobId>().is_err());
/// # Ok::<(), runway_core::name::NameError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobId([u8; Self::LENGTH]);

impl std::hash::Hash for JobId {
    /// The bytes alone: all ids have the same length.
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        hasher.write(&self.0);
    }
}

impl JobId {
    /// The number of its characters.
    pub const LENGTH: usize = 12;

    /// Makes an id of 128 random bits; callers bring the randomness.
    ///
    /// 36^12 ids fit in 62 bits, so the ids of uniform bits are uniform but for one part in 2^65.
    #[must_use]
    pub fn from_random(mut bits: u128) -> Self {
        let mut id = [b'0'; Self::LENGTH];
        for character in &mut id {
            let digit = u8::try_from(bits % 36).unwrap_or(0);
            bits /= 36;
            *character = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        }
        Self(id)
    }

    /// The id of the job that a tenant submits under an idempotency key: always the same one.
    ///
    /// ```
    /// use runway_core::JobId;
    ///
    /// let tenant = "search".parse()?;
    /// assert_eq!(JobId::from_key(&tenant, "nightly-7"), JobId::from_key(&tenant, "nightly-7"));
    /// assert_ne!(JobId::from_key(&tenant, "nightly-7"), JobId::from_key(&tenant, "nightly-8"));
    /// # Ok::<(), runway_core::name::NameError>(())
    /// ```
    #[must_use]
    pub fn from_key(tenant: &Tenant, key: &str) -> Self {
        // A tenant holds no slash, so that no two pairs make the same text.
        Self::from_random(first_bits(format!("runway.dev/job/{tenant}/{key}").as_bytes()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for JobId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bytes = text.as_bytes();
        if !bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            return Err(NameError::BadCharacter {
                allowed: "lower-case letters and digits, exactly 12 of them",
            });
        }
        bytes.try_into().map(Self).map_err(|_| match bytes.len() {
            0 => NameError::Empty,
            n if n > Self::LENGTH => NameError::TooLong { limit: Self::LENGTH },
            _ => NameError::BadCharacter { allowed: "lower-case letters and digits, exactly 12 of them" },
        })
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({self})")
    }
}

serde_as_text!(JobId);

/// The most characters the name of a variable may have: that of a key in a Kubernetes Secret.
pub(crate) const MAX_ENV_NAME: usize = 253;

/// Checks the name of an environment variable by the rule that every Kubernetes version accepts
/// (`IsEnvVarName` in `k8s.io/apimachinery/pkg/util/validation`): `[-._a-zA-Z][-._a-zA-Z0-9]*`, not `.`, not `..` first.
pub(crate) fn check_env_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.')) {
        return Err(NameError::BadCharacter { allowed: "letters, digits, `_`, `-` and `.`" });
    }
    if text.len() > MAX_ENV_NAME {
        return Err(NameError::TooLong { limit: MAX_ENV_NAME });
    }
    if text == "." || text.starts_with("..") || text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(NameError::BadStart);
    }
    Ok(())
}

/// Whether what should be the name of a variable is more likely a name with its value: `TOKEN:x`, `TOKEN=x`.
pub(crate) fn is_glued(name: &str) -> bool {
    before_glue(name) != name
}

/// The part of a name to which no value can be glued.
pub(crate) fn before_glue(name: &str) -> &str {
    name.split(['=', ':', ' ']).next().unwrap_or("")
}

/// The reserved names, as they are told to people: with these a pod could name GPUs round the device plugin.
pub(crate) const RESERVED_ENV_NAMES: &str = "`NVIDIA_*`, `CUDA_VISIBLE_DEVICES` and `RUNWAY_*`";

/// Whether a variable of this name is Runway's alone to set.
pub(crate) fn is_reserved_env_name(text: &str) -> bool {
    text.starts_with("NVIDIA_") || text.starts_with("RUNWAY_") || text == "CUDA_VISIBLE_DEVICES"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_its_length_at_most() {
        assert!("a".repeat(50).parse::<JobName>().is_ok());
        assert_eq!("a".repeat(51).parse::<JobName>(), Err(NameError::TooLong { limit: 50 }));
        assert!("a".repeat(63).parse::<Tenant>().is_ok());
        assert_eq!("a".repeat(64).parse::<Tenant>(), Err(NameError::TooLong { limit: 63 }));
        assert!(check_env_name(&"a".repeat(253)).is_ok());
        assert!(check_env_name(&"a".repeat(254)).is_err());
    }

    #[test]
    fn the_nearest_label_is_a_label() {
        for (text, label) in [
            ("Embed_Docs", Some("embed-docs")),
            ("--x--", Some("x")),
            ("a  b", Some("a-b")),
            ("ÄÖÜ", None),
            ("", None),
        ] {
            assert_eq!(nearest_label(text, 50).as_deref(), label, "{text}");
        }
        let long = format!("{}-b", "a".repeat(49));
        assert_eq!(nearest_label(&long, 50), Some("a".repeat(49)));
    }

    #[test]
    fn an_id_is_twelve_characters_of_base_36() {
        assert_eq!(JobId::from_random(0).to_string(), "000000000000");
        assert_eq!(JobId::from_random(35).to_string(), "z00000000000");
        assert!(JobId::from_random(u128::MAX).to_string().parse::<JobId>().is_ok());
        for text in ["", "4d5c9fa91db", "4d5c9fa91db45", "4d5c9fa91dB4"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }

    #[test]
    fn variables_are_named_as_kubernetes_allows() {
        for good in ["A", "_x", "spring.datasource.url", "-x", "a-B.c_1", ".x"] {
            assert_eq!(check_env_name(good), Ok(()), "{good}");
        }
        for bad in ["", "1A", "A=B", "a b", ".", "..", "..x", "é"] {
            assert!(check_env_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_chooses_gpus_is_reserved() {
        for name in ["NVIDIA_VISIBLE_DEVICES", "NVIDIA_", "CUDA_VISIBLE_DEVICES", "RUNWAY_X"] {
            assert!(is_reserved_env_name(name), "{name}");
        }
        for name in ["CUDA_LAUNCH_BLOCKING", "NVIDIA", "MY_RUNWAY_"] {
            assert!(!is_reserved_env_name(name), "{name}");
        }
    }
}
