//! Exact amounts of money and unit prices.

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

/// The price in USD of one unit for one second, with up to 12 decimals.
///
/// ```
/// use runway_core::units::UnitPrice;
///
/// let price: UnitPrice = "0.0000112444".parse()?;
/// assert_eq!(price.picos(), 11_244_400);
/// assert_eq!(price.to_string(), "0.0000112444");
/// # Ok::<(), runway_core::units::MoneyError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitPrice(u64);

/// An error from parsing an amount of money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The text is not a plain decimal number.
    #[error("is not a decimal number such as `0.0000112444`")]
    Malformed,
    /// The amount is negative.
    #[error("is negative")]
    Negative,
    /// The amount has too many decimals.
    #[error("has more than {decimals} decimals")]
    TooFine {
        /// The maximum number of decimals.
        decimals: u8,
    },
    /// The amount is too large.
    #[error("is too large")]
    TooLarge,
}

const MICRO: u8 = 6;
const PICO: u8 = 12;

impl Usd {
    /// Zero dollars.
    pub const ZERO: Self = Self(0);

    /// Creates an amount from micro-dollars.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the amount in micro-dollars.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Returns the sum, or `None` if it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Returns the difference, or zero if `other` is larger.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    fn decimal(self) -> Decimal {
        Decimal::new(self.0, MICRO, MICRO)
    }
}

impl Sum for Usd {
    /// Saturates at the largest amount. Callers check in advance that prices fit.
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        Self(amounts.fold(0, |sum, amount| sum.saturating_add(amount.0)))
    }
}

impl UnitPrice {
    /// Creates a price from pico-dollars (10^-12 USD) for one unit and second.
    #[must_use]
    pub const fn from_picos(picos: u64) -> Self {
        Self(picos)
    }

    /// Returns the price in pico-dollars (10^-12 USD) for one unit and second.
    #[must_use]
    pub const fn picos(self) -> u64 {
        self.0
    }

    fn decimal(self) -> Decimal {
        decimal(self.0, PICO)
    }
}

impl FromStr for Usd {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse_decimal(text, MICRO).map(Self)
    }
}

impl FromStr for UnitPrice {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        parse_decimal(text, PICO).map(Self)
    }
}

impl fmt::Display for Usd {
    /// Prints six decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decimal().fmt(f)
    }
}

impl fmt::Display for UnitPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decimal().fmt(f)
    }
}

/// The text of a decimal number.
pub(crate) struct Decimal {
    text: [u8; Self::LENGTH],
    length: usize,
}

impl Decimal {
    /// The length of the largest number with its decimal point.
    const LENGTH: usize = 21;

    /// Formats `value × 10^-decimals` with at least `min_decimals` decimals. `decimals` must be at most 18.
    fn new(value: u64, decimals: u8, min_decimals: u8) -> Self {
        let unit = 10u64.pow(u32::from(decimals));
        let mut decimal = Self { text: [0; Self::LENGTH], length: 0 };
        let mut digits = itoa::Buffer::new();
        decimal.push(digits.format(value / unit));
        // The added digit 1 keeps the leading zeros of the fraction. `get(1..)` removes it.
        let fraction = digits.format(unit + value % unit).get(1..).unwrap_or_default();
        let minimum = fraction.get(..usize::from(min_decimals)).unwrap_or(fraction);
        let needed = fraction.trim_end_matches('0');
        let fraction = if needed.len() < minimum.len() { minimum } else { needed };
        if !fraction.is_empty() {
            decimal.push(".");
            decimal.push(fraction);
        }
        decimal
    }

    fn push(&mut self, part: &str) {
        let target = self.text.get_mut(self.length..self.length + part.len());
        if let Some(target) = target {
            target.copy_from_slice(part.as_bytes());
            self.length += part.len();
        }
    }

    fn as_str(&self) -> &str {
        self.text.get(..self.length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Formats `value × 10^-decimals` without trailing zeros.
pub(crate) fn decimal(value: u64, decimals: u8) -> Decimal {
    Decimal::new(value, decimals, 0)
}

/// Parses a decimal number and returns it in units of `10^-decimals`.
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

serde_as_text!(Usd by decimal, UnitPrice by decimal);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_price_keeps_at_most_twelve_decimals() {
        assert_eq!("0.000000000001".parse(), Ok(UnitPrice(1)));
        assert_eq!("0.0000000000010".parse(), Ok(UnitPrice(1)));
        assert_eq!("0.0000000000001".parse::<UnitPrice>(), Err(MoneyError::TooFine { decimals: 12 }));
        assert_eq!("18446744.073709551615".parse(), Ok(UnitPrice(u64::MAX)));
        assert_eq!("18446744.073709551616".parse::<UnitPrice>(), Err(MoneyError::TooLarge));
    }

    #[test]
    fn money_prints_every_digit() {
        for (micros, text) in [
            (0, "0.000000"),
            (1, "0.000001"),
            (999_999, "0.999999"),
            (1_000_000, "1.000000"),
            (1_500_000, "1.500000"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            assert_eq!(Usd(micros).to_string(), text);
            assert_eq!(serde_json::to_string(&Usd(micros)).unwrap(), format!("\"{text}\""));
        }
        for (picos, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (100, "0.0000000001"),
            (1_000_000_000_000, "1"),
            (1_010_000_000_000, "1.01"),
            (20_000_000_000_000, "20"),
            (u64::MAX, "18446744.073709551615"),
        ] {
            assert_eq!(UnitPrice(picos).to_string(), text);
            assert_eq!(serde_json::to_string(&UnitPrice(picos)).unwrap(), format!("\"{text}\""));
        }
        assert_eq!((decimal(u64::MAX, 0).as_str(), decimal(120, 1).as_str()), ("18446744073709551615", "12"));
        assert_eq!(format!("{:>10}|{:<10}|", Usd(1), UnitPrice(0)), "  0.000001|0         |");
    }

    #[test]
    fn invalid_amount_reports_its_error() {
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
