//! Container image references, completed as in Docker.
//!
//! The grammar is `[host[:port]/]path[:tag][@digest]`. It comes from the distribution project
//! (`reference/reference.go`). Docker, containerd and Kubernetes use it as well.

use crate::text::serde_as_text;
use std::{fmt, str::FromStr};

/// A completed reference to an image: `busybox` becomes `docker.io/library/busybox:latest`.
///
/// ```
/// use runway_core::image::ImageRef;
///
/// let image: ImageRef = "busybox".parse()?;
/// assert_eq!(image.repository(), "docker.io/library/busybox");
/// assert_eq!(image.to_string(), "docker.io/library/busybox:latest");
/// # Ok::<(), runway_core::image::ImageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    text: String,
    repository_len: usize,
    has_digest: bool,
}

/// The reason why a string is not a valid image reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The string is empty.
    #[error("is empty")]
    Empty,
    /// The host is not a host name with an optional port.
    #[error("has a host that is not a host name with an optional port")]
    BadHost,
    /// A segment of the path is empty, or contains an invalid character or separator.
    #[error(
        "has a path that is not made of lower-case letters, digits and single `.`, `_`, `__` or `-` between them"
    )]
    BadPath,
    /// The tag is invalid.
    #[error("has a tag that is not 1 to 128 letters, digits, `_`, `.` and `-`")]
    BadTag,
    /// The digest is invalid.
    #[error(
        "has a digest that is not `sha256:` with 64, or `sha512:` with 128, lower-case hexadecimal digits"
    )]
    BadDigest,
    /// The host and path together are too long.
    #[error("has more than 255 characters before its tag")]
    TooLong,
}

/// Maximum number of characters in the host and path together (`RepositoryNameTotalLengthMax` in the
/// grammar).
pub(super) const MAX_REPOSITORY_LENGTH: usize = 255;

impl ImageRef {
    /// Returns the host and path, without the tag and digest.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.text.get(..self.repository_len).unwrap_or(&self.text)
    }

    /// Returns `true` if the reference contains a digest.
    #[must_use]
    pub const fn has_digest(&self) -> bool {
        self.has_digest
    }

    /// Returns the completed reference.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.is_empty() {
            return Err(ImageError::Empty);
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag. An earlier colon starts a port.
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name.get(last..).and_then(|part| part.find(':')) {
            Some(colon) => {
                let (name, tag) = name.split_at_checked(last + colon).ok_or(ImageError::BadTag)?;
                (name, tag.strip_prefix(':'))
            }
            None => (name, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (Some(first), rest),
            _ => (None, name),
        };
        if host.is_some_and(|host| !is_valid_host(host)) {
            return Err(ImageError::BadHost);
        }
        // Docker interprets 64 hexadecimal digits as the id of a local image, so such a path is rejected.
        let is_id = host.is_none() && path.len() == 64 && path.bytes().all(|b| b.is_ascii_hexdigit());
        if is_id || !path.split('/').all(is_valid_segment) {
            return Err(ImageError::BadPath);
        }
        if tag.is_some_and(|tag| !is_valid_tag(tag)) {
            return Err(ImageError::BadTag);
        }
        if digest.is_some_and(|digest| !is_valid_digest(digest)) {
            return Err(ImageError::BadDigest);
        }
        let mut complete = String::with_capacity(text.len() + 32);
        let host = match host {
            None | Some("index.docker.io") => "docker.io",
            Some(host) => host,
        };
        complete.push_str(host);
        complete.push('/');
        if host == "docker.io" && !path.contains('/') {
            complete.push_str("library/");
        }
        complete.push_str(path);
        let repository_len = complete.len();
        if repository_len > MAX_REPOSITORY_LENGTH {
            return Err(ImageError::TooLong);
        }
        match (tag, digest) {
            (None, None) => complete.push_str(":latest"),
            (tag, digest) => {
                for (mark, part) in [(':', tag), ('@', digest)] {
                    if let Some(part) = part {
                        complete.push(mark);
                        complete.push_str(part);
                    }
                }
            }
        }
        Ok(Self { text: complete, repository_len, has_digest: digest.is_some() })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

serde_as_text!(ImageRef);

/// Returns `true` if the first part of a name is a host and not a path segment. This is Docker's rule.
pub(super) fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_valid_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let port_is_good =
        port.is_none_or(|p| !p.is_empty() && p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit()));
    let label = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let name_is_good = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(ipv6) => ipv6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(label),
    };
    port_is_good && name_is_good
}

/// Checks a path segment: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_valid_segment(segment: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = (0u8, 0usize);
    let mut previous_is_word = false;
    for b in segment.bytes() {
        if is_word(b) {
            let good = match separator {
                (_, 0) => true,
                (b'.', n) => n == 1,
                (b'_', n) => n <= 2,
                _ => true,
            };
            if !good {
                return false;
            }
            separator = (0, 0);
            previous_is_word = true;
        } else if matches!(b, b'.' | b'_' | b'-') && (previous_is_word || separator.0 == b) {
            separator = (b, separator.1 + 1);
            previous_is_word = false;
        } else {
            return false;
        }
    }
    previous_is_word
}

fn is_valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_valid_digest(digest: &str) -> bool {
    let hex = match digest.split_once(':') {
        Some(("sha256", hex)) if hex.len() == 64 => hex,
        Some(("sha512", hex)) if hex.len() == 128 => hex,
        _ => return false,
    };
    hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (input, complete) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned()),
            ("busybox:1.36", "docker.io/library/busybox:1.36".to_owned()),
            ("user/app", "docker.io/user/app:latest".to_owned()),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest".to_owned()),
            ("docker.io/busybox", "docker.io/library/busybox:latest".to_owned()),
            ("localhost/app", "localhost/app:latest".to_owned()),
            ("localhost:5000/app:2", "localhost:5000/app:2".to_owned()),
            ("registry.internal/a/b__c.d-e--f", "registry.internal/a/b__c.d-e--f:latest".to_owned()),
            ("[fd00::1]:5000/app", "[fd00::1]:5000/app:latest".to_owned()),
            (&format!("gcr.io/x@{digest}"), format!("gcr.io/x@{digest}")),
            (&format!("gcr.io/x:1@{digest}"), format!("gcr.io/x:1@{digest}")),
        ] {
            let image: ImageRef = input.parse().unwrap_or_else(|e| panic!("{input}: {e}"));
            assert_eq!(image.as_str(), complete);
            assert_eq!(image.as_str().parse(), Ok(image), "completing twice changes nothing");
        }
    }

    #[test]
    fn invalid_references_are_rejected() {
        use ImageError::*;
        for (text, error) in [
            ("", Empty),
            ("Busybox", BadPath),
            ("a b", BadPath),
            ("a//b", BadPath),
            ("/a", BadPath),
            ("a/", BadPath),
            ("a..b", BadPath),
            ("a___b", BadPath),
            ("a._b", BadPath),
            ("-a", BadPath),
            ("a-", BadPath),
            ("registry.internal/Embed", BadPath),
            ("-x.io/a", BadHost),
            ("x.io:port/a", BadHost),
            ("busybox:", BadTag),
            ("busybox:.a", BadTag),
            ("a:b:c", BadTag),
            ("busybox@sha256:abc", BadDigest),
            ("busybox@", BadDigest),
        ] {
            assert_eq!(text.parse::<ImageRef>(), Err(error), "{text}");
        }
        let name = |n: usize| format!("a.io/{}", "b".repeat(n - 5));
        assert!(name(255).parse::<ImageRef>().is_ok());
        assert_eq!(name(256).parse::<ImageRef>(), Err(TooLong));
        assert!(format!("busybox:{}", "1".repeat(128)).parse::<ImageRef>().is_ok());
        assert_eq!(format!("busybox:{}", "1".repeat(129)).parse::<ImageRef>(), Err(BadTag));
    }
}
