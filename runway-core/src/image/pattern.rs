//! Patterns that match the host and path of container images.

use super::reference::{MAX_REPOSITORY_LENGTH, is_host};
use std::{fmt, str::FromStr};

/// A pattern for the `host/path` of images. `*` matches any text within one segment, and `**` matches
/// across segments.
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
    kind: PatternKind,
}

/// The form of a pattern. The common forms have a fast comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatternKind {
    Any,
    Exact,
    Prefix,
    Glob,
}

/// The reason why a string is not a valid image pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The pattern is empty.
    #[error("is empty; `**` allows every image")]
    Empty,
    /// The pattern contains a character that no host or path can contain.
    #[error("may contain only letters, digits, `.`, `_`, `-`, `/`, `:` before a port, and `*`")]
    BadCharacter,
    /// The pattern contains a tag or digest.
    #[error("must not contain a tag or digest: patterns match only the host and path")]
    HasTag,
    /// The pattern has no host. It could never match, because image names are completed before they are
    /// matched.
    #[error(
        "must start with a host or a wildcard, because `busybox` is completed to `docker.io/library/busybox`"
    )]
    NoHost,
    /// The pattern is too long.
    #[error("has more than 255 characters")]
    TooLong,
}

impl ImagePattern {
    /// Returns `true` if the pattern matches a whole completed `host/path`.
    #[must_use]
    pub fn matches(&self, repository: &str) -> bool {
        match self.kind {
            PatternKind::Any => true,
            PatternKind::Exact => self.text == repository,
            PatternKind::Prefix => self
                .text
                .strip_suffix("**")
                .is_some_and(|prefix| repository.len() > prefix.len() && repository.starts_with(prefix)),
            PatternKind::Glob => matches_glob(self.text.as_bytes(), repository.as_bytes()),
        }
    }

    /// Returns the pattern as a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Matches a pattern by tracking all partial matches at once. For any image name, the time is proportional
/// to pattern length × text length.
fn matches_glob(pattern: &[u8], text: &[u8]) -> bool {
    // `states[i]` is `true` if the first `i` bytes of the pattern match the text read so far.
    let mut states = vec![false; pattern.len() + 1];
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
    if let Some(first) = states.first_mut() {
        *first = true;
    }
    skip_stars(&mut states);
    for &byte in text {
        let mut next = vec![false; pattern.len() + 1];
        for (i, &p) in pattern.iter().enumerate() {
            if states.get(i) != Some(&true) {
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
        states = next;
    }
    states.last() == Some(&true)
}

impl FromStr for ImagePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > MAX_REPOSITORY_LENGTH {
            return Err(PatternError::TooLong);
        }
        let (first, rest) = text.split_once('/').unwrap_or((text, ""));
        if text.contains('@') || rest.contains(':') || (rest.is_empty() && first.contains(':')) {
            return Err(PatternError::HasTag);
        }
        let is_allowed =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/' | b':' | b'*');
        if !text.bytes().all(is_allowed) || rest.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(PatternError::BadCharacter);
        }
        if !first.contains('*') && (rest.is_empty() || !is_host(first)) {
            return Err(PatternError::NoHost);
        }
        let kind = match text.strip_suffix("/**") {
            _ if text == "**" => PatternKind::Any,
            _ if !text.contains('*') => PatternKind::Exact,
            Some(prefix) if !prefix.contains('*') => PatternKind::Prefix,
            _ => PatternKind::Glob,
        };
        Ok(Self { text: text.to_owned(), kind })
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
    fn single_star_stays_in_segment_and_double_crosses() {
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
    fn many_stars_match_in_bounded_time() {
        let pattern: ImagePattern = format!("r.io/{}b", "a*".repeat(120)).parse().unwrap();
        assert!(!pattern.matches(&format!("r.io/{}", "a".repeat(250))));
    }

    #[test]
    fn invalid_patterns_are_rejected() {
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
