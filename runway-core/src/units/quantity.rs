//! The Kubernetes quantity grammar, parsed exactly.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource.Quantity`. A quantity is a signed decimal
//! number (`.5`, `5.` and `+1` included) with an optional suffix. The suffix is binary (`Ki` … `Ei`), decimal
//! (`n`, `u`, `m`, `k`, `M`, `G`, `T`, `P`, `E`), or a decimal exponent (`e3`, `E-3`). Kubernetes rounds up a
//! value that is finer than its unit. Runway rejects it, so that it prices exactly the value in the spec.

use std::str::FromStr;

/// A number in the Kubernetes quantity grammar, stored exactly as `mantissa × 10^exp10 × 2^exp2`.
///
/// ```
/// use runway_core::units::Quantity;
///
/// let half: Quantity = "500m".parse()?;
/// assert_eq!(half.in_units_of(3)?, 500); // in thousandths
/// assert!(half.in_units_of(0).is_err()); // not a whole number
/// assert_eq!("4Gi".parse::<Quantity>()?.in_units_of(0)?, 4 << 30);
/// # Ok::<(), runway_core::units::QuantityError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    mantissa: i128,
    exp10: i32,
    exp2: u32,
}

/// An error from parsing a quantity or from converting it to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is empty.
    #[error("is empty; write a number such as `2`, `500m` or `4Gi`")]
    Empty,
    /// The text does not start with a number.
    #[error("is not a number; write one such as `2`, `500m` or `4Gi`")]
    NotANumber,
    /// The suffix is not part of the grammar.
    #[error("has an unknown suffix; use n u m k M G T P E, Ki Mi Gi Ti Pi Ei, or an exponent such as e3")]
    UnknownSuffix,
    /// The exponent is not a whole number, or it is out of range.
    #[error("has an invalid exponent")]
    BadExponent,
    /// The number is negative.
    #[error("is negative")]
    Negative,
    /// The number has a part smaller than the unit can express.
    #[error("is not a whole number of the smallest unit")]
    TooFine,
    /// The number exceeds the range of its type.
    #[error("is too large")]
    TooLarge,
}

/// Maximum number of digits before the decimal point, with the exponent applied. Larger numbers fit no
/// unit: `i64::MAX` has 19 digits, and CPU is counted in thousandths.
const MAX_MAGNITUDE: i64 = 26;

impl Quantity {
    /// Returns the exact value in units of `10^-decimals`.
    ///
    /// # Errors
    /// [`QuantityError::TooFine`] if the value is not a whole number of such units.
    /// [`QuantityError::TooLarge`] if the value exceeds the range of `i128`.
    pub fn in_units_of(self, decimals: u8) -> Result<i128, QuantityError> {
        let binary = self.mantissa.checked_mul(1i128 << self.exp2).ok_or(QuantityError::TooLarge)?;
        let exponent = i64::from(self.exp10) + i64::from(decimals);
        let power = u32::try_from(exponent.unsigned_abs()).ok().and_then(|e| 10i128.checked_pow(e));
        match (exponent >= 0, power) {
            _ if binary == 0 => Ok(0),
            (true, Some(power)) => binary.checked_mul(power).ok_or(QuantityError::TooLarge),
            (true, None) => Err(QuantityError::TooLarge),
            (false, Some(power)) if binary % power == 0 => Ok(binary / power),
            (false, _) => Err(QuantityError::TooFine),
        }
    }

    /// Returns the value like [`in_units_of`](Self::in_units_of), but rejects negative values and values
    /// above `i64::MAX`.
    pub(crate) fn unsigned(self, decimals: u8) -> Result<u64, QuantityError> {
        if self.mantissa < 0 {
            return Err(QuantityError::Negative);
        }
        let value = self.in_units_of(decimals)?;
        i64::try_from(value).map(i64::unsigned_abs).map_err(|_| QuantityError::TooLarge)
    }

    /// Rounds a value that is too fine to the nearest multiple of `10^-decimals`, and returns the number of
    /// these units. A half is rounded up. Returns `None` if the result is negative or out of range.
    pub(crate) fn nearest_in_units_of(self, decimals: u8) -> Option<u64> {
        let exponent = i64::from(self.exp10) + i64::from(decimals);
        let power = 10i128.checked_pow(u32::try_from(-exponent).ok()?);
        let binary = self.mantissa.checked_mul(1i128 << self.exp2)?;
        let nearest = |power: i128| binary.checked_add(power / 2).map(|sum| sum / power);
        u64::try_from(power.map_or(Some(0), nearest)?).ok()
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Empty);
        }
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or("")),
            Some(b'+') => (false, text.get(1..).unwrap_or("")),
            _ => (false, text),
        };
        let end = rest.bytes().position(|b| !(b.is_ascii_digit() || b == b'.')).unwrap_or(rest.len());
        let (number, suffix) = rest.split_at_checked(end).ok_or(QuantityError::NotANumber)?;
        let (exp10, exp2) = parse_suffix(suffix)?;
        let (mantissa, fraction) = parse_number(number, exp10)?;
        let exp10 = exp10.checked_sub(fraction).ok_or(QuantityError::BadExponent)?;
        let mantissa = if negative { -mantissa } else { mantissa };
        Ok(Self { mantissa, exp10, exp2 })
    }
}

/// Returns the digits of `number` as one integer, and how many of them follow the decimal point.
fn parse_number(number: &str, exp10: i32) -> Result<(i128, i32), QuantityError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(QuantityError::NotANumber);
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let mut mantissa = 0i128;
    for digit in whole.bytes().chain(fraction.bytes()) {
        mantissa = mantissa
            .checked_mul(10)
            .and_then(|m| m.checked_add(i128::from(digit - b'0')))
            .ok_or_else(|| {
                // The digits exceed the range of `i128`. A number with many digits before the decimal point
                // is too large. Any other number is too fine.
                let magnitude = i64::try_from(whole.len()).unwrap_or(i64::MAX);
                if magnitude.saturating_add(i64::from(exp10)) > MAX_MAGNITUDE {
                    QuantityError::TooLarge
                } else {
                    QuantityError::TooFine
                }
            })?;
    }
    let fraction = i32::try_from(fraction.len()).map_err(|_| QuantityError::TooFine)?;
    Ok((mantissa, fraction))
}

/// Returns the power of ten and the power of two by which a suffix multiplies.
fn parse_suffix(suffix: &str) -> Result<(i32, u32), QuantityError> {
    Ok(match suffix {
        "" => (0, 0),
        "Ki" => (0, 10),
        "Mi" => (0, 20),
        "Gi" => (0, 30),
        "Ti" => (0, 40),
        "Pi" => (0, 50),
        "Ei" => (0, 60),
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        _ => match suffix.as_bytes() {
            [b'e' | b'E', exponent @ ..] => (parse_exponent(exponent)?, 0),
            [] | [_, ..] => return Err(QuantityError::UnknownSuffix),
        },
    })
}

fn parse_exponent(text: &[u8]) -> Result<i32, QuantityError> {
    let digits = match text {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(QuantityError::BadExponent);
    }
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(QuantityError::BadExponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(text: &str) -> Result<u64, QuantityError> {
        text.parse::<Quantity>()?.unsigned(3)
    }

    #[test]
    fn every_form_of_the_grammar_is_parsed() {
        for (text, expected) in [
            (".5", 500),
            ("5.", 5000),
            ("+1", 1000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1E", 0),
            ("1e-3", 1),
            ("100m", 100),
            ("1000u", 1),
            ("1000000n", 1),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("0e400", 0),
            ("-0", 0),
            ("0.0000000000000000000000000000000000000000000000", 0),
        ] {
            if text == "1E" {
                assert_eq!(millis(text), Err(QuantityError::TooLarge));
            } else {
                assert_eq!(millis(text), Ok(expected), "{text}");
            }
        }
        let bytes = |t: &str| t.parse::<Quantity>().unwrap().unsigned(0);
        assert_eq!(bytes("1E"), Ok(1_000_000_000_000_000_000));
        assert_eq!(bytes("7Ei"), Ok(7 << 60));
        assert_eq!(bytes("8Ei"), Err(QuantityError::TooLarge));
        assert_eq!(bytes("9223372036854775807"), Ok(i64::MAX.unsigned_abs()));
        assert_eq!(bytes("9223372036854775808"), Err(QuantityError::TooLarge));
        assert_eq!(bytes("0.5Ki"), Ok(512));
    }

    #[test]
    fn invalid_quantity_reports_its_error() {
        use QuantityError::*;
        for (text, error) in [
            ("", Empty),
            ("+", NotANumber),
            (".", NotANumber),
            ("1.2.3", NotANumber),
            ("abc", UnknownSuffix),
            ("Gi", NotANumber),
            ("4GB", UnknownSuffix),
            ("4 Gi", UnknownSuffix),
            ("1e", BadExponent),
            ("1e+", BadExponent),
            ("1e1.5", BadExponent),
            ("1e99999999999", BadExponent),
            ("1e400", TooLarge),
            ("1e-400", TooFine),
            ("0.0001", TooFine),
            ("-1", Negative),
            ("99999999999999999999999999999999999999999999", TooLarge),
            ("0.99999999999999999999999999999999999999999999", TooFine),
            ("５", UnknownSuffix),
            ("1_000", UnknownSuffix),
            ("0x10", UnknownSuffix),
        ] {
            let found = millis(text);
            // For a text with neither a number nor a suffix, both errors are correct.
            if matches!(text, "abc" | "５") {
                assert!(matches!(found, Err(UnknownSuffix | NotANumber)), "{text}: {found:?}");
            } else {
                assert_eq!(found, Err(error), "{text}");
            }
        }
    }
}
