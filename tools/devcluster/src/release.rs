//! The Kubernetes versions that the development cluster can run.

use std::fmt;

/// A minor version of Kubernetes. For each version, a Go module in `tools/devcluster/` pins the patch
/// version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Release {
    /// Kubernetes 1.34.
    V1_34,
    /// Kubernetes 1.36.
    #[default]
    V1_36,
}

impl Release {
    /// All versions, the oldest first.
    pub const ALL: [Self; 2] = [Self::V1_34, Self::V1_36];

    /// The version as text, such as `1.36`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_34 => "1.34",
            Self::V1_36 => "1.36",
        }
    }

    /// Parses a minor version such as `1.36`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|release| release.as_str() == text)
    }

    /// All versions, for messages: `1.34 or 1.36`.
    #[must_use]
    pub fn choices() -> String {
        Self::ALL.map(Self::as_str).join(" or ")
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Release;

    #[test]
    fn parse_accepts_supported_minor_versions_only() {
        assert_eq!(Release::parse("1.34"), Some(Release::V1_34));
        assert_eq!(Release::parse("1.36"), Some(Release::default()));
        for wrong in ["", "1.20", "1.35", "1.36.3", "v1.36"] {
            assert_eq!(Release::parse(wrong), None, "{wrong}");
        }
    }
}
