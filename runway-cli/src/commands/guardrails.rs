//! `runway policy render`: which Kubernetes objects hold a pod that goes round Runway to the same rules?

use super::refuse_unused;
use super::render::{print_objects, to_json};
use crate::arguments::Common;
use crate::input::Failure;
use crate::{Exit, policy};
use runway_core::guardrails::{GuardrailsError, guardrails};
use runway_core::policy::Cidr;

pub(super) fn run(api_server: &[Cidr], common: &Common) -> Result<Exit, Failure> {
    refuse_unused("policy render", common, &["--tenant"])?;
    let policy = policy::load(common.policy.as_deref())?;
    let guardrails = guardrails(&policy.policy, api_server).map_err(|error| match &error {
        GuardrailsError::ApiServerUnknown { allowed_by } => {
            let place = policy.place(allowed_by).map(|place| format!(" ({place})")).unwrap_or_default();
            Failure::Usage(format!(
                "{error}{place}: give `--api-server` for each address that `kubectl get endpoints,service kubernetes` \
                 shows in the namespace `default`, such as `--api-server 172.18.0.2/32`"
            ))
        }
        GuardrailsError::ApiServerEverywhere { .. } => Failure::Usage(error.to_string()),
    })?;
    let mut objects = Vec::new();
    for guarded in &guardrails {
        objects.push(to_json(&guarded.namespace)?);
        objects.push(to_json(&guarded.quota)?);
        if let Some(range) = &guarded.range {
            objects.push(to_json(range)?);
        }
        for network in &guarded.networks {
            objects.push(to_json(network)?);
        }
    }
    print_objects(&objects, common.output)?;
    Ok(Exit::Admitted)
}
