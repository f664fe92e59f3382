//! Names of container images, completed as Docker does it, and the patterns that allow them.
//!
//! The grammar is that of the distribution project (`reference/reference.go`), which Docker, containerd and Kubernetes
//! share: `[host[:port]/]path[:tag][@digest]`.

use std::{fmt, str::FromStr};

/// A reference to an image, completed: `busybox` is `docker.io/library/busybox:latest`.
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
    repository: usize,
    digest: bool,
}

/// Why a text is not a reference to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There is no text.
    #[error("is empty")]
    Empty,
    /// The host is not a host name with an optional port.
    #[error("has a host that is not a host name with an optional port")]
    BadHost,
    /// A segment of the path is empty or has characters that may not stand there.
    #[error(
        "has a path that is not made of lower-case letters, digits and single `.`, `_`, `__` or `-` between them"
    )]
    BadPath,
    /// The tag is not one.
    #[error("has a tag that is not 1 to 128 letters, digits, `_`, `.` and `-`")]
    BadTag,
    /// The digest is not one.
    #[error(
        "has a digest that is not `sha256:` with 64, or `sha512:` with 128, lower-case hexadecimal digits"
    )]
    BadDigest,
    /// Host and path together are too long.
    #[error("has more than 255 characters before its tag")]
    TooLong,
}

/// The most characters of host and path together (`RepositoryNameTotalLengthMax` of the grammar).
const MAX_REPOSITORY: usize = 255;

impl ImageRef {
    /// Host and path, without tag and digest.
    #[must_use]
    pub fn repository(&self) -> &str {
        self.text.get(..self.repository).unwrap_or(&self.text)
    }

    /// Whether the image is named by digest.
    #[must_use]
    pub const fn has_digest(&self) -> bool {
        self.digest
    }

    /// The completed reference.
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
        // A colon behind the last slash begins a tag; one before it, a port.
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
        if host.is_some_and(|host| !valid_host(host)) {
            return Err(ImageError::BadHost);
        }
        if !path.split('/').all(valid_segment) {
            return Err(ImageError::BadPath);
        }
        if tag.is_some_and(|tag| !valid_tag(tag)) {
            return Err(ImageError::BadTag);
        }
        if digest.is_some_and(|digest| !valid_digest(digest)) {
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
        let repository = complete.len();
        if repository > MAX_REPOSITORY {
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
        Ok(Self { text: complete, repository, digest: digest.is_some() })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl serde::Serialize for ImageRef {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for ImageRef {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether the first part of a name is a host rather than a part of the path, by Docker's rule.
fn is_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn valid_host(host: &str) -> bool {
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

/// A segment of the path: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn valid_segment(segment: &str) -> bool {
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

fn valid_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn valid_digest(digest: &str) -> bool {
    let hex = match digest.split_once(':') {
        Some(("sha256", hex)) if hex.len() == 64 => hex,
        Some(("sha512", hex)) if hex.len() == 128 => hex,
        _ => return false,
    };
    hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A pattern over the `host/path` of images: `*` stands for any part of a segment, `**` for any part at all.
///
/// ```
/// use runway_core::image::ImagePattern;
///
/// let pattern: ImagePattern = "registry.internal/*/train-**".parse()?;
/// assert!(pattern.matches("registry.internal/vision/train-a/b"));
/// assert!(!pattern.matches("registry.internal/a/b/train-a"));
/// # Ok::<(), runway_core::image::PatternError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern {
    text: String,
    shape: Shape,
}

/// The shapes that patterns mostly have, each with its quick test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Anything,
    Exact,
    Below,
    General,
}

/// Why a text is not a pattern of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is no text.
    #[error("is empty; `**` allows every image")]
    Empty,
    /// There is a character that no host or path has.
    #[error("may hold only letters, digits, `.`, `_`, `-`, `/`, `:` before a port, and `*`")]
    BadCharacter,
    /// It names a tag or digest.
    #[error("must not name a tag or digest: patterns match the host and path alone")]
    HasTag,
    /// It has no host, though names are completed before they are matched.
    #[error(
        "must begin with a host or a wildcard: names are completed first, so that `busybox` is `docker.io/library/busybox`"
    )]
    NoHost,
    /// It is too long.
    #[error("has more than 255 characters")]
    TooLong,
}

impl ImagePattern {
    /// Whether the pattern matches the whole of a completed `host/path`.
    #[must_use]
    pub fn matches(&self, repository: &str) -> bool {
        match self.shape {
            Shape::Anything => true,
            Shape::Exact => self.text == repository,
            Shape::Below => self
                .text
                .strip_suffix("**")
                .is_some_and(|prefix| repository.len() > prefix.len() && repository.starts_with(prefix)),
            Shape::General => matches_general(self.text.as_bytes(), repository.as_bytes()),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Follows all ways through the pattern at once: time at most pattern × text, whatever a tenant names an image.
fn matches_general(pattern: &[u8], text: &[u8]) -> bool {
    // `alive[i]`: the text so far can be matched by the first `i` bytes of the pattern.
    let mut alive = vec![false; pattern.len() + 1];
    let skip_stars = |alive: &mut Vec<bool>| {
        for i in 0..pattern.len() {
            if pattern.get(i) == Some(&b'*')
                && alive.get(i) == Some(&true)
                && let Some(next) = alive.get_mut(i + 1)
            {
                *next = true;
            }
        }
    };
    if let Some(first) = alive.first_mut() {
        *first = true;
    }
    skip_stars(&mut alive);
    for &byte in text {
        let mut next = vec![false; pattern.len() + 1];
        for (i, &p) in pattern.iter().enumerate() {
            if alive.get(i) != Some(&true) {
                continue;
            }
            let double = p == b'*'
                && (pattern.get(i + 1) == Some(&b'*') || (i > 0 && pattern.get(i - 1) == Some(&b'*')));
            if p == b'*' && (double || byte != b'/') {
                if let Some(slot) = next.get_mut(i) {
                    *slot = true;
                }
            } else if p == byte
                && let Some(slot) = next.get_mut(i + 1)
            {
                *slot = true;
            }
        }
        skip_stars(&mut next);
        alive = next;
    }
    alive.last() == Some(&true)
}

impl FromStr for ImagePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_REPOSITORY {
            return Err(PatternError::TooLong);
        }
        let (first, rest) = text.split_once('/').unwrap_or((text, ""));
        if text.contains('@') || rest.contains(':') || (rest.is_empty() && first.contains(':')) {
            return Err(PatternError::HasTag);
        }
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'*');
        if !text.bytes().all(known) || rest.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(PatternError::BadCharacter);
        }
        if !first.contains('*') && (rest.is_empty() || !is_host(first)) {
            return Err(PatternError::NoHost);
        }
        let shape = match text.strip_suffix("/**") {
            _ if text == "**" => Shape::Anything,
            _ if !text.contains('*') => Shape::Exact,
            Some(prefix) if !prefix.contains('*') => Shape::Below,
            _ => Shape::General,
        };
        Ok(Self { text: text.to_owned(), shape })
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (written, complete) in [
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
            let image: ImageRef = written.parse().unwrap_or_else(|e| panic!("{written}: {e}"));
            assert_eq!(image.as_str(), complete);
            assert_eq!(image.as_str().parse(), Ok(image), "completing twice changes nothing");
        }
    }

    #[test]
    fn what_is_no_image_says_why() {
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

    #[test]
    fn one_star_stays_in_its_segment_and_two_do_not() {
        for (pattern, repository, matches) in [
            ("**", "docker.io/library/busybox", true),
            ("registry.internal/**", "registry.internal/a/b", true),
            ("registry.internal/**", "registry.internal.evil.com/a", false),
            ("registry.internal/**", "registry.internal/", false),
            ("registry.internal/*", "registry.internal/a", true),
            ("registry.internal/*", "registry.internal/a/b", false),
            ("*.internal/a", "x.internal/a", true),
            ("*.internal/a", "x/y.internal/a", false),
            ("registry.internal/a", "registry.internal/a", true),
            ("registry.internal/a", "registry.internal/ab", false),
            ("**/train", "registry.internal/x/y/train", true),
            ("**/train", "registry.internal/x/y/trains", false),
            ("r.io/a*c*e", "r.io/abcde", true),
            ("r.io/a**e", "r.io/ab/cd/e", true),
            ("r.io/a*e", "r.io/ab/e", false),
            ("r.io/**/x", "r.io/x", false),
        ] {
            let parsed: ImagePattern = pattern.parse().unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(parsed.matches(repository), matches, "{pattern} {repository}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_longer_than_its_product() {
        let pattern: ImagePattern = format!("r.io/{}b", "a*".repeat(120)).parse().unwrap();
        assert!(!pattern.matches(&format!("r.io/{}", "a".repeat(250))));
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        use PatternError::*;
        for (text, error) in [
            ("", Empty),
            ("busybox", NoHost),
            ("library/busybox", NoHost),
            ("r.io/a:1", HasTag),
            ("r.io/a@sha256:0", HasTag),
            ("r.io/A", BadCharacter),
            ("r.io/{a,b}", BadCharacter),
            ("r.io/a?", BadCharacter),
        ] {
            assert_eq!(text.parse::<ImagePattern>(), Err(error), "{text}");
        }
        assert!("r.io:5000/**".parse::<ImagePattern>().is_ok());
        assert!("**".parse::<ImagePattern>().is_ok());
    }
}
