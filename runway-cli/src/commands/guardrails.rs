//! `runway policy render`: prints the Kubernetes objects that enforce the policy for pods that bypass Runway.

use super::render::{print_objects, to_json};
use crate::arguments::Format;
use crate::failure::Failure;
use crate::{Exit, policy};
use runway_core::guardrails::{GuardrailsError, guardrails};
use runway_core::policy::Cidr;
use std::path::Path;

pub(super) fn run(api_server: &[Cidr], file: Option<&Path>, format: Format) -> Result<Exit, Failure> {
    let policy = policy::load(file)?;
    let guardrails = guardrails(&policy.policy, api_server).map_err(|error| match &error {
        GuardrailsError::ApiServerUnknown { allowed_by } => {
            let place = policy.place(allowed_by).map(|place| format!(" ({place})")).unwrap_or_default();
            Failure::ApiServerUnknown { error, place }
        }
        GuardrailsError::ApiServerEverywhere { .. } => Failure::ApiServerEverywhere(error),
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
    print_objects(&objects, format)?;
    Ok(Exit::Fine)
}
