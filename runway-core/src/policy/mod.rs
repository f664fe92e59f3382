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
use crate::document::{Document, DocumentLimits, parse_all_within};
use crate::image::ImageRef;
use crate::name::{ClassName, Tenant};
use crate::price::{Amounts, Quote, UnitPrices};
use crate::rate::RateLimit;
use crate::units::{GpuCount, MoneyError, UnitPrice};
use crate::violation::{Violation, truncate};
use file::{InternalNetwork, LimitsLayer, PolicyFile, TenantLayer};
use resolve::{Layer, report_contradiction, resolve};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

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
    shared_limits: SharedLimits,
    own_limits: BTreeMap<Tenant, OwnLimits>,
}

/// The bounds of unlisted tenants, and of listed tenants that set neither bounds nor a GPU quota.
#[derive(Debug, Clone)]
struct SharedLimits {
    base: Limits,
    /// The bounds of each class, sorted by name.
    classes: Vec<(ClassName, Limits)>,
}

/// The bounds of a tenant that sets bounds or a GPU quota. They are resolved on first use: the bounds of all
/// tenants in all classes would need far more memory than the policy itself.
///
/// The first slot is for the base, and the others are for the classes in the order of [`SharedLimits`].
#[derive(Debug, Clone)]
struct OwnLimits(Box<[OnceLock<Box<Limits>>]>);

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
        let mut documents = parse_all_within(source, DocumentLimits::POLICY);
        let first = if documents.is_empty() { None } else { Some(documents.swap_remove(0)) };
        match first {
            Some(Ok(document)) if documents.is_empty() => {
                let decoded = decode(&document);
                // The tree of a large policy needs more memory than the policy.
                drop(document);
                Self::from_decoded(decoded, overrides)
            }
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
        Self::from_decoded(decode(document), overrides)
    }

    fn from_decoded(
        (file, mut violations): (Option<PolicyFile>, Vec<Violation>),
        overrides: PriceOverrides,
    ) -> Result<Self, PolicyError> {
        match file {
            // Resolve only a file without violations. Missing values would cause contradictions that the
            // author did not write.
            Some(file) if violations.is_empty() => {
                let policy = Self::resolve(apply_overrides(file, overrides), &mut violations);
                if violations.is_empty() {
                    Ok(policy)
                } else {
                    Err(PolicyError { violations: truncate(violations) })
                }
            }
            _ => Err(PolicyError { violations: truncate(violations) }),
        }
    }

    fn resolve(file: PolicyFile, violations: &mut Vec<Violation>) -> Self {
        check_references(&file, violations);
        let unlisted = resolve_tenant(&file, None);
        let tenants = file.tenants.iter();
        let listed =
            tenants.clone().map(|tenant| (tenant.0.clone(), resolve_tenant(&file, Some(tenant)))).collect();
        let shared_limits = SharedLimits::new(&file, violations);
        check_limits(&file, &shared_limits, violations);
        let slots = shared_limits.classes.len() + 1;
        let own_limits = tenants
            .filter(|(_, layer)| has_own_limits(layer))
            .map(|(tenant, _)| (tenant.clone(), OwnLimits((0..slots).map(|_| OnceLock::new()).collect())))
            .collect();
        let digest = Digest::of_json(&serde_json::to_value(&file).unwrap_or_default());
        Self { file, digest, unlisted, listed, shared_limits, own_limits }
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

    /// Returns the canonical form without the settings of other tenants than this one. Its digest differs from
    /// that of the policy.
    #[must_use]
    pub fn canonical_for(&self, tenant: &Tenant) -> impl serde::Serialize {
        fields::canonical_for(&self.file, tenant.as_str())
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
        let class = class.or_else(|| self.default_class().map(ClassName::as_str));
        let (slot, shared) = self.shared_limits.find(class)?;
        let Some((tenant, own)) = tenant.and_then(|tenant| self.own_limits.get_key_value(tenant)) else {
            return Some(shared);
        };
        Some(own.0.get(slot)?.get_or_init(|| Box::new(self.resolve_own_limits(tenant, class))))
    }

    /// Returns the same bounds as [`limits`](Self::limits), but does not keep them. This is for callers that
    /// compare the bounds of all classes.
    pub(crate) fn limits_once(&self, tenant: Option<&str>, class: &str) -> Option<Cow<'_, Limits>> {
        let (_, shared) = self.shared_limits.find(Some(class))?;
        let own = tenant.and_then(|tenant| self.own_limits.get_key_value(tenant));
        Some(own.map_or(Cow::Borrowed(shared), |(tenant, _)| {
            Cow::Owned(self.resolve_own_limits(tenant, Some(class)))
        }))
    }

    fn resolve_own_limits(&self, tenant: &Tenant, class: Option<&str>) -> Limits {
        let class = class.and_then(|class| self.file.classes.get_key_value(class));
        // The policy is valid, so this finds no contradiction.
        resolve_limits(&self.file, self.file.tenants.get_key_value(tenant), class, &mut Vec::new())
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

/// Decodes a document. The file is `None` if it has no value for the whole policy.
fn decode(document: &Document) -> (Option<PolicyFile>, Vec<Violation>) {
    let mut decoder = Decoder { reject_null: true, ..Decoder::default() };
    let file = fields::read(&mut decoder, &document.root);
    (file, decoder.violations)
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

impl SharedLimits {
    fn new(file: &PolicyFile, violations: &mut Vec<Violation>) -> Self {
        let mut classes = Vec::new();
        for class in &file.classes {
            classes.push((class.0.clone(), resolve_limits(file, None, Some(class), violations)));
        }
        Self { base: resolve_limits(file, None, None, violations), classes }
    }

    /// Returns the bounds of a class, or of the base, with their slot in [`OwnLimits`].
    fn find(&self, class: Option<&str>) -> Option<(usize, &Limits)> {
        let Some(class) = class else { return Some((0, &self.base)) };
        let index = self.classes.binary_search_by(|(name, _)| name.as_str().cmp(class)).ok()?;
        Some((index + 1, &self.classes.get(index)?.1))
    }
}

/// Returns whether the bounds of a tenant can differ from those of unlisted tenants.
fn has_own_limits(layer: &TenantLayer) -> bool {
    layer.quota.gpus.is_some() || sets_bounds(layer)
}

fn sets_bounds(layer: &TenantLayer) -> bool {
    layer.limits != LimitsLayer::default() || !layer.classes.is_empty()
}

/// Reports the contradictions in the bounds of the listed tenants, and each job that the policy allows and
/// whose price overflows.
fn check_limits(file: &PolicyFile, shared: &SharedLimits, violations: &mut Vec<Violation>) {
    let mut overflows = Vec::new();
    for limits in shared.classes.iter().map(|(_, limits)| limits).chain([&shared.base]) {
        check_price(file, limits, &mut overflows);
    }
    // A tenant that sets only a GPU quota has the bounds of unlisted tenants with another number of GPUs. The
    // largest of these quotas allows the most expensive jobs.
    let with_bounds = file.tenants.iter().filter(|(_, layer)| sets_bounds(layer));
    let with_quota = file.tenants.iter().filter(|(_, layer)| !sets_bounds(layer) && has_own_limits(layer));
    for tenant in with_bounds.chain(with_quota.max_by_key(|(_, layer)| layer.quota.gpus)) {
        for class in file.classes.iter().map(Some).chain([None]) {
            // If there is a default class, no job uses the base bounds. So the base bounds may contradict the
            // tenant's bounds.
            let is_unused = class.is_none() && file.default_class.is_some();
            let mut ignored = Vec::new();
            let found = if is_unused { &mut ignored } else { &mut *violations };
            check_price(file, &resolve_limits(file, Some(tenant), class, found), &mut overflows);
        }
    }
    if violations.is_empty() {
        violations.append(&mut overflows);
    }
}

/// Reports a contradiction if the price of the most expensive job within the bounds overflows.
fn check_price(file: &PolicyFile, limits: &Limits, violations: &mut Vec<Violation>) {
    let max_gpu_type_price = file.gpu_types.values().map(|gpu| gpu.usd_per_gpu_second).max();
    let max_gpu_price = max_gpu_type_price.unwrap_or_default().max(file.rates.usd_per_gpu_second);
    let time = limits.timeout.max.value.saturating_add(file.run.termination_grace);
    let max_amounts =
        Amounts { cpu: limits.cpu.max.value, memory: limits.memory.max.value, gpu: limits.gpu.max.value };
    if Quote::new(max_amounts, &file.rates, max_gpu_price, time).is_none() {
        let message = format!(
            "a job with {} CPU, {} memory and {} GPUs for {} can cost more than the maximum price of 18 trillion USD",
            max_amounts.cpu, max_amounts.memory, max_amounts.gpu, limits.timeout.max.value
        );
        report_contradiction(violations, &limits.timeout.max.source, message);
    }
}

/// Resolves the bounds of a tenant in a class. Without a class, resolves the base bounds.
fn resolve_limits(
    file: &PolicyFile,
    tenant: Option<(&Tenant, &TenantLayer)>,
    class: Option<(&ClassName, &LimitsLayer)>,
    violations: &mut Vec<Violation>,
) -> Limits {
    let gpu_caps = [gpu_quota(file, tenant), WithSource::new(file.capacity.gpus, "capacity.gpus")];
    resolve(&layers(file, tenant, class), &gpu_caps, violations)
}

fn gpu_quota(file: &PolicyFile, tenant: Option<(&Tenant, &TenantLayer)>) -> WithSource<GpuCount> {
    match tenant.and_then(|(name, layer)| Some((name, layer.quota.gpus?))) {
        Some((name, gpus)) => WithSource::new(gpus, format!("tenants.{name}.quota.gpus")),
        None => WithSource::new(file.quota.gpus, "quota.gpus"),
    }
}

fn resolve_tenant(file: &PolicyFile, tenant: Option<(&Tenant, &TenantLayer)>) -> TenantPolicy {
    let policy_path = |rest: &str| match tenant {
        Some((name, _)) => format!("tenants.{name}.{rest}"),
        None => rest.to_owned(),
    };
    let tenant_layer = tenant.map(|(_, layer)| layer);
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
    TenantPolicy { gpus: gpu_quota(file, tenant), concurrent_jobs, rate_limit, internal_cidrs }
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
