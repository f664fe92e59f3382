//! Pods that the API server rejects.

use super::rules::{self, matching_rule};
use crate::status::Reason;
use crate::status::cause::{Cause, quoted};

/// Returns the cause of a pod that the API server rejected with this message.
pub(super) fn rejected(message: &str) -> Cause {
    let hint = matching_rule(rules::ADMISSION, message).map(|rule| rule.hint);
    let description = match name_of_webhook(message) {
        Some(name) => format!(
            "no pod can be created, because the admission webhook {name} does not respond: {}",
            quoted(message)
        ),
        None => format!("the cluster rejects its pods: {}", quoted(message)),
    };
    Cause::new(Reason::PodsRejected, description)
        .with_hint(hint.unwrap_or("the cluster rejects the pods; ask the administrators of the cluster"))
}

/// Returns the quoted name of the webhook that could not be called.
fn name_of_webhook(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("failed calling webhook \"")?;
    rest.split_once('"').map(|(name, _)| quoted(name))
}
