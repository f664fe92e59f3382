//! Checks CPU, memory, storage, GPUs, timeout and retries against their bounds.

use super::Checker;
use crate::code::Code;
use crate::name::ClassName;
use crate::policy::{Bounds, Limits};
use crate::reader::shortened;
use crate::spec::Written;
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Quantity, QuantityError, Seconds};
use crate::violation::Violation;
use serde_json::Value as Json;
use std::fmt::Display;

/// The definition of one amount: its field, its parser, its JSON form, its bounds and its violation codes.
pub(super) struct Kind<T> {
    pub(super) path: &'static str,
    noun: &'static str,
    parse: fn(&str) -> Result<T, Fault<T>>,
    json: fn(T) -> Json,
    below: Code,
    above: Code,
    bounds: for<'a> fn(&'a Limits) -> &'a Bounds<T>,
}

/// The error of an amount that cannot be parsed, and what the author probably meant.
pub(super) struct Fault<T> {
    message: String,
    meant: Meant<T>,
}

enum Meant<T> {
    /// There is no suggestion.
    Unknown,
    /// The value is below every bound, so suggest the minimum.
    Least,
    /// The value is above every bound, so suggest the maximum.
    Most,
    /// Suggest the nearest value within the bounds.
    About(T),
}

/// Adds the bounds to a violation as the allowed range, unless the minimum is above the maximum.
fn within_bounds<T: Ord + Copy>(kind: &Kind<T>, violation: Violation, bounds: &Bounds<T>) -> Violation {
    let (min, max) = (bounds.min.value, bounds.max.value);
    if min <= max { violation.range((kind.json)(min), (kind.json)(max)) } else { violation }
}

/// The result of checking an amount.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount<T> {
    /// The value in the spec, or the default; `None` if it is invalid or missing.
    pub value: Option<T>,
    /// The value after the fix is applied; `None` if there is no fix.
    pub fixed: Option<T>,
}

impl<T> Amount<T> {
    const UNKNOWN: Self = Self { value: None, fixed: None };
}

fn as_text<T: Display>(value: T) -> Json {
    value.to_string().into()
}

pub(super) const CPU: Kind<CpuMillis> = Kind {
    path: "/resources/cpu",
    noun: "cpu",
    parse: |text| {
        text.parse().map_err(|error| quantity_fault(text, error, 3, "a thousandth of a core", CpuMillis::new))
    },
    json: as_text,
    below: Code::CpuBelowMin,
    above: Code::CpuAboveMax,
    bounds: |limits| &limits.cpu,
};

pub(super) const MEMORY: Kind<MemoryBytes> = Kind {
    path: "/resources/memory",
    noun: "memory",
    parse: parse_bytes,
    json: as_text,
    below: Code::MemoryBelowMin,
    above: Code::MemoryAboveMax,
    bounds: |limits| &limits.memory,
};

pub(super) const EPHEMERAL_STORAGE: Kind<MemoryBytes> = Kind {
    path: "/resources/ephemeral_storage",
    noun: "ephemeral_storage",
    parse: parse_bytes,
    json: as_text,
    below: Code::EphemeralStorageBelowMin,
    above: Code::EphemeralStorageAboveMax,
    bounds: |limits| &limits.ephemeral_storage,
};

pub(super) const GPU: Kind<GpuCount> = Kind {
    path: "/resources/gpu",
    noun: "gpu",
    parse: |text| {
        text.parse()
            .map_err(|error| quantity_fault(text, error, 0, "one GPU; GPUs are not shared", GpuCount::new))
    },
    json: |gpus| gpus.units().into(),
    below: Code::GpuBelowMin,
    above: Code::GpuAboveMax,
    bounds: |limits| &limits.gpu,
};

pub(super) const TIMEOUT: Kind<Seconds> = Kind {
    path: "/timeout",
    noun: "timeout",
    parse: |text| {
        use crate::units::DurationError as E;
        text.parse().map_err(|error| Fault {
            message: format!("`{}` {error}", shortened(text)),
            meant: match error {
                E::Malformed => Meant::Unknown,
                E::Negative => Meant::Least,
                E::TooFine => Seconds::nearest(text).map_or(Meant::Unknown, Meant::About),
                E::TooLarge => Meant::Most,
            },
        })
    },
    json: as_text,
    below: Code::TimeoutBelowMin,
    above: Code::TimeoutAboveMax,
    bounds: |limits| &limits.timeout,
};

pub(super) const RETRIES: Kind<u32> = Kind {
    path: "/retries",
    noun: "retries",
    parse: |text| {
        let whole = |units| u32::try_from(units).unwrap_or(u32::MAX);
        match text.parse::<GpuCount>() {
            Ok(count) => Ok(whole(count.units())),
            Err(error) => Err(quantity_fault(text, error, 0, "one; retries are counted whole", whole)),
        }
    },
    json: Json::from,
    below: Code::InvalidQuantity,
    above: Code::RetriesAboveMax,
    bounds: |limits| &limits.retries,
};

/// Returns the message and the suggestion for a text that is not a quantity in the given unit.
fn quantity_fault<T>(
    text: &str,
    error: QuantityError,
    decimals: u8,
    unit: &str,
    make: fn(u64) -> T,
) -> Fault<T> {
    let written = shortened(text);
    let message = match error {
        QuantityError::TooFine => format!("`{written}` is finer than {unit}"),
        error => format!("`{written}` {error}"),
    };
    let meant = match error {
        QuantityError::Negative => Meant::Least,
        QuantityError::TooLarge => Meant::Most,
        QuantityError::TooFine => text
            .parse::<Quantity>()
            .ok()
            .and_then(|quantity| quantity.nearest_in_units_of(decimals))
            .map_or(Meant::Unknown, |units| Meant::About(make(units))),
        QuantityError::Empty
        | QuantityError::NotANumber
        | QuantityError::UnknownSuffix
        | QuantityError::BadExponent => Meant::Unknown,
    };
    Fault { message, meant }
}

/// Parses bytes. For `128m`, which means 128 thousandths of a byte, the error suggests `128Mi`.
fn parse_bytes(text: &str) -> Result<MemoryBytes, Fault<MemoryBytes>> {
    text.parse().map_err(|error| {
        if let Some(Ok(bytes)) = text.strip_suffix('B').map(str::parse::<MemoryBytes>) {
            let without = shortened(text.trim_end_matches('B'));
            let message =
                format!("`{}` has an unknown suffix; bytes are not written: `{without}`", shortened(text));
            return Fault { message, meant: Meant::About(bytes) };
        }
        let slip = text.strip_suffix('m').filter(|_| error == QuantityError::TooFine);
        let meant = slip.map(|number| format!("{number}Mi"));
        match meant.as_deref().map(str::parse::<MemoryBytes>) {
            Some(Ok(bytes)) => Fault {
                message: format!(
                    "`{}` is {} byte, since `m` stands for thousandths; mebibytes are written `{}`",
                    shortened(text),
                    slip.and_then(thousandths).unwrap_or_else(|| "a fraction of a".to_owned()),
                    shortened(meant.as_deref().unwrap_or_default()),
                ),
                meant: Meant::About(bytes),
            },
            _ => quantity_fault(text, error, 0, "a byte", MemoryBytes::new),
        }
    })
}

/// Formats a whole number of thousandths as a decimal.
fn thousandths(number: &str) -> Option<String> {
    number.parse::<u64>().ok().map(|n| crate::units::decimal(n, 3).to_string())
}

impl Checker<'_> {
    /// Checks one amount of the spec against its bounds.
    pub(super) fn amount<T: Ord + Copy + Display>(
        &mut self,
        kind: &Kind<T>,
        written: Option<&Written>,
        bounds: &Bounds<T>,
        class: Option<&ClassName>,
    ) -> Amount<T> {
        let Some(written) = written else {
            if self.is_faulty(kind.path) {
                return Amount::UNKNOWN;
            }
            let Some(default) = &bounds.default else {
                let message = format!("the policy sets no default for `{}`: say how much", kind.noun);
                self.missing(kind.path, &message);
                return Amount::UNKNOWN;
            };
            return self.within(kind, default.value, None, bounds, class);
        };
        match (kind.parse)(written.as_str()) {
            Ok(value) => self.within(kind, value, Some(written), bounds, class),
            Err(Fault { message, meant }) => {
                let fixed = match meant {
                    Meant::Unknown => None,
                    Meant::Least => bounds.clamp(bounds.min.value),
                    Meant::Most => bounds.clamp(bounds.max.value),
                    Meant::About(value) => bounds.clamp(value),
                };
                let violation = Violation::new(Code::InvalidQuantity, kind.path, message);
                let violation = violation.requested(written.to_json());
                let violation = within_bounds(kind, violation, bounds);
                self.report(violation.fix(fixed.map(kind.json)));
                Amount { value: None, fixed }
            }
        }
    }

    fn within<T: Ord + Copy + Display>(
        &mut self,
        kind: &Kind<T>,
        value: T,
        written: Option<&Written>,
        bounds: &Bounds<T>,
        class: Option<&ClassName>,
    ) -> Amount<T> {
        // Compare with the maximum first. If a quota lowers the maximum below the class's minimum, the
        // violation must name the quota.
        let (code, bound, side) = if value > bounds.max.value {
            (kind.above, &bounds.max, "above the maximum")
        } else if value < bounds.min.value {
            (kind.below, &bounds.min, "below the minimum")
        } else {
            return Amount { value: Some(value), fixed: Some(value) };
        };
        let place = class.map(|class| format!(" for class `{class}`")).unwrap_or_default();
        let mut message = format!("{} {value} is {side} of {}{place}", kind.noun, bound.value);
        if code == kind.above
            && let Some(roomier) = self.classes_allowing(kind, value, class)
        {
            message.push_str(&format!("; {roomier} would allow it"));
        }
        let requested = written.map_or(Json::Null, Written::to_json);
        let violation = Violation::new(code, kind.path, message).requested(requested);
        let violation = within_bounds(kind, violation, bounds);
        let fixed = bounds.clamp(value);
        self.report(violation.policy(&*bound.from).fix(fixed.map(kind.json)));
        Amount { value: Some(value), fixed }
    }

    /// Returns the other classes that allow this value, as a part of a message. Returns at most three.
    fn classes_allowing<T: Ord + Copy>(
        &self,
        kind: &Kind<T>,
        value: T,
        class: Option<&ClassName>,
    ) -> Option<String> {
        let tenant = self.subject.tenant.or(self.subject.spec.tenant.as_deref());
        let allows = |name: &&ClassName| {
            Some(*name) != class
                && self.policy.limits(tenant, Some(name.as_str())).is_some_and(|limits| {
                    let bounds = (kind.bounds)(limits);
                    (bounds.min.value..=bounds.max.value).contains(&value)
                })
        };
        let names: Vec<_> =
            self.policy.classes().filter(allows).take(3).map(|name| format!("`{name}`")).collect();
        match names.as_slice() {
            [] => None,
            [one] => Some(format!("class {one}")),
            several => Some(format!("classes {}", several.join(", "))),
        }
    }

    /// Checks the shared memory, which is a part of the memory. `memory` is the memory that the job has after
    /// its fixes are applied.
    #[expect(clippy::option_option, reason = "outer: valid or not; inner: set or not")]
    pub(super) fn shm(&mut self, most: Option<MemoryBytes>) -> Option<Option<MemoryBytes>> {
        const PATH: &str = "/resources/shm";
        let Some(written) = &self.subject.spec.resources.shm else {
            return (!self.is_faulty(PATH)).then_some(None);
        };
        let shm = match parse_bytes(written.as_str()) {
            Ok(shm) => shm,
            Err(Fault { message, meant }) => {
                let fix = match (meant, most) {
                    (Meant::About(value), Some(most)) => Some(value.min(most)),
                    (Meant::Most, Some(most)) => Some(most),
                    (Meant::Least, _) => Some(MemoryBytes::ZERO),
                    _ => None,
                };
                let violation =
                    Violation::new(Code::InvalidQuantity, PATH, message).requested(written.to_json());
                self.report(violation.fix(fix.map(as_text)));
                return None;
            }
        };
        if let Some(most) = most
            && shm > most
        {
            let message = format!("shared memory {shm} is more than the memory {most} that it counts within");
            let violation = Violation::new(Code::ShmAboveMemory, PATH, message).requested(written.to_json());
            self.report(violation.range("0", most.to_string()).fix(most.to_string()));
        }
        Some(Some(shm))
    }
}
