//! The policy: bounds, prices and limits of jobs. One file is parsed, checked and resolved before any
//! decision.

mod fields;
mod file;
mod formats;
mod resolve;
mod section;
mod values;

pub use fields::FIELDS;
pub(crate) use fields::schema;
pub use file::{Capacity, Cidr, GpuType, ImagePullPolicy, Network, Quota, RunSettings, UnknownTenants};
pub use resolve::{Bounds, Limits, WithSource, policy_path_pointer};

use crate::code::Code;
use crate::decoder::Decoder;
use crate::digest::Digest;
use crate::document::{Document, parse_all};
use crate::image::ImageRef;
use crate::name::{ClassName, Tenant};
use crate::price::{Amounts, Quote, UnitPrices};
use crate::rate::RateLimit;
use crate::units::{GpuCount, MoneyError, UnitPrice};
use crate::violation::Violation;
use file::{InternalNetwork, LimitsLayer, PolicyFile, TenantLayer};
use resolve::{Layer, report_contradiction, resolve};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A complete policy without contradictions.
///
/// ```
/// use runway_core::{Policy, policy::PriceOverrides};
///
/// let policy = Policy::parse(
///     b"version: 1
/// limits:
///   cpu: {max: '4', default: 500m}
///   memory: {max: 8Gi, default: 512Mi}
///   timeout: {max: 1h, default: 10m}
/// rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
/// ",
///     PriceOverrides::default(),
/// )?;
/// let limits = policy.limits(None, None).ok_or("unknown class")?;
/// assert_eq!(limits.cpu.max.value.to_string(), "4");
/// assert_eq!(&*limits.cpu.max.source, "limits.cpu.max");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Policy {
    file: PolicyFile,
    digest: Digest,
    unlisted: TenantPolicy,
    listed: BTreeMap<Tenant, TenantPolicy>,
}

/// The resolved policy of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TenantPolicy {
    /// The GPU quota.
    pub gpus: WithSource<GpuCount>,
    /// The quota of concurrent jobs.
    pub concurrent_jobs: WithSource<u32>,
    /// The rate limit of submissions.
    pub rate_limit: WithSource<RateLimit>,
    /// The address ranges of the network `internal`.
    pub internal_cidrs: WithSource<Vec<Cidr>>,
    #[serde(skip)]
    base: Arc<Limits>,
    #[serde(skip)]
    classes: Arc<BTreeMap<ClassName, Limits>>,
}

/// Prices that replace those of the policy file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PriceOverrides {
    /// Replaces `rates.usd_per_cpu_second`.
    pub usd_per_cpu_second: Option<UnitPrice>,
    /// Replaces `rates.usd_per_gb_second`.
    pub usd_per_gb_second: Option<UnitPrice>,
    /// Replaces `rates.usd_per_gpu_second`, the price of a GPU without a type.
    pub usd_per_gpu_second: Option<UnitPrice>,
}

/// An environment variable for a price has an invalid value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {name} is `{value}`, which {source}")]
pub struct PriceVariableError {
    /// The name of the variable.
    pub name: &'static str,
    /// The value of the variable.
    pub value: String,
    /// The error of the value.
    #[source]
    pub source: MoneyError,
}

impl PriceOverrides {
    /// Returns the overrides from `RUNWAY_USD_PER_CPU_SECOND`, `RUNWAY_USD_PER_GB_SECOND` and
    /// `RUNWAY_USD_PER_GPU_SECOND`. `variable` returns the value of an environment variable, if it is set.
    ///
    /// # Errors
    /// [`PriceVariableError`] if a value is not a price.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, PriceVariableError> {
        let unit_price = |name: &'static str| {
            let Some(value) = variable(name) else { return Ok(None) };
            value.parse().map(Some).map_err(|source| PriceVariableError { name, value, source })
        };
        Ok(Self {
            usd_per_cpu_second: unit_price("RUNWAY_USD_PER_CPU_SECOND")?,
            usd_per_gb_second: unit_price("RUNWAY_USD_PER_GB_SECOND")?,
            usd_per_gpu_second: unit_price("RUNWAY_USD_PER_GPU_SECOND")?,
        })
    }
}

/// The error of an invalid policy, with all its violations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid policy: {} {}", violations.len(), if violations.len() == 1 { "violation" } else { "violations" })]
pub struct PolicyError {
    /// All violations, at least one.
    pub violations: Vec<Violation>,
}

impl Policy {
    /// The source of the built-in policy, in YAML.
    ///
    /// It allows every image and every tenant, and has the classes `cpu_short`, `cpu_long` and `gpu`.
    /// Operators can start from it. Parse it to apply [`PriceOverrides`].
    pub const BUILTIN_SOURCE: &str = include_str!("builtin.yaml");

    /// Returns the built-in policy, which Runway uses if no policy file is given.
    ///
    /// ```
    /// let policy = runway_core::Policy::builtin();
    /// assert_eq!(policy.default_class().map(|class| class.as_str()), Some("cpu_long"));
    /// ```
    #[must_use]
    #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a constant, which the tests parse")]
    pub fn builtin() -> Self {
        Self::parse(Self::BUILTIN_SOURCE.as_bytes(), PriceOverrides::default())
            .expect("the built-in policy is valid")
    }

    /// Parses a policy from YAML or JSON.
    ///
    /// # Errors
    /// [`PolicyError`] with all violations if the policy is invalid.
    pub fn parse(source: &[u8], overrides: PriceOverrides) -> Result<Self, PolicyError> {
        let mut documents = parse_all(source);
        let first = if documents.is_empty() { None } else { Some(documents.swap_remove(0)) };
        match first {
            Some(Ok(document)) if documents.is_empty() => Self::from_document(&document, overrides),
            Some(Err(error)) => Err(PolicyError { violations: vec![(&error).into()] }),
            _ => {
                let message = "a policy must be a single document, but the file contains several";
                Err(PolicyError { violations: vec![Violation::new(Code::Syntax, "", message)] })
            }
        }
    }

    /// Parses a policy from a document.
    ///
    /// # Errors
    /// [`PolicyError`] with all violations if the policy is invalid.
    pub fn from_document(document: &Document, overrides: PriceOverrides) -> Result<Self, PolicyError> {
        let mut decoder = Decoder { reject_null: true, ..Decoder::default() };
        let file = fields::read(&mut decoder, &document.root);
        let mut violations = decoder.violations;
        match file {
            // Resolve only a file without violations. Missing values would cause contradictions that the
            // author did not write.
            Some(file) if violations.is_empty() => {
                let policy = Self::resolve(apply_overrides(file, overrides), &mut violations);
                if violations.is_empty() { Ok(policy) } else { Err(PolicyError { violations }) }
            }
            _ => Err(PolicyError { violations }),
        }
    }

    fn resolve(file: PolicyFile, violations: &mut Vec<Violation>) -> Self {
        check_references(&file, violations);
        let unlisted = resolve_tenant(&file, None, None, violations);
        let listed = file
            .tenants
            .iter()
            .map(|(tenant, layer)| {
                (tenant.clone(), resolve_tenant(&file, Some((tenant, layer)), Some(&unlisted), violations))
            })
            .collect();
        let digest = Digest::of_json(&serde_json::to_value(&file).unwrap_or_default());
        let policy = Self { file, digest, unlisted, listed };
        if violations.is_empty() {
            policy.check_prices(violations);
        }
        policy
    }

    /// Reports a contradiction if the most expensive job that the policy allows has a price that overflows.
    fn check_prices(&self, violations: &mut Vec<Violation>) {
        let max_gpu_type_price = self.file.gpu_types.values().map(|gpu| gpu.usd_per_gpu_second).max();
        let max_gpu_price = max_gpu_type_price.unwrap_or_default().max(self.file.rates.usd_per_gpu_second);
        for tenant_policy in self.listed.values().chain([&self.unlisted]) {
            for limits in tenant_policy.classes.values().chain([&*tenant_policy.base]) {
                let time = limits.timeout.max.value.saturating_add(self.file.run.termination_grace);
                let max_amounts = Amounts {
                    cpu: limits.cpu.max.value,
                    memory: limits.memory.max.value,
                    gpu: limits.gpu.max.value,
                };
                if Quote::new(max_amounts, &self.file.rates, max_gpu_price, time).is_none() {
                    let message = format!(
                        "a job with {} CPU, {} memory and {} GPUs for {} can cost more than the maximum price of 18 trillion USD",
                        max_amounts.cpu, max_amounts.memory, max_amounts.gpu, limits.timeout.max.value
                    );
                    report_contradiction(violations, &limits.timeout.max.source, message);
                }
            }
        }
    }

    /// Returns the digest of the canonical form, which includes price overrides.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the canonical form. It parses to a policy with the same digest.
    #[must_use]
    pub fn canonical(&self) -> impl serde::Serialize + '_ {
        &self.file
    }

    /// Returns the resolved policy of a tenant, whether the policy lists it or not.
    #[must_use]
    pub fn tenant_policy(&self, tenant: &str) -> &TenantPolicy {
        self.listed.get(tenant).unwrap_or(&self.unlisted)
    }

    /// Returns `true` if the policy lists the tenant.
    #[must_use]
    pub fn is_listed(&self, tenant: &str) -> bool {
        self.listed.contains_key(tenant)
    }

    /// Returns `true` if the policy accepts jobs of the tenant.
    #[must_use]
    pub fn accepts_tenant(&self, tenant: &str) -> bool {
        self.unknown_tenants() == UnknownTenants::Allow || self.is_listed(tenant)
    }

    /// Returns the tenants that the policy lists.
    pub fn listed_tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.listed.keys()
    }

    /// Returns the bounds of a class for a tenant; `None` if the class does not exist.
    ///
    /// Without a tenant, returns the bounds of an unlisted tenant. Without a class, returns the bounds of the
    /// default class, or the base bounds if there is no default class.
    #[must_use]
    pub fn limits(&self, tenant: Option<&str>, class: Option<&str>) -> Option<&Limits> {
        let tenant_policy = tenant.map_or(&self.unlisted, |tenant| self.tenant_policy(tenant));
        match class.or_else(|| self.default_class().map(ClassName::as_str)) {
            Some(class) => tenant_policy.classes.get(class),
            None => Some(&tenant_policy.base),
        }
    }

    /// Returns the class of jobs that do not set `class`.
    #[must_use]
    pub const fn default_class(&self) -> Option<&ClassName> {
        self.file.default_class.as_ref()
    }

    /// Returns the class with this name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&ClassName> {
        self.file.classes.get_key_value(name).map(|(name, _)| name)
    }

    /// Returns the names of all classes.
    pub fn classes(&self) -> impl Iterator<Item = &ClassName> {
        self.file.classes.keys()
    }

    /// Returns the GPU types by name.
    #[must_use]
    pub const fn gpu_types(&self) -> &BTreeMap<String, GpuType> {
        &self.file.gpu_types
    }

    /// Returns the GPU type of jobs that need GPUs and do not set `gpu_type`.
    #[must_use]
    pub fn default_gpu_type(&self) -> Option<&str> {
        self.file.default_gpu_type.as_deref()
    }

    /// Returns the unit prices of CPU, memory, and GPUs without a type.
    #[must_use]
    pub const fn unit_prices(&self) -> &UnitPrices {
        &self.file.rates
    }

    /// Returns the unit price of a GPU type, or of a GPU without a type.
    #[must_use]
    pub fn gpu_price(&self, gpu_type: Option<&str>) -> UnitPrice {
        gpu_type
            .and_then(|name| self.file.gpu_types.get(name))
            .map_or(self.file.rates.usd_per_gpu_second, |gpu| gpu.usd_per_gpu_second)
    }

    /// Returns the capacity: the limits for all tenants together.
    #[must_use]
    pub const fn capacity(&self) -> &Capacity {
        &self.file.capacity
    }

    /// Returns the settings for running jobs.
    #[must_use]
    pub const fn run_settings(&self) -> &RunSettings {
        &self.file.run
    }

    /// Returns the rule for tenants that the policy does not list.
    #[must_use]
    pub const fn unknown_tenants(&self) -> UnknownTenants {
        self.file.unknown_tenants
    }

    /// Returns `true` if the repository of the image matches an allowed pattern.
    #[must_use]
    pub fn allows_image(&self, image: &ImageRef) -> bool {
        self.file.images.allow.iter().any(|pattern| pattern.matches(image.repository()))
    }

    /// Returns the patterns of allowed images.
    pub fn image_patterns(&self) -> impl Iterator<Item = &str> {
        self.file.images.allow.iter().map(crate::image::ImagePattern::as_str)
    }

    /// Returns `true` if images must be named by digest.
    #[must_use]
    pub const fn requires_digest(&self) -> bool {
        self.file.images.require_digest
    }
}

fn apply_overrides(mut file: PolicyFile, overrides: PriceOverrides) -> PolicyFile {
    let prices = &mut file.rates;
    for (price, replacement) in [
        (&mut prices.usd_per_cpu_second, overrides.usd_per_cpu_second),
        (&mut prices.usd_per_gb_second, overrides.usd_per_gb_second),
        (&mut prices.usd_per_gpu_second, overrides.usd_per_gpu_second),
    ] {
        if let Some(replacement) = replacement {
            *price = replacement;
        }
    }
    file
}

/// Reports classes and GPU types that the policy uses but does not define, and invalid namespaces per tenant.
fn check_references(file: &PolicyFile, violations: &mut Vec<Violation>) {
    let class_names = || file.classes.keys().map(ClassName::as_str);
    let unknown_class = |path: String, class: &ClassName| {
        Violation::new(Code::UnknownClass, path, format!("`classes` has no class `{class}`"))
            .requested(class.as_str())
            .one_of(class_names())
            .fix(crate::text::nearest(class.as_str(), class_names()))
    };
    if let Some(class) = &file.default_class
        && !file.classes.contains_key(class)
    {
        violations.push(unknown_class("/default_class".to_owned(), class));
    }
    for (tenant, layer) in &file.tenants {
        for class in layer.classes.keys().filter(|class| !file.classes.contains_key(*class)) {
            let mut violation = unknown_class(format!("/tenants/{tenant}/classes/{class}"), class);
            violation.fix = serde_json::Value::Null; // the name is a key, not a value
            violations.push(violation);
        }
    }
    if let Some(gpu_type) = &file.default_gpu_type
        && !file.gpu_types.contains_key(gpu_type)
    {
        let names = || file.gpu_types.keys().map(String::as_str);
        let message = format!("`gpu_types` has no type `{}`", crate::decoder::shorten(gpu_type));
        violations.push(
            Violation::new(Code::UnknownGpuType, "/default_gpu_type", message)
                .requested(gpu_type.as_str())
                .one_of(names())
                .fix(crate::text::nearest(gpu_type, names())),
        );
    }
    if file.run.is_per_tenant() {
        if file.tenants.is_empty() || file.unknown_tenants == UnknownTenants::Allow {
            let message = "a namespace per tenant needs `tenants` and `unknown_tenants: deny`, because namespaces are created \
                           in advance";
            report_contradiction(violations, "run.namespace", message.to_owned());
        }
        for tenant in file.tenants.keys() {
            let namespace = file.run.namespace_of(tenant);
            if namespace.len() > Tenant::MAX_LENGTH {
                report_contradiction(
                    violations,
                    "run.namespace",
                    format!("`{namespace}` has more than 63 characters"),
                );
            }
        }
    }
}

fn resolve_tenant(
    file: &PolicyFile,
    tenant: Option<(&Tenant, &TenantLayer)>,
    shared: Option<&TenantPolicy>,
    violations: &mut Vec<Violation>,
) -> TenantPolicy {
    let policy_path = |rest: &str| match tenant {
        Some((name, _)) => format!("tenants.{name}.{rest}"),
        None => rest.to_owned(),
    };
    let tenant_layer = tenant.map(|(_, layer)| layer);
    let gpus = match tenant_layer.and_then(|layer| layer.quota.gpus) {
        Some(gpus) => WithSource::new(gpus, policy_path("quota.gpus")),
        None => WithSource::new(file.quota.gpus, "quota.gpus"),
    };
    let concurrent_jobs = match tenant_layer.and_then(|layer| layer.quota.concurrent_jobs) {
        Some(jobs) => WithSource::new(jobs, policy_path("quota.concurrent_jobs")),
        None => WithSource::new(file.quota.concurrent_jobs, "quota.concurrent_jobs"),
    };
    let rate_limit = match tenant_layer.and_then(|layer| layer.rate_limit) {
        Some(limit) => WithSource::new(limit, policy_path("rate_limit")),
        None => WithSource::new(file.rate_limit, "rate_limit"),
    };
    let cidrs = |network: &InternalNetwork| network.cidrs.clone();
    let internal_cidrs = match tenant_layer.and_then(|layer| layer.networks.internal.as_ref()) {
        Some(network) => WithSource::new(cidrs(network), policy_path("networks.internal.cidrs")),
        None => WithSource::new(
            file.networks.internal.as_ref().map(cidrs).unwrap_or_default(),
            "networks.internal.cidrs",
        ),
    };
    let gpu_caps = [gpus.clone(), WithSource::new(file.capacity.gpus, "capacity.gpus")];
    // A tenant that sets neither bounds nor a GPU quota shares the bounds of unlisted tenants.
    if let (Some(shared), Some(tenant_layer)) = (shared, tenant_layer)
        && tenant_layer.limits == LimitsLayer::default()
        && tenant_layer.classes.is_empty()
        && tenant_layer.quota.gpus.is_none()
    {
        let (base, classes) = (Arc::clone(&shared.base), Arc::clone(&shared.classes));
        return TenantPolicy { gpus, concurrent_jobs, rate_limit, internal_cidrs, base, classes };
    }
    let resolve_class = |class: Option<(&ClassName, &LimitsLayer)>, violations: &mut Vec<Violation>| {
        resolve(&layers(file, tenant, class), &gpu_caps, violations)
    };
    let mut classes = BTreeMap::new();
    for (name, limits) in &file.classes {
        classes.insert(name.clone(), resolve_class(Some((name, limits)), violations));
    }
    // If there is a default class, no job uses the base bounds. So the base bounds may contradict the
    // tenant's bounds.
    let base_is_unused = file.default_class.is_some() && tenant.is_some();
    let mut ignored = Vec::new();
    let base = Arc::new(resolve_class(None, if base_is_unused { &mut ignored } else { violations }));
    let classes = Arc::new(classes);
    TenantPolicy { gpus, concurrent_jobs, rate_limit, internal_cidrs, base, classes }
}

/// Returns the layers of a tenant and a class, in the order in which they apply. The base is the first.
fn layers<'a>(
    file: &'a PolicyFile,
    tenant: Option<(&Tenant, &'a TenantLayer)>,
    class: Option<(&ClassName, &'a LimitsLayer)>,
) -> Vec<Layer<'a>> {
    let layer = |limits, prefix, narrows| Layer { limits, prefix, only_narrows: narrows };
    let mut layers = vec![layer(&file.limits, "limits".to_owned(), false)];
    if let Some((name, limits)) = class {
        layers.push(layer(limits, format!("classes.{name}"), false));
    }
    if let Some((tenant, own)) = tenant {
        layers.push(layer(&own.limits, format!("tenants.{tenant}"), true));
        if let Some((class, limits)) = class.and_then(|(class, _)| own.classes.get_key_value(class)) {
            layers.push(layer(limits, format!("tenants.{tenant}.classes.{class}"), false));
        }
    }
    layers
}
