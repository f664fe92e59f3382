//! Money and rates, exactly.

use crate::text::serde_as_text;
use std::{fmt, iter::Sum, str::FromStr};

/// An amount of money in whole micro-dollars (10^-6 USD), up to 18 trillion dollars.
///
/// ```
/// use runway_core::units::Usd;
///
/// assert_eq!(Usd::from_micros(1_500_000).to_string(), "1.500000");
/// assert_eq!("0.25".parse(), Ok(Usd::from_micros(250_000)));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(u64);

/// A price in USD for one unit over one second, with up to 12 decimals.
///
/// ```
/// use runway_core::units::UsdRate;
///
/// let rate: UsdRate = "0.0000112444".parse()?;
/// assert_eq!(rate.picos(), 11_244_400);
/// assert_eq!(rate.to_string(), "0.0000112444");
/// # Ok::<(), runway_core::units::MoneyError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsdRate(u64);

/// Why a text is not an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a plain decimal number.
    #[error("is not a decimal number such as `0.0000112444`")]
    Malformed,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// More decimals than are kept.
    #[error("has more than {decimals} decimals")]
    TooFine {
        /// How many decimals are kept.
        decimals: u8,
    },
    /// Does not fit.
    #[error("is too large")]
    TooLarge,
}

const MICRO: u8 = 6;
const PICO: u8 = 12;

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Takes micro-dollars.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Micro-dollars.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The sum, or nothing where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or zero where `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Usd {
    /// Saturates; prices are checked to fit before they are added.
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
    }
}

impl UsdRate {
    /// Takes pico-dollars (10^-12 USD) per unit and second.
    #[must_use]
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// Pico-dollars (10^-12 USD) per unit and second.
    #[must_use]
    pub const fn picos(self) -> u64 {
        self.0
    }
}

impl FromStr for Usd {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse_decimal(text, MICRO).map(Self)
    }
}

impl FromStr for UsdRate {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse_decimal(text, PICO).map(Self)
    }
}

impl fmt::Display for Usd {
    /// Always six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000))
    }
}

impl fmt::Display for UsdRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&decimal(self.0, PICO))
    }
}

/// `value × 10^-decimals` without needless zeros.
pub(crate) fn decimal(value: u64, decimals: u8) -> String {
    let unit = 10u64.pow(u32::from(decimals));
    let whole = value / unit;
    if value.is_multiple_of(unit) {
        return whole.to_string();
    }
    let fraction = format!("{:0width$}", value % unit, width = usize::from(decimals));
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// The number `value` for which a text is `value × 10^-decimals`.
pub(crate) fn parse_decimal(text: &str, decimals: u8) -> Result<u64, MoneyError> {
    if text.starts_with('-') {
        return Err(MoneyError::Negative);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
        return Err(MoneyError::Malformed);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > usize::from(decimals) {
        return Err(MoneyError::TooFine { decimals });
    }
    let padding = std::iter::repeat_n(b'0', usize::from(decimals) - fraction.len());
    whole
        .bytes()
        .chain(fraction.bytes())
        .chain(padding)
        .try_fold(0u64, |n, digit| n.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(MoneyError::TooLarge)
}

serde_as_text!(Usd, UsdRate);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_keeps_twelve_decimals_and_no_more() {
        assert_eq!("0.000000000001".parse(), Ok(UsdRate(1)));
        assert_eq!("0.0000000000010".parse(), Ok(UsdRate(1)));
        assert_eq!("0.0000000000001".parse::<UsdRate>(), Err(MoneyError::TooFine { decimals: 12 }));
        assert_eq!("18446744.073709551615".parse(), Ok(UsdRate(u64::MAX)));
        assert_eq!("18446744.073709551616".parse::<UsdRate>(), Err(MoneyError::TooLarge));
    }

    #[test]
    fn what_is_no_money_says_why() {
        for (text, error) in [
            ("", MoneyError::Malformed),
            (".", MoneyError::Malformed),
            ("1e-3", MoneyError::Malformed),
            ("$1", MoneyError::Malformed),
            ("-1", MoneyError::Negative),
            ("0.0000001", MoneyError::TooFine { decimals: 6 }),
        ] {
            assert_eq!(text.parse::<Usd>(), Err(error), "{text}");
        }
    }
}
