//! Checks a job against a policy and the features of a backend, and reports all violations. If an accepted
//! value near the refused one is known, the violation suggests it as the fix.
//!
//! The check does not consider how many GPUs and jobs are held at this time. The [`gate`](crate::gate) does.

mod amounts;
mod backend;
mod container;

use crate::capability::Capabilities;
use crate::code::Code;
use crate::decoder::shorten;
use crate::job::{Job, Resources};
use crate::name::{ClassName, JobName, Tenant, nearest_label};
use crate::policy::{Limits, Network, Policy};
use crate::spec::{FIELDS, JobSpec, RESOURCE_FIELDS};
use crate::text::nearest;
use crate::units::GpuCount;
use crate::violation::{Violation, truncate};
use amounts::Amount;
use backend::nearest_network;
use serde_json::Value as Json;

/// The input of a check: a spec, and values from outside the document.
#[derive(Debug, Clone, Copy)]
pub struct CheckInput<'a> {
    /// The spec, with the fields that could be parsed.
    pub spec: &'a JobSpec,
    /// The violations found while parsing the document.
    pub parse_violations: &'a [Violation],
    /// The tenant from outside the document: a header, or an option of the command line.
    pub tenant: Option<&'a str>,
    /// The features that the backend supports; `None` if they are not to be checked.
    pub capabilities: Option<&'a Capabilities>,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The normalised job; `None` if a part of the spec is missing or cannot be parsed. The suggested fix
    /// replaces an invalid tenant or an unknown class.
    pub job: Option<Job>,
    /// All violations, in the order of the fields. Empty if the policy and the backend allow the job.
    pub violations: Vec<Violation>,
}

/// Checks a job against a policy, and against the features of a backend if the input contains them.
///
/// ```
/// use runway_core::check::{CheckInput, check};
/// use runway_core::{Code, JobSpec, Policy};
///
/// let mut spec = JobSpec { name: Some("x".into()), image: Some("busybox".into()), ..JobSpec::default() };
/// spec.resources.cpu = Some("64".into());
/// let tenant = Some("search");
/// let input = CheckInput { spec: &spec, parse_violations: &[], tenant, capabilities: None };
/// let result = check(&Policy::builtin(), input);
/// assert_eq!(result.violations[0].code, Code::CpuAboveMax);
/// assert_eq!(result.violations[0].fix, "4");
/// ```
#[must_use]
pub fn check(policy: &Policy, input: CheckInput<'_>) -> CheckResult {
    // An empty path means that a parse violation concerns the whole document, such as a syntax error. The
    // spec is then incomplete, and a check would report fields as missing.
    if input.parse_violations.iter().any(|violation| violation.path.is_empty()) {
        return CheckResult { job: None, violations: input.parse_violations.to_vec() };
    }
    let mut checker = Checker { policy, input, violations: input.parse_violations.to_vec() };
    let job = checker.check_job();
    let mut violations = checker.violations;
    violations.sort_by_cached_key(|violation| (field_order(&violation.path), violation.path.clone()));
    CheckResult { job, violations: truncate(violations) }
}

/// Returns the sort key of a path: the position of its field in [`FIELDS`], then in [`RESOURCE_FIELDS`].
fn field_order(path: &str) -> (usize, usize) {
    let mut segments = path.split('/').skip(1);
    let mut position = |names: &[&str]| {
        let segment = segments.next();
        segment.map_or(0, |name| 1 + names.iter().position(|known| *known == name).unwrap_or(names.len()))
    };
    let first = position(FIELDS);
    let second = if path.starts_with("/resources/") { position(RESOURCE_FIELDS) } else { 0 };
    (first, second)
}

struct Checker<'a> {
    policy: &'a Policy,
    input: CheckInput<'a>,
    violations: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn check_job(&mut self) -> Option<Job> {
        let spec = self.input.spec;
        let name = self.check_name();
        let tenant = self.check_tenant();
        let class = self.check_class(tenant.as_ref().map(Tenant::as_str));
        let image = self.check_image();
        self.check_variables();
        self.check_arguments();
        let workdir = self.check_workdir();
        self.check_features();
        self.check_size();
        // The bounds depend on the class, so without a class the check ends here.
        let (class, limits) = class?;
        let cpu = self.check_amount(&amounts::CPU, spec.resources.cpu.as_ref(), &limits.cpu, class);
        let memory =
            self.check_amount(&amounts::MEMORY, spec.resources.memory.as_ref(), &limits.memory, class);
        let storage = spec.resources.ephemeral_storage.as_ref();
        let storage =
            self.check_amount(&amounts::EPHEMERAL_STORAGE, storage, &limits.ephemeral_storage, class);
        let gpu = self.check_amount(&amounts::GPU, spec.resources.gpu.as_ref(), &limits.gpu, class);
        let gpu_type = self.check_gpu_type(gpu);
        let shm = self.check_shm(memory.fixed);
        let timeout = self.check_amount(&amounts::TIMEOUT, spec.timeout.as_ref(), &limits.timeout, class);
        let retries = self.check_amount(&amounts::RETRIES, spec.retries.as_ref(), &limits.retries, class);
        self.check_amount_features(gpu.value, retries.value);
        let network = self.check_network(limits);
        Some(Job {
            name: name?,
            tenant: tenant?,
            class: class.cloned(),
            image: image?,
            workdir: workdir?.map(str::to_owned),
            resources: Resources {
                cpu: cpu.value?,
                memory: memory.value?,
                ephemeral_storage: storage.value?,
                gpu: gpu.value?,
                shm: shm?,
            },
            gpu_type: gpu_type?.map(str::to_owned),
            timeout: timeout.value?,
            retries: retries.value?,
            network: network?,
        })
    }

    fn report(&mut self, violation: Violation) {
        self.violations.push(violation);
    }

    /// Returns `true` if a parse violation was reported for this path or for one of its parents.
    fn has_parse_violation(&self, path: &str) -> bool {
        self.input.parse_violations.iter().any(|violation| {
            path.strip_prefix(violation.path.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn report_missing(&mut self, path: &str, message: &str) {
        if !self.has_parse_violation(path) {
            self.report(Violation::new(Code::MissingField, path, message));
        }
    }

    fn check_name(&mut self) -> Option<JobName> {
        let Some(text) = &self.input.spec.name else {
            self.report_missing("/name", "a job needs a `name`");
            return None;
        };
        text.parse()
            .map_err(|error| {
                let message = format!("the name `{}` {error}", shorten(text));
                let fix = nearest_label(text, JobName::MAX_LENGTH);
                self.report(
                    Violation::new(Code::InvalidName, "/name", message).requested(text.as_str()).fix(fix),
                );
            })
            .ok()
    }

    /// Checks the tenant. For an invalid name, returns the tenant of the suggested fix, so that the other
    /// checks use its bounds.
    fn check_tenant(&mut self) -> Option<Tenant> {
        let spec_tenant = self.input.spec.tenant.as_deref();
        let text = match (self.input.tenant, spec_tenant) {
            (Some(submitted), Some(spec_tenant)) if submitted != spec_tenant => {
                let message = format!(
                    "the job sets the tenant `{}`, but it is submitted as `{}`",
                    shorten(spec_tenant),
                    shorten(submitted)
                );
                let is_accepted = Tenant::check(submitted).is_ok() && self.policy.accepts_tenant(submitted);
                let fix = is_accepted.then_some(submitted);
                self.report(
                    Violation::new(Code::TenantMismatch, "/tenant", message).requested(spec_tenant).fix(fix),
                );
                submitted
            }
            (Some(text), _) | (None, Some(text)) => text,
            (None, None) => {
                self.report_missing(
                    "/tenant",
                    "a job needs a `tenant`: set the field, `--tenant`, or the header `X-Tenant-ID`",
                );
                return None;
            }
        };
        let tenant = match text.parse::<Tenant>() {
            Ok(tenant) => tenant,
            Err(error) => {
                let message = format!("the tenant `{}` {error}", shorten(text));
                let closest =
                    nearest_label(text, Tenant::MAX_LENGTH).filter(|near| self.policy.accepts_tenant(near));
                let violation = Violation::new(Code::InvalidTenant, "/tenant", message).requested(text);
                // A fix changes the document, so it cannot correct a tenant from outside the document.
                let fix = closest.clone().filter(|_| self.input.tenant.is_none());
                self.report(violation.fix(fix));
                return closest?.parse().ok();
            }
        };
        if !self.policy.accepts_tenant(tenant.as_str()) {
            let message = format!("the policy does not list the tenant `{tenant}`");
            let violation = Violation::new(Code::UnknownTenant, "/tenant", message).requested(text);
            self.report(violation.policy("unknown_tenants"));
        }
        Some(tenant)
    }

    /// Checks the class and returns it with its bounds. For an unknown class, returns the nearest one, so
    /// that the other checks use its bounds.
    fn check_class(&mut self, tenant: Option<&str>) -> Option<(Option<&'a ClassName>, &'a Limits)> {
        let policy = self.policy;
        if self.has_parse_violation("/class") {
            return None;
        }
        let class = match self.input.spec.class.as_deref() {
            None => policy.default_class(),
            Some(name) => match policy.class(name) {
                Some(class) => Some(class),
                None => Some(self.unknown_class(name)?),
            },
        };
        Some((class, policy.limits(tenant, class.map(ClassName::as_str))?))
    }

    fn unknown_class(&mut self, name: &str) -> Option<&'a ClassName> {
        let policy = self.policy;
        let names = || policy.classes().map(ClassName::as_str);
        let closest = nearest(name, names());
        let hint = closest.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let message = format!("there is no class `{}`{hint}", shorten(name));
        let violation = Violation::new(Code::UnknownClass, "/class", message).requested(name);
        self.report(violation.one_of(names()).policy("classes").fix(closest));
        policy.class(closest?)
    }

    /// Checks the GPU type. The check uses the number of GPUs that the job has after its fixes are applied.
    #[expect(clippy::option_option, reason = "outer: valid or not; inner: set or not")]
    fn check_gpu_type(&mut self, gpu: Amount<GpuCount>) -> Option<Option<&'a str>> {
        let policy = self.policy;
        if self.has_parse_violation("/gpu_type") {
            return None;
        }
        let requested = self.input.spec.gpu_type.as_deref();
        let types = policy.gpu_types();
        let names = || types.keys().map(String::as_str);
        if gpu.fixed.or(gpu.value)? == GpuCount::ZERO {
            let Some(requested) = requested else { return Some(None) };
            if gpu.value == Some(GpuCount::ZERO) {
                let message = format!("`gpu_type` is `{}`, but the job requests no GPUs", shorten(requested));
                let violation = Violation::new(Code::GpuTypeWithoutGpu, "/gpu_type", message);
                self.report(violation.requested(requested));
            } else if let Some(gpus) = self.violations.iter_mut().find(|v| v.path == amounts::GPU.path) {
                // Zero GPUs is not a fix, because the job names a GPU type.
                gpus.fix = Json::Null;
            }
            return Some(types.get_key_value(requested).map(|(name, _)| name.as_str()));
        }
        match requested {
            Some(name) => match types.get_key_value(name) {
                Some((name, _)) => Some(Some(name)),
                None => {
                    let closest = nearest(name, names());
                    let hint = closest.map_or_else(
                        || {
                            if types.is_empty() {
                                "; the policy has no GPU types: remove the field".to_owned()
                            } else {
                                String::new()
                            }
                        },
                        |near| format!("; did you mean `{near}`?"),
                    );
                    let message = format!("there is no GPU type `{}`{hint}", shorten(name));
                    let violation =
                        Violation::new(Code::UnknownGpuType, "/gpu_type", message).requested(name);
                    self.report(violation.one_of(names()).policy("gpu_types").fix(closest));
                    None
                }
            },
            None if types.is_empty() => Some(None),
            None => match policy.default_gpu_type() {
                Some(default) => Some(Some(default)),
                None => {
                    let message = "a job with GPUs must set `gpu_type`";
                    let single = (types.len() == 1).then(|| names().next()).flatten();
                    let violation = Violation::new(Code::GpuTypeRequired, "/gpu_type", message);
                    self.report(violation.one_of(names()).policy("gpu_types").fix(single));
                    None
                }
            },
        }
    }

    fn check_network(&mut self, limits: &Limits) -> Option<Network> {
        let allowed = &limits.network.value;
        let usable = self.usable_networks(limits);
        let Some(name) = self.input.spec.network.as_deref() else {
            let default = allowed.first().copied().filter(|_| !self.has_parse_violation("/network"))?;
            self.check_network_feature(default, Json::Null, &usable);
            return Some(default);
        };
        let network = Network::from_name(name);
        if let Some(network) = network.filter(|network| allowed.contains(network)) {
            self.check_network_feature(network, name.into(), &usable);
            return Some(network);
        }
        let names = || usable.iter().map(|network| network.as_str());
        let (message, fix) = match network {
            Some(network) => (
                format!("the network `{network}` is not allowed here"),
                nearest_network(network, &usable).map(Network::as_str),
            ),
            None => (format!("there is no network `{}`", shorten(name)), nearest(name, names())),
        };
        let violation = Violation::new(Code::NetworkNotAllowed, "/network", message).requested(name);
        self.report(violation.one_of(names()).policy(&*limits.network.source).fix(fix));
        network
    }
}
