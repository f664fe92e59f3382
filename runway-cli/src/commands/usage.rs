//! `runway usage`: shows the usage and quotas of tenants.

use crate::arguments::{Form, Server};
use crate::client::Client;
use crate::failure::Failure;
use crate::online::{Table, print_values};
use crate::time::span;
use crate::{Exit, output};
use runway_api::{Share, TenantView};
use runway_core::Tenant;
use std::collections::BTreeSet;

pub(super) fn run(server: &Server, form: Form, of: Option<&Tenant>) -> Result<Exit, Failure> {
    let client = Client::new(server)?;
    let mut tenants = Vec::new();
    match of.or(server.tenant.as_ref()) {
        Some(tenant) => tenants.push(usage(&client, tenant)?),
        None => {
            // The server has no list of tenants, so the jobs name them.
            let names: BTreeSet<_> = client.jobs(None)?.into_iter().map(|job| job.tenant).collect();
            for name in names.iter().filter_map(|name| name.parse().ok()) {
                match usage(&client, &name) {
                    // The policy may no longer accept this tenant.
                    Err(Failure::Online(trouble)) if trouble.is_not_found() => {}
                    view => tenants.push(view?),
                }
            }
        }
    }
    if !form.is_for_people() {
        print_values(form, &tenants, tenants.iter().map(|view| view.tenant.clone()))?;
        return Ok(Exit::Fine);
    }
    let share = |share: Share| format!("{} of {}", share.held, share.limit);
    let mut table = Table::new(&["TENANT", "GPUS", "JOBS", "BURST LEFT", "RESETS IN"]);
    for view in &tenants {
        let rate = view.rate;
        table.row(vec![
            view.tenant.clone(),
            share(view.gpus),
            share(view.jobs),
            rate.remaining.to_string(),
            span(rate.reset_seconds),
        ]);
    }
    output::print(&table.text())?;
    Ok(Exit::Fine)
}

fn usage(client: &Client, tenant: &Tenant) -> Result<TenantView, Failure> {
    Ok(client.get(&format!("/v1/tenants/{tenant}"))?)
}
