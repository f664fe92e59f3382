//! `runway usage`: shows the usage and quotas of tenants.

use crate::arguments::{OutputFormat, ServerArgs};
use crate::client::Client;
use crate::error::CliError;
use crate::remote::{TextTable, print_serialized};
use crate::time::format_duration;
use crate::{Exit, output};
use runway_api::{QuotaUsage, TenantView};
use runway_core::Tenant;
use std::collections::BTreeSet;

pub(super) fn run(
    server: &ServerArgs,
    form: OutputFormat,
    of_tenant: Option<&Tenant>,
) -> Result<Exit, CliError> {
    let client = Client::new(server)?;
    let mut tenants = Vec::new();
    match of_tenant.or(server.tenant.as_ref()) {
        Some(tenant) => tenants.push(fetch_usage(&client, tenant)?),
        None => {
            // The server cannot list its tenants, so collect the tenants of all jobs.
            let names: BTreeSet<_> = client.jobs(None)?.into_iter().map(|job| job.tenant).collect();
            for name in names.iter().filter_map(|name| name.parse().ok()) {
                match fetch_usage(&client, &name) {
                    // Skip a tenant that the current policy no longer accepts.
                    Err(CliError::Client(error)) if error.is_not_found() => {}
                    view => tenants.push(view?),
                }
            }
        }
    }
    if !form.is_human_readable() {
        print_serialized(form, &tenants, tenants.iter().map(|view| view.tenant.clone()))?;
        return Ok(Exit::Success);
    }
    let share = |share: QuotaUsage| format!("{} of {}", share.held, share.limit);
    let mut table = TextTable::new(&["TENANT", "GPUS", "JOBS", "BURST LEFT", "RESETS IN"]);
    for view in &tenants {
        let rate_remaining = view.rate;
        table.add_row(vec![
            view.tenant.clone(),
            share(view.gpus),
            share(view.jobs),
            rate_remaining.remaining.to_string(),
            format_duration(rate_remaining.reset_seconds),
        ]);
    }
    output::print(&table.render())?;
    Ok(Exit::Success)
}

fn fetch_usage(client: &Client, tenant: &Tenant) -> Result<TenantView, CliError> {
    Ok(client.get(&format!("/v1/tenants/{tenant}"))?)
}
