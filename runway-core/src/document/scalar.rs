//! The types of plain scalars: YAML values without quotes.

use super::ScalarKind;

/// Returns the type of a plain scalar in the core schema of YAML 1.2, chapter 10.3.2.
pub(super) fn plain_scalar_kind(text: &str) -> ScalarKind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarKind::Null,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return ScalarKind::Bool,
        ".nan" | ".NaN" | ".NAN" => return ScalarKind::Float,
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return ScalarKind::Float;
    }
    let all = |digits: &str, radix: u32| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if all(unsigned, 10)
        || text.strip_prefix("0o").is_some_and(|d| all(d, 8))
        || text.strip_prefix("0x").is_some_and(|d| all(d, 16))
    {
        return ScalarKind::Integer;
    }
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    if is_number && exponent.is_none_or(|e| all(e, 10)) { ScalarKind::Float } else { ScalarKind::String }
}
