//! `runway policy`: checks, shows and renders a policy.

use crate::arguments::{EvalArgs, PolicyCommand, TextOrJson};
use crate::error::CliError;
use crate::policy::{LoadedPolicy, PolicyLoadError, load};
use crate::{Exit, output};
use runway_core::Tenant;
use runway_core::policy::{Bounds, Limits, WithSource};
use serde_json::json;
use std::fmt::{Display, Write};

pub(super) fn run(command: &PolicyCommand) -> Result<Exit, CliError> {
    match command {
        PolicyCommand::Check { policy, output, file } => {
            match load(file.as_deref().or(policy.file.as_deref())) {
                // With `-o json`, the violations of an invalid policy are printed to standard output, and not
                // as an error.
                Err(PolicyLoadError::Invalid { error, .. }) if output.format == TextOrJson::Json => {
                    output::print_json(
                        &json!({"file": file, "digest": null, "violations": error.violations}),
                    )?;
                    Ok(Exit::InvalidInput)
                }
                loaded => print_check(&loaded?, output.format),
            }
        }
        PolicyCommand::Show { common, class } => {
            let policy = load(common.policy.file.as_deref())?;
            if class.is_none() && common.tenant.is_none() {
                print_canonical(&policy, common.output.format)
            } else {
                print_resolved(&policy, class.as_deref(), common)
            }
        }
        PolicyCommand::Render { policy, output, api_server } => {
            super::guardrails::run(api_server, policy.file.as_deref(), output.format)
        }
        PolicyCommand::Schema => {
            output::print_json(&runway_core::schema::policy())?;
            Ok(Exit::Success)
        }
    }
}

fn print_check(loaded: &LoadedPolicy, format: TextOrJson) -> Result<Exit, CliError> {
    let policy = &loaded.policy;
    let file = loaded.file.as_deref();
    let (classes, tenants) = (policy.classes().count(), policy.listed_tenants().count());
    match format {
        TextOrJson::Json => {
            output::print_json(&json!({"file": file, "digest": policy.digest(), "violations": []}))?;
        }
        TextOrJson::Text => {
            let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
            let classes = count(classes, "class", "classes");
            let tenants = count(tenants, "listed tenant", "listed tenants");
            let file = file.unwrap_or("the built-in policy");
            output::print(&format!("ok: {file}: {classes}, {tenants}, {}\n", policy.digest()))?;
        }
    }
    Ok(Exit::Success)
}

fn print_canonical(loaded: &LoadedPolicy, format: TextOrJson) -> Result<Exit, CliError> {
    let canonical = loaded.policy.canonical();
    match format {
        TextOrJson::Json => output::print_json(&canonical)?,
        TextOrJson::Text => output::print(&output::to_yaml(&canonical)?)?,
    }
    Ok(Exit::Success)
}

fn print_resolved(loaded: &LoadedPolicy, class: Option<&str>, common: &EvalArgs) -> Result<Exit, CliError> {
    let policy = &loaded.policy;
    let tenant = common.tenant.as_deref();
    if let Some(name) = tenant {
        if let Err(error) = name.parse::<Tenant>() {
            return Err(CliError::InvalidTenant { name: name.to_owned(), error });
        }
        if !policy.accepts_tenant(name) {
            return Err(CliError::UnlistedTenant { name: name.to_owned() });
        }
    }
    let limits = policy.limits(tenant, class).ok_or_else(|| CliError::UnknownClass {
        name: class.unwrap_or_default().to_owned(),
        classes: policy.classes().map(ToString::to_string).collect(),
    })?;
    let tenant_policy = policy.tenant_policy(tenant.unwrap_or_default());
    let class = class.or_else(|| policy.default_class().map(runway_core::name::ClassName::as_str));
    if common.output.format == TextOrJson::Json {
        output::print_json(&json!({
            "digest": policy.digest(), "tenant": tenant, "class": class, "limits": limits, "terms": tenant_policy,
        }))?;
        return Ok(Exit::Success);
    }
    let mut table = PolicyTable { loaded, text: String::new() };
    let _ = writeln!(
        table.text,
        "tenant {}, class {}",
        tenant.unwrap_or("not given (the bounds of an unlisted tenant)"),
        class.unwrap_or("none")
    );
    table.add_limits(limits);
    table.add_row("quota", "gpus", &tenant_policy.gpus.map(|gpus| gpus.to_string()));
    table.add_row("quota", "concurrent jobs", &tenant_policy.concurrent_jobs.map(|jobs| jobs.to_string()));
    let rate_limit = tenant_policy
        .rate_limit
        .map(|limit| format!("{} per minute, burst {}", limit.per_minute, limit.burst));
    table.add_row("rate limit", "", &rate_limit);
    let ranges = tenant_policy.internal_cidrs.map(|cidrs| join(cidrs.iter()));
    table.add_row("internal", "cidrs", &ranges);
    output::print(&table.text)?;
    Ok(Exit::Success)
}

fn join(items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<_> = items.map(|item| item.to_string()).collect();
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// A table of the bounds and limits of a tenant, each with the policy path that sets it.
struct PolicyTable<'a> {
    loaded: &'a LoadedPolicy,
    text: String,
}

impl PolicyTable<'_> {
    fn add_limits(&mut self, limits: &Limits) {
        self.add_bounds("cpu", &limits.cpu);
        self.add_bounds("memory", &limits.memory);
        self.add_bounds("ephemeral storage", &limits.ephemeral_storage);
        self.add_bounds("gpu", &limits.gpu);
        self.add_bounds("timeout", &limits.timeout);
        self.add_bounds("retries", &limits.retries);
        self.add_row("network", "allowed", &limits.network.map(|networks| join(networks.iter())));
    }

    fn add_bounds<T: Display>(&mut self, name: &str, bounds: &Bounds<T>) {
        self.add_row(name, "min", &bounds.min.map(ToString::to_string));
        self.add_row(name, "max", &bounds.max.map(ToString::to_string));
        if let Some(default) = &bounds.default {
            self.add_row(name, "default", &default.map(ToString::to_string));
        }
    }

    fn add_row(&mut self, name: &str, part: &str, value: &WithSource<String>) {
        let location =
            self.loaded.location(&value.source).map(|place| format!(" ({place})")).unwrap_or_default();
        let _ = writeln!(self.text, "  {name:<18}{part:<16}{:<24}{}{location}", value.value, value.source);
    }
}
