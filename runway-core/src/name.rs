//! Validated names of jobs, tenants, classes, Kubernetes objects and environment variables.

use crate::digest::first_128_bits;
use crate::text::serde_as_text;
use std::borrow::Borrow;
use std::{fmt, str::FromStr, sync::Arc};

/// The reason why a string is not a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string is empty.
    #[error("is empty")]
    Empty,
    /// The string has too many characters.
    #[error("has more than {limit} characters")]
    TooLong {
        /// The maximum number of characters.
        limit: usize,
    },
    /// The string contains an invalid character.
    #[error("may hold only {allowed}")]
    BadCharacter {
        /// The characters that are valid.
        allowed: &'static str,
    },
    /// The string starts or ends with a character that is valid only between others.
    #[error("must start and end with a letter or digit")]
    BadEnd,
    /// The string starts with a character that is valid only later.
    #[error("must not start with a digit or with `..`, nor be `.`")]
    BadStart,
}

const LABEL_CHARACTERS: &str = "lower-case letters, digits and `-`";

/// Checks that a string is a DNS label (RFC 1123, section 2.1) of at most `limit` characters, in lower case.
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

/// Checks that a string is a class name: a DNS label that may also contain `_` between other characters.
fn check_class_name(text: &str, limit: usize) -> Result<(), NameError> {
    match check_label(&text.replace('_', "-"), limit) {
        Err(NameError::BadCharacter { .. }) => {
            Err(NameError::BadCharacter { allowed: "lower-case letters, digits, `-` and `_`" })
        }
        result => result,
    }
}

/// Returns the valid label that is closest to an invalid one: in lower case, with one `-` in place of each
/// sequence of invalid characters, and cut to `limit` characters. Returns `None` if no valid character is
/// left.
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
            /// The maximum number of characters.
            pub const MAX_LENGTH: usize = $limit;

            /// Checks the string without storing it.
            pub(crate) fn check(text: &str) -> Result<(), NameError> {
                $check(text, Self::MAX_LENGTH)
            }

            /// Returns the name as a string.
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
    /// The name of a job: a DNS label of at most 50 characters. With `-` and a job id it is a label of at
    /// most 63.
    JobName, 50, check_label
}

label! {
    /// The team that submits jobs and pays for them: a DNS label of at most 63 characters. It is a valid
    /// Kubernetes label value.
    Tenant, 63, check_label
}

label! {
    /// The name of a class or GPU type: a DNS label of at most 63 characters that may contain `_` between
    /// other characters. It is a valid Kubernetes label value.
    ClassName, 63, check_class_name
}

label! {
    /// The name of a Kubernetes object: a DNS label of at most 63 characters.
    DnsLabel, 63, check_label
}

/// The id of a job: 12 characters from `a`–`z` and `0`–`9`.
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
    /// Hashes the bytes without a length, because all ids have the same length.
    fn hash<H: std::hash::Hasher>(&self, hasher: &mut H) {
        hasher.write(&self.0);
    }
}

impl JobId {
    /// The number of characters.
    pub const LENGTH: usize = 12;

    /// Creates an id from 128 random bits, which the caller provides.
    ///
    /// There are 36^12 ids, about 2^62. For uniform bits, their distribution deviates from uniform by at most
    /// one part in 2^65.
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

    /// Returns the id of the job that a tenant submits with an idempotency key. The same tenant and key
    /// always give the same id.
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
        // A tenant contains no slash, so different pairs give different strings.
        Self::from_random(first_128_bits(format!("runway.dev/job/{tenant}/{key}").as_bytes()))
    }

    /// Returns the id as a string.
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

/// Maximum number of characters in the name of a variable, as for the keys of a Kubernetes Secret.
pub(crate) const MAX_ENV_NAME: usize = 253;

/// Checks the name of an environment variable by the rule that every Kubernetes version accepts
/// (`IsEnvVarName` in `k8s.io/apimachinery/pkg/util/validation`). The rule is `[-._a-zA-Z][-._a-zA-Z0-9]*`,
/// but not `.`, and without a leading `..`.
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

/// Returns `true` if the name looks like an assignment, such as `TOKEN:x` or `TOKEN=x`. Its tail may be a
/// secret.
pub(crate) fn looks_like_assignment(name: &str) -> bool {
    name_part(name) != name
}

/// Returns the part of a name before the first `=`, `:` or space.
pub(crate) fn name_part(name: &str) -> &str {
    name.split(['=', ':', ' ']).next().unwrap_or("")
}

/// The reserved names of variables, as messages show them. With the first two, a container could select GPUs
/// and bypass the device plugin.
pub(crate) const RESERVED_ENV_NAMES: &str = "`NVIDIA_*`, `CUDA_VISIBLE_DEVICES` and `RUNWAY_*`";

/// Returns `true` if only Runway may set a variable of this name.
pub(crate) fn is_reserved_env_name(text: &str) -> bool {
    text.starts_with("NVIDIA_") || text.starts_with("RUNWAY_") || text == "CUDA_VISIBLE_DEVICES"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_longer_than_the_limit_are_rejected() {
        assert!("a".repeat(50).parse::<JobName>().is_ok());
        assert_eq!("a".repeat(51).parse::<JobName>(), Err(NameError::TooLong { limit: 50 }));
        assert!("a".repeat(63).parse::<Tenant>().is_ok());
        assert_eq!("a".repeat(64).parse::<Tenant>(), Err(NameError::TooLong { limit: 63 }));
        assert!(check_env_name(&"a".repeat(253)).is_ok());
        assert!(check_env_name(&"a".repeat(254)).is_err());
    }

    #[test]
    fn nearest_label_is_valid() {
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
    fn id_has_12_base36_characters() {
        assert_eq!(JobId::from_random(0).to_string(), "000000000000");
        assert_eq!(JobId::from_random(35).to_string(), "z00000000000");
        assert!(JobId::from_random(u128::MAX).to_string().parse::<JobId>().is_ok());
        for text in ["", "4d5c9fa91db", "4d5c9fa91db45", "4d5c9fa91dB4"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }

    #[test]
    fn env_names_follow_kubernetes_rules() {
        for good in ["A", "_x", "spring.datasource.url", "-x", "a-B.c_1", ".x"] {
            assert_eq!(check_env_name(good), Ok(()), "{good}");
        }
        for bad in ["", "1A", "A=B", "a b", ".", "..", "..x", "é"] {
            assert!(check_env_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn gpu_selection_variables_are_reserved() {
        for name in ["NVIDIA_VISIBLE_DEVICES", "NVIDIA_", "CUDA_VISIBLE_DEVICES", "RUNWAY_X"] {
            assert!(is_reserved_env_name(name), "{name}");
        }
        for name in ["CUDA_LAUNCH_BLOCKING", "NVIDIA", "MY_RUNWAY_"] {
            assert!(!is_reserved_env_name(name), "{name}");
        }
    }
}
