//! Resolves the layers of a policy: base, class, tenant, and the tenant's bounds for a class.
//!
//! - The bounds of a class replace those of the base, field by field.
//! - The bounds of a tenant outside `classes` can only narrow these bounds.
//! - The bounds of a tenant for a class replace the result, again field by field.
//!
//! Every resolved value keeps the policy path that it comes from. If a layer sets a default outside the
//! bounds resolved up to this layer, the policy is rejected. An inherited default is clamped into the bounds.

use super::file::{BoundLayer, LimitsLayer, Network};
use crate::code::Code;
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds};
use crate::violation::{MAX_VIOLATIONS, Violation};
use std::fmt::Display;
use std::sync::{Arc, LazyLock};

/// A value with the policy path that it comes from, such as `classes.gpu.cpu.max`, or `built-in default`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WithSource<T> {
    /// The value.
    pub value: T,
    /// The policy path. The JSON key is `policy`.
    #[serde(rename = "policy", serialize_with = "serialize_str")]
    pub source: Arc<str>,
}

fn serialize_str<S: serde::Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(path)
}

impl<T> WithSource<T> {
    pub(crate) fn new(value: T, source: impl Into<Arc<str>>) -> Self {
        Self { value, source: source.into() }
    }

    /// Maps the value and keeps its policy path.
    #[must_use]
    pub fn map<U>(&self, make: impl FnOnce(&T) -> U) -> WithSource<U> {
        WithSource { value: make(&self.value), source: Arc::clone(&self.source) }
    }
}

/// The inclusive bounds of one quantity, with its default.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Bounds<T> {
    /// The minimum.
    pub min: WithSource<T>,
    /// The maximum.
    pub max: WithSource<T>,
    /// Value used if the job does not set the field; `None` if the job must set it.
    pub default: Option<WithSource<T>>,
}

impl<T: Ord + Copy> Bounds<T> {
    /// Clamps `value` into the bounds; `None` if the minimum is above the maximum.
    pub(crate) fn clamp(&self, value: T) -> Option<T> {
        (self.min.value <= self.max.value).then(|| value.clamp(self.min.value, self.max.value))
    }

    /// Clamps an inherited default into the bounds.
    fn clamp_default(mut self) -> Self {
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
    /// CPU, in thousandths of a core.
    pub cpu: Bounds<CpuMillis>,
    /// Memory in bytes.
    pub memory: Bounds<MemoryBytes>,
    /// Scratch space and logs, in bytes.
    pub ephemeral_storage: Bounds<MemoryBytes>,
    /// Number of whole GPUs. The maximum is the least of the layers' maximum, the tenant's quota and the
    /// capacity.
    pub gpu: Bounds<GpuCount>,
    /// The time from the start to the end of the job, retries included.
    pub timeout: Bounds<Seconds>,
    /// Number of retries after a failed attempt.
    pub retries: Bounds<u32>,
    /// The networks that a job may choose. The first is the default.
    pub network: WithSource<Vec<Network>>,
}

/// One layer of bounds with its policy path.
pub(super) struct Layer<'a> {
    pub limits: &'a LimitsLayer,
    /// The policy path of the layer, such as `classes.gpu`.
    pub prefix: String,
    pub only_narrows: bool,
}

/// The source of a value that no layer sets. The bounds of all tenants and classes share it.
static BUILT_IN_SOURCE: LazyLock<Arc<str>> = LazyLock::new(|| "built-in default".into());

fn built_in<T>(value: T) -> WithSource<T> {
    WithSource::new(value, Arc::clone(&BUILT_IN_SOURCE))
}

/// Resolves the layers to bounds. The layer of the base comes first.
pub(super) fn resolve(
    layers: &[Layer<'_>],
    gpu_caps: &[WithSource<GpuCount>],
    violations: &mut Vec<Violation>,
) -> Limits {
    let mut gpu = bounds(
        layers,
        "gpu",
        |l| &l.gpu,
        initial_bounds(GpuCount::ZERO, GpuCount::ZERO, GpuCount::ZERO),
        violations,
    );
    for cap in gpu_caps {
        if cap.value < gpu.max.value {
            gpu.max = cap.clone();
        }
    }
    let gpu = gpu.clamp_default();
    let gib = MemoryBytes::new(1 << 30);
    Limits {
        cpu: bounds(
            layers,
            "cpu",
            |l| &l.cpu,
            InitialBounds { min: CpuMillis::new(1), max: CpuMillis::ZERO, default: None },
            violations,
        ),
        memory: bounds(
            layers,
            "memory",
            |l| &l.memory,
            InitialBounds { min: MemoryBytes::new(1), max: MemoryBytes::ZERO, default: None },
            violations,
        ),
        ephemeral_storage: bounds(
            layers,
            "ephemeral_storage",
            |l| &l.ephemeral_storage,
            initial_bounds(MemoryBytes::new(1), gib, gib),
            violations,
        ),
        gpu,
        timeout: bounds(
            layers,
            "timeout",
            |l| &l.timeout,
            InitialBounds { min: Seconds::new(1), max: Seconds::ZERO, default: None },
            violations,
        ),
        retries: bounds(layers, "retries", |l| &l.retries, initial_bounds(0, 0, 0), violations),
        network: networks(layers, violations),
    }
}

struct InitialBounds<T> {
    min: T,
    max: T,
    default: Option<T>,
}

const fn initial_bounds<T>(min: T, max: T, default: T) -> InitialBounds<T> {
    InitialBounds { min, max, default: Some(default) }
}

fn bounds<T: Ord + Copy + Display>(
    layers: &[Layer<'_>],
    field: &str,
    bounds_of: impl Fn(&LimitsLayer) -> &BoundLayer<T>,
    initial: InitialBounds<T>,
    violations: &mut Vec<Violation>,
) -> Bounds<T> {
    let mut min = built_in(initial.min);
    let mut max = built_in(initial.max);
    let mut default = initial.default.map(built_in);
    for layer in layers {
        let layer_bounds = bounds_of(layer.limits);
        let policy_path = |bound: &str| format!("{}.{field}.{bound}", layer.prefix);
        if let Some(value) = layer_bounds.min
            && (!layer.only_narrows || value > min.value)
        {
            min = WithSource::new(value, policy_path("min"));
        }
        if let Some(value) = layer_bounds.max
            && (!layer.only_narrows || value < max.value)
        {
            max = WithSource::new(value, policy_path("max"));
        }
        if min.value > max.value {
            let message = format!(
                "the minimum {} ({}) is above the maximum {} ({})",
                min.value, min.source, max.value, max.source
            );
            let policy_path = if max.source.starts_with(&layer.prefix) { &max.source } else { &min.source };
            report_contradiction(violations, policy_path, message);
            return Bounds { min, max, default };
        }
        if let Some(value) = layer_bounds.default {
            if value < min.value || value > max.value {
                let message = format!(
                    "the default {value} is outside its bounds, {} ({}) to {} ({})",
                    min.value, min.source, max.value, max.source
                );
                report_contradiction(violations, &policy_path("default"), message);
            }
            default = Some(WithSource::new(value, policy_path("default")));
        }
    }
    Bounds { min, max, default }.clamp_default()
}

fn networks(layers: &[Layer<'_>], violations: &mut Vec<Violation>) -> WithSource<Vec<Network>> {
    let mut allowed = built_in(vec![Network::None]);
    for layer in layers {
        let Some(layer_networks) = &layer.limits.network else {
            continue;
        };
        let policy_path = format!("{}.network", layer.prefix);
        let mut value = layer_networks.clone();
        if layer.only_narrows {
            let inherited = &allowed.value;
            value = inherited.iter().copied().filter(|network| layer_networks.contains(network)).collect();
        }
        if value.is_empty() {
            report_contradiction(
                violations,
                &policy_path,
                format!("none of these networks is allowed by {}", allowed.source),
            );
        } else if value != allowed.value || !layer.only_narrows {
            allowed = WithSource::new(value, policy_path);
        }
    }
    allowed
}

/// Reports a contradiction, unless the same one has been reported for another tenant or class.
pub(super) fn report_contradiction(violations: &mut Vec<Violation>, policy_path: &str, message: String) {
    let violation = Violation::new(Code::PolicyContradiction, policy_path_pointer(policy_path), message)
        .policy(policy_path);
    // One more than the maximum shows that there are more. The search for duplicates stays short.
    if violations.len() <= MAX_VIOLATIONS && !violations.contains(&violation) {
        violations.push(violation);
    }
}

/// Returns the JSON pointer of a policy path. The function replaces each dot by a slash, because the names in
/// a policy path contain no dots.
#[must_use]
pub fn policy_path_pointer(path: &str) -> String {
    format!("/{}", path.replace('.', "/"))
}
