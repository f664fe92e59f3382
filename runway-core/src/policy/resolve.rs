//! Resolves the layers of a policy: base, class, tenant, and the tenant's bounds for a class.
//!
//! - The bounds of a class replace those of the base, field by field.
//! - The bounds of a tenant outside `classes` can only narrow the bounds.
//! - The bounds of a tenant for a class replace the result, again field by field.
//!
//! Every resolved value keeps the policy path that it comes from. If a layer sets a default outside its
//! bounds, the policy is rejected. An inherited default is clamped into the bounds.

use super::file::{BoundLayer, LimitsLayer, Network};
use crate::code::Code;
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds};
use crate::violation::Violation;
use std::fmt::Display;
use std::sync::Arc;

/// A value with the policy path that it comes from, such as `classes.gpu.cpu.max`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// The policy path. The JSON key is `policy`.
    #[serde(rename = "policy", serialize_with = "as_str")]
    pub from: Arc<str>,
}

fn as_str<S: serde::Serializer>(line: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(line)
}

impl<T> Sourced<T> {
    pub(crate) fn new(value: T, from: impl Into<Arc<str>>) -> Self {
        Self { value, from: from.into() }
    }

    /// Maps the value and keeps its policy path.
    #[must_use]
    pub fn map<U>(&self, make: impl FnOnce(&T) -> U) -> Sourced<U> {
        Sourced { value: make(&self.value), from: Arc::clone(&self.from) }
    }
}

/// The inclusive bounds of one quantity, with its default.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bounds<T> {
    /// The minimum.
    pub min: Sourced<T>,
    /// The maximum.
    pub max: Sourced<T>,
    /// Value used if the job does not set the field; `None` if the job must set it.
    pub default: Option<Sourced<T>>,
}

impl<T: Ord + Copy> Bounds<T> {
    /// Clamps `value` into the bounds; `None` if the minimum is above the maximum.
    pub(crate) fn clamp(&self, value: T) -> Option<T> {
        (self.min.value <= self.max.value).then(|| value.clamp(self.min.value, self.max.value))
    }

    /// Clamps an inherited default into the bounds.
    fn with_default_inside(mut self) -> Self {
        let Some(default) = &mut self.default else {
            return self;
        };
        if default.value > self.max.value {
            *default = self.max.clone();
        }
        if default.value < self.min.value {
            *default = self.min.clone();
        }
        self
    }
}

/// The bounds of a tenant's jobs in a class.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Cores, in thousandths.
    pub cpu: Bounds<CpuMillis>,
    /// Bytes of memory.
    pub memory: Bounds<MemoryBytes>,
    /// Bytes of scratch space and logs.
    pub ephemeral_storage: Bounds<MemoryBytes>,
    /// GPUs. The maximum is the least of the layers' maximum, the tenant's quota and the capacity.
    pub gpu: Bounds<GpuCount>,
    /// Time from the start to the end of the job, retries included.
    pub timeout: Bounds<Seconds>,
    /// Number of retries after a failed attempt.
    pub retries: Bounds<u32>,
    /// The networks that a job may choose. The first is the default.
    pub network: Sourced<Vec<Network>>,
}

/// One layer of bounds with its policy path.
pub(super) struct Layer<'a> {
    pub limits: &'a LimitsLayer,
    /// The policy path of the layer, such as `classes.gpu`.
    pub prefix: String,
    pub narrows: bool,
}

/// The source of a value that no layer sets.
const BUILT_IN: &str = "built-in default";

/// Resolves the layers. The base is the first.
pub(super) fn resolve(
    layers: &[Layer<'_>],
    gpu_ceilings: &[Sourced<GpuCount>],
    faults: &mut Vec<Violation>,
) -> Limits {
    let mut gpu =
        bounds(layers, "gpu", |l| &l.gpu, built_in(GpuCount::ZERO, GpuCount::ZERO, GpuCount::ZERO), faults);
    for ceiling in gpu_ceilings {
        if ceiling.value < gpu.max.value {
            gpu.max = ceiling.clone();
        }
    }
    let gpu = gpu.with_default_inside();
    let gib = MemoryBytes::new(1 << 30);
    Limits {
        cpu: bounds(
            layers,
            "cpu",
            |l| &l.cpu,
            Start { min: CpuMillis::new(1), max: CpuMillis::ZERO, default: None },
            faults,
        ),
        memory: bounds(
            layers,
            "memory",
            |l| &l.memory,
            Start { min: MemoryBytes::new(1), max: MemoryBytes::ZERO, default: None },
            faults,
        ),
        ephemeral_storage: bounds(
            layers,
            "ephemeral_storage",
            |l| &l.ephemeral_storage,
            built_in(MemoryBytes::new(1), gib, gib),
            faults,
        ),
        gpu,
        timeout: bounds(
            layers,
            "timeout",
            |l| &l.timeout,
            Start { min: Seconds::new(1), max: Seconds::ZERO, default: None },
            faults,
        ),
        retries: bounds(layers, "retries", |l| &l.retries, built_in(0, 0, 0), faults),
        network: networks(layers, faults),
    }
}

struct Start<T> {
    min: T,
    max: T,
    default: Option<T>,
}

const fn built_in<T>(min: T, max: T, default: T) -> Start<T> {
    Start { min, max, default: Some(default) }
}

fn bounds<T: Ord + Copy + Display>(
    layers: &[Layer<'_>],
    field: &str,
    pick: impl Fn(&LimitsLayer) -> &BoundLayer<T>,
    start: Start<T>,
    faults: &mut Vec<Violation>,
) -> Bounds<T> {
    let mut min = Sourced::new(start.min, BUILT_IN);
    let mut max = Sourced::new(start.max, BUILT_IN);
    let mut default = start.default.map(|value| Sourced::new(value, BUILT_IN));
    for layer in layers {
        let written = pick(layer.limits);
        let line = |end: &str| format!("{}.{field}.{end}", layer.prefix);
        if let Some(value) = written.min
            && (!layer.narrows || value > min.value)
        {
            min = Sourced::new(value, line("min"));
        }
        if let Some(value) = written.max
            && (!layer.narrows || value < max.value)
        {
            max = Sourced::new(value, line("max"));
        }
        if min.value > max.value {
            let message = format!(
                "the minimum {} ({}) is above the maximum {} ({})",
                min.value, min.from, max.value, max.from
            );
            let at = if max.from.starts_with(&layer.prefix) { &max.from } else { &min.from };
            contradiction(faults, at, message);
            return Bounds { min, max, default };
        }
        if let Some(value) = written.default {
            if value < min.value || value > max.value {
                let message = format!(
                    "the default {value} is outside its bounds, {} ({}) to {} ({})",
                    min.value, min.from, max.value, max.from
                );
                contradiction(faults, &line("default"), message);
            }
            default = Some(Sourced::new(value, line("default")));
        }
    }
    Bounds { min, max, default }.with_default_inside()
}

fn networks(layers: &[Layer<'_>], faults: &mut Vec<Violation>) -> Sourced<Vec<Network>> {
    let mut allowed = Sourced::new(vec![Network::None], BUILT_IN);
    for layer in layers {
        let Some(written) = &layer.limits.network else {
            continue;
        };
        let line = format!("{}.network", layer.prefix);
        let mut value = written.clone();
        if layer.narrows {
            let before = &allowed.value;
            value = before.iter().copied().filter(|network| written.contains(network)).collect();
        }
        if value.is_empty() {
            contradiction(
                faults,
                &line,
                format!("none of these networks is allowed by {}", allowed.from),
            );
        } else if value != allowed.value || !layer.narrows {
            allowed = Sourced::new(value, line);
        }
    }
    allowed
}

/// Reports a contradiction, unless the same one has been reported for another tenant or class.
pub(super) fn contradiction(faults: &mut Vec<Violation>, line: &str, message: String) {
    let fault = Violation::new(Code::PolicyContradiction, line_pointer(line), message).policy(line);
    if !faults.contains(&fault) {
        faults.push(fault);
    }
}

/// Returns the JSON pointer of a policy path. Names in a policy path contain no dots.
#[must_use]
pub fn line_pointer(line: &str) -> String {
    format!("/{}", line.replace('.', "/"))
}
