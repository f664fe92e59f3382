//! Quantities agree with exact decimal arithmetic, and their text parses back to the same value.

use proptest::prelude::*;
use runway_core::units::{
    CpuMillis, GpuCount, MemoryBytes, Quantity, QuantityError, Seconds, Timestamp, UnitPrice, Usd,
};

/// Returns a decimal number times a power of ten, by moving its decimal point in the text.
fn shifted(digits: &str, decimals: usize, power: i32) -> Option<u128> {
    let remaining = i32::try_from(decimals).unwrap() - power;
    let (whole, fraction) = if remaining <= 0 {
        (format!("{digits}{}", "0".repeat(remaining.unsigned_abs() as usize)), String::new())
    } else {
        let padded = format!("{}{digits}", "0".repeat(remaining as usize));
        let (whole, fraction) = padded.split_at(padded.len() - remaining as usize);
        (whole.to_owned(), fraction.to_owned())
    };
    if fraction.chars().any(|c| c != '0') {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    Some(if whole.is_empty() { 0 } else { whole.parse().unwrap() })
}

fn with_point(digits: &str, decimals: usize) -> String {
    let padded = format!("{}{digits}", "0".repeat(decimals.saturating_sub(digits.len())));
    let (whole, fraction) = padded.split_at(padded.len() - decimals);
    if decimals == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn decimal_suffixes_and_exponents_move_the_point(
        digits in "[0-9]{1,11}", // with E and nine decimals still 38 digits, which an i128 holds
        behind_point in 0usize..12,
        (suffix, power) in prop::sample::select(vec![
            ("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18),
            ("e3", 3), ("E-3", -3), ("e+0", 0), ("e-12", -12), ("E6", 6),
        ]),
        unit in prop::sample::select(vec![0u8, 3, 9]),
        sign in prop::sample::select(vec!["", "+"]),
    ) {
        let text = format!("{sign}{}{suffix}", with_point(&digits, behind_point));
        let found = text.parse::<Quantity>().unwrap().in_units_of(unit);
        match shifted(&digits, behind_point, power + i32::from(unit)) {
            Some(expected) => prop_assert_eq!(found, Ok(i128::try_from(expected).unwrap()), "{}", text),
            None => prop_assert_eq!(found, Err(QuantityError::TooFine), "{}", text),
        }
    }

    #[test]
    fn binary_suffixes_multiply_by_powers_of_two(
        whole in 0u64..1000,
        eighths in 0u64..8,
        (suffix, power) in prop::sample::select(vec![("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50)]),
    ) {
        // A multiple of 1/8 has at most three decimals, so the text is exact. Each suffix stands for at
        // least 2^10, so the value is a whole number of bytes.
        let text = format!("{whole}.{:03}{suffix}", eighths * 125);
        let expected = (whole * 8 + eighths) << (power - 3);
        prop_assert_eq!(text.parse(), Ok(MemoryBytes::new(expected)), "{}", text);
    }

    #[test]
    fn printed_values_parse_back(units in 0..=i64::MAX as u64, small in 0u64..100_000) {
        for n in [units, small, small << 20, small * 1_000_000] {
            prop_assert_eq!(CpuMillis::new(n).to_string().parse(), Ok(CpuMillis::new(n)));
            prop_assert_eq!(MemoryBytes::new(n).to_string().parse(), Ok(MemoryBytes::new(n)));
            prop_assert_eq!(GpuCount::new(n).to_string().parse(), Ok(GpuCount::new(n)));
            prop_assert_eq!(Seconds::new(n).to_string().parse(), Ok(Seconds::new(n)));
            prop_assert_eq!(Usd::from_micros(n).to_string().parse(), Ok(Usd::from_micros(n)));
            prop_assert_eq!(UnitPrice::from_picos(n).to_string().parse(), Ok(UnitPrice::from_picos(n)));
            prop_assert_eq!(Timestamp::from_nanos(n).to_string().parse(), Ok(Timestamp::from_nanos(n)));
        }
    }

    #[test]
    fn parsing_never_panics(text in "\\PC{0,24}", amount in "[-+]?[0-9.eEinukKMGTPmhs]{0,24}") {
        for text in [&text, &amount] {
            let _ = text.parse::<CpuMillis>();
            let _ = text.parse::<MemoryBytes>();
            let _ = text.parse::<GpuCount>();
            let _ = text.parse::<Seconds>();
            let _ = text.parse::<Usd>();
            let _ = text.parse::<UnitPrice>();
            let _ = text.parse::<Timestamp>();
        }
    }
}
