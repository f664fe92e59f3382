//! `runway policy render`: prints the guardrails, which are Kubernetes objects that enforce the policy. They
//! also apply to pods that Runway did not create.

use super::render::{print_objects, to_json};
use crate::arguments::TextOrJson;
use crate::error::CliError;
use crate::{Exit, policy};
use runway_core::guardrails::{GuardrailsError, guardrails};
use runway_core::policy::Cidr;
use std::path::Path;

pub(super) fn run(api_server: &[Cidr], file: Option<&Path>, format: TextOrJson) -> Result<Exit, CliError> {
    let policy = policy::load(file)?;
    let guardrails = guardrails(&policy.policy, api_server).map_err(|error| match &error {
        GuardrailsError::ApiServerUnknown { allowed_by } => {
            let location = policy.location(allowed_by).map(|place| format!(" ({place})")).unwrap_or_default();
            CliError::ApiServerUnknown { error, place: location }
        }
        GuardrailsError::ApiServerEverywhere { .. } => CliError::ApiServerEverywhere(error),
    })?;
    let mut objects = Vec::new();
    for namespace_guardrails in &guardrails {
        objects.push(to_json(&namespace_guardrails.namespace)?);
        objects.push(to_json(&namespace_guardrails.resource_quota)?);
        if let Some(range) = &namespace_guardrails.limit_range {
            objects.push(to_json(range)?);
        }
        for network in &namespace_guardrails.network_policies {
            objects.push(to_json(network)?);
        }
        objects.push(to_json(&namespace_guardrails.admission_policy)?);
        objects.push(to_json(&namespace_guardrails.admission_policy_binding)?);
    }
    print_objects(&objects, format)?;
    Ok(Exit::Success)
}
