//! `runway policy`: checks, shows and renders a policy.

use crate::arguments::{Common, Format, PolicyCommand};
use crate::failure::Failure;
use crate::policy::{LoadedPolicy, PolicyLoadError, load};
use crate::{Exit, output};
use runway_core::Tenant;
use runway_core::policy::{Bounds, Limits, Sourced};
use serde_json::json;
use std::fmt::{Display, Write};

pub(super) fn run(command: &PolicyCommand) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::Check { policy, output, file } => {
            match load(file.as_deref().or(policy.file.as_deref())) {
                // In JSON, the violations of an invalid policy are the output, and not only an error.
                Err(PolicyLoadError::Invalid { error, .. }) if output.format == Format::Json => {
                    output::print_json(
                        &json!({"file": file, "digest": null, "violations": error.violations}),
                    )?;
                    Ok(Exit::NotJudged)
                }
                loaded => check(&loaded?, output.format),
            }
        }
        PolicyCommand::Show { common, class } => {
            let policy = load(common.policy.file.as_deref())?;
            if class.is_none() && common.tenant.is_none() {
                canonical(&policy, common.output.format)
            } else {
                resolved(&policy, class.as_deref(), common)
            }
        }
        PolicyCommand::Render { policy, output, api_server } => {
            super::guardrails::run(api_server, policy.file.as_deref(), output.format)
        }
        PolicyCommand::Schema => {
            output::print_json(&runway_core::schema::policy())?;
            Ok(Exit::Fine)
        }
    }
}

fn check(loaded: &LoadedPolicy, format: Format) -> Result<Exit, Failure> {
    let policy = &loaded.policy;
    let file = loaded.file.as_deref();
    let (classes, tenants) = (policy.classes().count(), policy.listed_tenants().count());
    match format {
        Format::Json => {
            output::print_json(&json!({"file": file, "digest": policy.digest(), "violations": []}))?;
        }
        Format::Text => {
            let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
            let classes = count(classes, "class", "classes");
            let tenants = count(tenants, "listed tenant", "listed tenants");
            let file = file.unwrap_or("the built-in policy");
            output::print(&format!("ok: {file}: {classes}, {tenants}, {}\n", policy.digest()))?;
        }
    }
    Ok(Exit::Fine)
}

fn canonical(loaded: &LoadedPolicy, format: Format) -> Result<Exit, Failure> {
    let canonical = loaded.policy.canonical();
    match format {
        Format::Json => output::print_json(&canonical)?,
        Format::Text => output::print(&output::to_yaml(&canonical)?)?,
    }
    Ok(Exit::Fine)
}

fn resolved(loaded: &LoadedPolicy, class: Option<&str>, common: &Common) -> Result<Exit, Failure> {
    let policy = &loaded.policy;
    let tenant = common.tenant.as_deref();
    if let Some(name) = tenant {
        if let Err(error) = name.parse::<Tenant>() {
            return Err(Failure::InvalidTenant { name: name.to_owned(), error });
        }
        if !policy.accepts_tenant(name) {
            return Err(Failure::UnlistedTenant { name: name.to_owned() });
        }
    }
    let limits = policy.limits(tenant, class).ok_or_else(|| Failure::UnknownClass {
        name: class.unwrap_or_default().to_owned(),
        classes: policy.classes().map(ToString::to_string).collect(),
    })?;
    let terms = policy.terms(tenant.unwrap_or_default());
    let class = class.or_else(|| policy.default_class().map(runway_core::name::ClassName::as_str));
    if common.output.format == Format::Json {
        output::print_json(&json!({
            "digest": policy.digest(), "tenant": tenant, "class": class, "limits": limits, "terms": terms,
        }))?;
        return Ok(Exit::Fine);
    }
    let mut table = Table { loaded, text: String::new() };
    let _ = writeln!(
        table.text,
        "tenant {}, class {}",
        tenant.unwrap_or("not given (the bounds of an unlisted tenant)"),
        class.unwrap_or("none")
    );
    table.limits(limits);
    table.row("quota", "gpus", &terms.gpus.map(|gpus| gpus.to_string()));
    table.row("quota", "concurrent jobs", &terms.concurrent_jobs.map(|jobs| jobs.to_string()));
    let rate =
        terms.rate_limit.map(|limit| format!("{} per minute, burst {}", limit.per_minute, limit.burst));
    table.row("rate limit", "", &rate);
    let ranges = terms.internal_cidrs.map(|cidrs| join(cidrs.iter()));
    table.row("internal", "cidrs", &ranges);
    output::print(&table.text)?;
    Ok(Exit::Fine)
}

fn join(items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// A table of values with the policy paths that set them.
struct Table<'a> {
    loaded: &'a LoadedPolicy,
    text: String,
}

impl Table<'_> {
    fn limits(&mut self, limits: &Limits) {
        self.bounds("cpu", &limits.cpu);
        self.bounds("memory", &limits.memory);
        self.bounds("ephemeral storage", &limits.ephemeral_storage);
        self.bounds("gpu", &limits.gpu);
        self.bounds("timeout", &limits.timeout);
        self.bounds("retries", &limits.retries);
        self.row("network", "allowed", &limits.network.map(|networks| join(networks.iter())));
    }

    fn bounds<T: Display>(&mut self, name: &str, bounds: &Bounds<T>) {
        self.row(name, "min", &bounds.min.map(ToString::to_string));
        self.row(name, "max", &bounds.max.map(ToString::to_string));
        if let Some(default) = &bounds.default {
            self.row(name, "default", &default.map(ToString::to_string));
        }
    }

    fn row(&mut self, name: &str, part: &str, value: &Sourced<String>) {
        let place = self.loaded.place(&value.from).map(|place| format!(" ({place})")).unwrap_or_default();
        let _ = writeln!(self.text, "  {name:<18}{part:<16}{:<24}{}{place}", value.value, value.from);
    }
}
