//! CPU, memory and GPUs: the resources that jobs request and policies bound.

use super::{Quantity, QuantityError};
use std::{fmt, str::FromStr};

macro_rules! resource {
    ($(#[$doc:meta])* $name:ident, $decimals:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Zero units.
            pub const ZERO: Self = Self(0);

            /// Creates an amount from a number of base units: thousandths of a core, bytes, or GPUs.
            #[must_use]
            pub const fn new(units: u64) -> Self {
                Self(units)
            }

            /// Returns the number of base units.
            #[must_use]
            pub const fn units(self) -> u64 {
                self.0
            }

            /// Returns the product, or the maximum of Kubernetes if it is larger: `i64::MAX` base units.
            #[must_use]
            pub fn saturating_mul(self, times: u64) -> Self {
                Self(self.0.saturating_mul(times).min(i64::MAX.unsigned_abs()))
            }
        }

        impl FromStr for $name {
            type Err = QuantityError;

            fn from_str(text: &str) -> Result<Self, QuantityError> {
                // Fast path: most values consist only of digits, and do not need the quantity parser.
                if let Some(units) = plain_number(text).and_then(|n| n.checked_mul(10u64.pow($decimals)))
                    && i64::try_from(units).is_ok()
                {
                    return Ok(Self(units));
                }
                text.parse::<Quantity>()?.unsigned($decimals).map(Self)
            }
        }
    };
}

resource! {
    /// An amount of CPU in thousandths of a core. A parsed amount is at most `i64::MAX`.
    ///
    /// ```
    /// use runway_core::units::CpuMillis;
    ///
    /// let half: CpuMillis = "0.5".parse()?;
    /// assert_eq!(half, CpuMillis::new(500));
    /// assert_eq!(half.to_string(), "500m");
    /// assert!("0.0005".parse::<CpuMillis>().is_err()); // finer than a thousandth of a core
    /// # Ok::<(), runway_core::units::QuantityError>(())
    /// ```
    CpuMillis, 3
}

resource! {
    /// An amount of memory or storage in bytes. A parsed amount is at most `i64::MAX`.
    ///
    /// ```
    /// use runway_core::units::MemoryBytes;
    ///
    /// let memory: MemoryBytes = "1.5Gi".parse()?;
    /// assert_eq!(memory.units(), 3 << 29);
    /// assert_eq!(memory.to_string(), "1536Mi");
    /// # Ok::<(), runway_core::units::QuantityError>(())
    /// ```
    MemoryBytes, 0
}

resource! {
    /// A number of whole GPUs.
    ///
    /// ```
    /// use runway_core::units::GpuCount;
    ///
    /// assert_eq!("2".parse(), Ok(GpuCount::new(2)));
    /// assert!("0.5".parse::<GpuCount>().is_err()); // GPUs are not shared
    /// ```
    GpuCount, 0
}

/// Returns the value of a text of one to eighteen digits, or `None` for any other text.
fn plain_number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.bytes().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

impl fmt::Display for CpuMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl fmt::Display for MemoryBytes {
    /// Prints the largest suffix that is exact, and prefers binary suffixes: `8Gi`, `500M`, `1000001`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUFFIXES: [(u64, &str); 11] = [
            (1 << 60, "Ei"),
            (1 << 50, "Pi"),
            (1 << 40, "Ti"),
            (1 << 30, "Gi"),
            (1 << 20, "Mi"),
            (1 << 10, "Ki"),
            (1_000_000_000_000_000, "P"),
            (1_000_000_000_000, "T"),
            (1_000_000_000, "G"),
            (1_000_000, "M"),
            (1_000, "k"),
        ];
        match SUFFIXES.iter().find(|(unit, _)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((unit, suffix)) => write!(f, "{}{suffix}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for GpuCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_path_agrees_with_the_grammar_at_its_limits() {
        for text in [
            "0",
            "007",
            "999999999999999999",
            "9223372036854775807",
            "9223372036854775808",
            "9223372036854775",
            "9223372036854776",
            "99999999999999999999",
        ] {
            let by_grammar = |decimals| text.parse::<Quantity>().and_then(|q| q.unsigned(decimals));
            assert_eq!(text.parse().map(MemoryBytes::units), by_grammar(0), "{text}");
            assert_eq!(text.parse().map(CpuMillis::units), by_grammar(3), "{text}");
        }
    }

    #[test]
    fn multiplication_saturates_at_i64_max() {
        let max = i64::MAX.unsigned_abs();
        assert_eq!(CpuMillis::new(1500).saturating_mul(3), CpuMillis::new(4500));
        assert_eq!(CpuMillis::new(max / 2).saturating_mul(2), CpuMillis::new(max - 1));
        assert_eq!(CpuMillis::new(max / 2 + 1).saturating_mul(2), CpuMillis::new(max));
        assert_eq!(MemoryBytes::new(max).saturating_mul(u64::MAX), MemoryBytes::new(max));
        assert_eq!(MemoryBytes::new(max).saturating_mul(0), MemoryBytes::ZERO);
    }

    #[test]
    fn memory_prints_the_largest_exact_suffix() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1 << 10, "1Ki"),
            (1 << 33, "8Gi"),
            (500_000_000, "500M"),
            (1_000_001, "1000001"),
        ] {
            assert_eq!(MemoryBytes::new(bytes).to_string(), text);
        }
    }
}
