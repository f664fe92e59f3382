//! Checks CPU, memory, storage, GPUs, timeout and retries against their bounds.

use super::Checker;
use crate::code::Code;
use crate::decoder::shorten;
use crate::name::ClassName;
use crate::policy::{Bounds, Limits};
use crate::spec::RawScalar;
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Quantity, QuantityError, Seconds};
use crate::violation::Violation;
use serde_json::Value as Json;
use std::fmt::Display;

/// The definition of one amount of a job, such as the memory or the timeout: its field, its parser, its JSON
/// form, its bounds and its violation codes.
pub(super) struct AmountSpec<T> {
    pub(super) path: &'static str,
    noun: &'static str,
    parse: fn(&str) -> Result<T, AmountError<T>>,
    to_json: fn(T) -> Json,
    below_min: Code,
    above_max: Code,
    bounds: for<'a> fn(&'a Limits) -> &'a Bounds<T>,
}

/// The error of an amount that cannot be parsed, and what the author probably meant.
pub(super) struct AmountError<T> {
    message: String,
    suggestion: Suggestion<T>,
}

enum Suggestion<T> {
    /// There is no suggestion.
    Unknown,
    /// The value is below every bound, so suggest the minimum.
    Min,
    /// The value is above every bound, so suggest the maximum.
    Max,
    /// Suggest the nearest value within the bounds.
    Near(T),
}

/// Adds the bounds to a violation as the allowed range, unless the minimum is above the maximum.
fn with_range<T: Ord + Copy>(spec: &AmountSpec<T>, violation: Violation, bounds: &Bounds<T>) -> Violation {
    let (min, max) = (bounds.min.value, bounds.max.value);
    if min <= max { violation.range((spec.to_json)(min), (spec.to_json)(max)) } else { violation }
}

/// The result of checking an amount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount<T> {
    /// The value in the spec, or the default. It can be outside the bounds. `None` if it cannot be parsed, or
    /// if it is missing and has no default.
    pub value: Option<T>,
    /// The value after the fix is applied: the same value if it is valid. `None` if there is no fix.
    pub fixed: Option<T>,
}

impl<T> Amount<T> {
    const UNKNOWN: Self = Self { value: None, fixed: None };
}

fn to_json_string<T: Display>(value: T) -> Json {
    value.to_string().into()
}

pub(super) const CPU: AmountSpec<CpuMillis> = AmountSpec {
    path: "/resources/cpu",
    noun: "cpu",
    parse: |text| {
        text.parse().map_err(|error| quantity_error(text, error, 3, "a thousandth of a core", CpuMillis::new))
    },
    to_json: to_json_string,
    below_min: Code::CpuBelowMin,
    above_max: Code::CpuAboveMax,
    bounds: |limits| &limits.cpu,
};

pub(super) const MEMORY: AmountSpec<MemoryBytes> = AmountSpec {
    path: "/resources/memory",
    noun: "memory",
    parse: parse_bytes,
    to_json: to_json_string,
    below_min: Code::MemoryBelowMin,
    above_max: Code::MemoryAboveMax,
    bounds: |limits| &limits.memory,
};

pub(super) const EPHEMERAL_STORAGE: AmountSpec<MemoryBytes> = AmountSpec {
    path: "/resources/ephemeral_storage",
    noun: "ephemeral_storage",
    parse: parse_bytes,
    to_json: to_json_string,
    below_min: Code::EphemeralStorageBelowMin,
    above_max: Code::EphemeralStorageAboveMax,
    bounds: |limits| &limits.ephemeral_storage,
};

pub(super) const GPU: AmountSpec<GpuCount> = AmountSpec {
    path: "/resources/gpu",
    noun: "gpu",
    parse: |text| {
        text.parse()
            .map_err(|error| quantity_error(text, error, 0, "one GPU; GPUs are not shared", GpuCount::new))
    },
    to_json: |gpus| gpus.units().into(),
    below_min: Code::GpuBelowMin,
    above_max: Code::GpuAboveMax,
    bounds: |limits| &limits.gpu,
};

pub(super) const TIMEOUT: AmountSpec<Seconds> = AmountSpec {
    path: "/timeout",
    noun: "timeout",
    parse: |text| {
        use crate::units::DurationError as E;
        text.parse().map_err(|error| AmountError {
            message: format!("`{}` {error}", shorten(text)),
            suggestion: match error {
                E::Malformed | E::TooFine => {
                    Seconds::nearest(text).map_or(Suggestion::Unknown, Suggestion::Near)
                }
                E::Negative => Suggestion::Min,
                E::TooLarge => Suggestion::Max,
            },
        })
    },
    to_json: to_json_string,
    below_min: Code::TimeoutBelowMin,
    above_max: Code::TimeoutAboveMax,
    bounds: |limits| &limits.timeout,
};

pub(super) const RETRIES: AmountSpec<u32> = AmountSpec {
    path: "/retries",
    noun: "retries",
    parse: |text| {
        let saturating_u32 = |units| u32::try_from(units).unwrap_or(u32::MAX);
        match text.parse::<GpuCount>() {
            Ok(count) => Ok(saturating_u32(count.units())),
            Err(error) => {
                Err(quantity_error(text, error, 0, "one; retries are counted whole", saturating_u32))
            }
        }
    },
    to_json: Json::from,
    below_min: Code::InvalidQuantity,
    above_max: Code::RetriesAboveMax,
    bounds: |limits| &limits.retries,
};

/// Returns the message and the suggestion for a text that is not a quantity in the given unit.
fn quantity_error<T>(
    text: &str,
    error: QuantityError,
    decimals: u8,
    unit: &str,
    from_units: fn(u64) -> T,
) -> AmountError<T> {
    let excerpt = shorten(text);
    let message = match error {
        QuantityError::TooFine => format!("`{excerpt}` is finer than {unit}"),
        error => format!("`{excerpt}` {error}"),
    };
    let suggestion = match error {
        QuantityError::Negative => Suggestion::Min,
        QuantityError::TooLarge => Suggestion::Max,
        QuantityError::TooFine => text
            .parse::<Quantity>()
            .ok()
            .and_then(|quantity| quantity.nearest_in_units_of(decimals))
            .map_or(Suggestion::Unknown, |units| Suggestion::Near(from_units(units))),
        QuantityError::Empty
        | QuantityError::NotANumber
        | QuantityError::UnknownSuffix
        | QuantityError::BadExponent => Suggestion::Unknown,
    };
    AmountError { message, suggestion }
}

/// Parses bytes. For `128m`, which means 128 thousandths of a byte, the error suggests `128Mi`. For `4GB`, it
/// suggests `4G`.
fn parse_bytes(text: &str) -> Result<MemoryBytes, AmountError<MemoryBytes>> {
    text.parse().map_err(|error| {
        if let Some(Ok(bytes)) = text.strip_suffix('B').map(str::parse::<MemoryBytes>) {
            let corrected = shorten(text.trim_end_matches('B'));
            let message =
                format!("`{}` has an unknown suffix; bytes are not written: `{corrected}`", shorten(text));
            return AmountError { message, suggestion: Suggestion::Near(bytes) };
        }
        let millis = text.strip_suffix('m').filter(|_| error == QuantityError::TooFine);
        let mebibytes = millis.map(|number| format!("{number}Mi"));
        match mebibytes.as_deref().map(str::parse::<MemoryBytes>) {
            Some(Ok(bytes)) => AmountError {
                message: format!(
                    "`{}` is {} byte, since `m` stands for thousandths; mebibytes are written `{}`",
                    shorten(text),
                    millis.and_then(format_thousandths).unwrap_or_else(|| "a fraction of a".to_owned()),
                    shorten(mebibytes.as_deref().unwrap_or_default()),
                ),
                suggestion: Suggestion::Near(bytes),
            },
            _ => quantity_error(text, error, 0, "a byte", MemoryBytes::new),
        }
    })
}

/// Formats a whole number of thousandths as a decimal.
fn format_thousandths(number: &str) -> Option<String> {
    number.parse::<u64>().ok().map(|n| crate::units::decimal(n, 3).to_string())
}

impl Checker<'_> {
    /// Checks one amount of the spec against its bounds.
    pub(super) fn check_amount<T: Ord + Copy + Display>(
        &mut self,
        spec: &AmountSpec<T>,
        scalar: Option<&RawScalar>,
        bounds: &Bounds<T>,
        class: Option<&ClassName>,
    ) -> Amount<T> {
        let Some(scalar) = scalar else {
            if self.has_parse_violation(spec.path) {
                return Amount::UNKNOWN;
            }
            let Some(default) = &bounds.default else {
                let message = format!("the policy sets no default for `{}`: say how much", spec.noun);
                self.report_missing(spec.path, &message);
                return Amount::UNKNOWN;
            };
            return self.check_bounds(spec, default.value, None, bounds, class);
        };
        match (spec.parse)(scalar.as_str()) {
            Ok(value) => self.check_bounds(spec, value, Some(scalar), bounds, class),
            Err(AmountError { message, suggestion }) => {
                let fixed = match suggestion {
                    Suggestion::Unknown => None,
                    Suggestion::Min => bounds.clamp(bounds.min.value),
                    Suggestion::Max => bounds.clamp(bounds.max.value),
                    Suggestion::Near(value) => bounds.clamp(value),
                };
                let violation = Violation::new(Code::InvalidQuantity, spec.path, message);
                let violation = violation.requested(scalar.to_json());
                let violation = with_range(spec, violation, bounds);
                self.report(violation.fix(fixed.map(spec.to_json)));
                Amount { value: None, fixed }
            }
        }
    }

    fn check_bounds<T: Ord + Copy + Display>(
        &mut self,
        spec: &AmountSpec<T>,
        value: T,
        scalar: Option<&RawScalar>,
        bounds: &Bounds<T>,
        class: Option<&ClassName>,
    ) -> Amount<T> {
        // Compare with the maximum first. If a quota lowers the maximum below the class's minimum, the
        // violation must name the quota.
        let (code, bound, side) = if value > bounds.max.value {
            (spec.above_max, &bounds.max, "above the maximum")
        } else if value < bounds.min.value {
            (spec.below_min, &bounds.min, "below the minimum")
        } else {
            return Amount { value: Some(value), fixed: Some(value) };
        };
        let class_suffix = class.map(|class| format!(" for class `{class}`")).unwrap_or_default();
        let mut message = format!("{} {value} is {side} of {}{class_suffix}", spec.noun, bound.value);
        if code == spec.above_max
            && let Some(alternatives) = self.classes_allowing(spec, value, class)
        {
            message.push_str(&format!("; {alternatives} would allow it"));
        }
        let requested = scalar.map_or(Json::Null, RawScalar::to_json);
        let violation = Violation::new(code, spec.path, message).requested(requested);
        let violation = with_range(spec, violation, bounds);
        let fixed = bounds.clamp(value);
        self.report(violation.policy(&*bound.source).fix(fixed.map(spec.to_json)));
        Amount { value: Some(value), fixed }
    }

    /// Returns the names of at most three other classes that allow this value, as a part of a message.
    fn classes_allowing<T: Ord + Copy>(
        &self,
        spec: &AmountSpec<T>,
        value: T,
        class: Option<&ClassName>,
    ) -> Option<String> {
        let tenant = self.input.tenant.or(self.input.spec.tenant.as_deref());
        let allows = |name: &&ClassName| {
            Some(*name) != class
                && self.policy.limits_once(tenant, name.as_str()).is_some_and(|limits| {
                    let bounds = (spec.bounds)(&limits);
                    (bounds.min.value..=bounds.max.value).contains(&value)
                })
        };
        let names: Vec<_> =
            self.policy.classes().filter(allows).take(3).map(|name| format!("`{name}`")).collect();
        match names.as_slice() {
            [] => None,
            [name] => Some(format!("class {name}")),
            many => Some(format!("classes {}", many.join(", "))),
        }
    }

    /// Checks the shared memory, which counts towards the memory of the job. `memory` is the memory after its
    /// fix is applied. Returns `None` if the shared memory cannot be parsed, and `Some(None)` if the job does
    /// not set it.
    #[expect(clippy::option_option, reason = "outer: valid or not; inner: set or not")]
    pub(super) fn check_shm(&mut self, memory: Option<MemoryBytes>) -> Option<Option<MemoryBytes>> {
        const PATH: &str = "/resources/shm";
        let Some(scalar) = &self.input.spec.resources.shm else {
            return (!self.has_parse_violation(PATH)).then_some(None);
        };
        let shm = match parse_bytes(scalar.as_str()) {
            Ok(shm) => shm,
            Err(AmountError { message, suggestion }) => {
                let fix = match (suggestion, memory) {
                    (Suggestion::Near(value), Some(most)) => Some(value.min(most)),
                    (Suggestion::Max, Some(most)) => Some(most),
                    (Suggestion::Min, _) => Some(MemoryBytes::ZERO),
                    _ => None,
                };
                let violation =
                    Violation::new(Code::InvalidQuantity, PATH, message).requested(scalar.to_json());
                self.report(violation.fix(fix.map(to_json_string)));
                return None;
            }
        };
        if let Some(most) = memory
            && shm > most
        {
            let message = format!("shared memory {shm} is more than the memory {most} that it counts within");
            let violation = Violation::new(Code::ShmAboveMemory, PATH, message).requested(scalar.to_json());
            self.report(violation.range("0", most.to_string()).fix(most.to_string()));
        }
        Some(Some(shm))
    }
}
