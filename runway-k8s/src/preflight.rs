//! Checks whether Runway has the permissions that it needs.

use crate::backend::KubernetesBackend;
use crate::failure::retry;
use crate::settings::Scope;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use runway_control::backend::Unavailable;
use std::fmt;

/// A permission that Runway needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The API group. Empty for the core group.
    pub group: &'static str,
    /// The resource, with a subresource after a slash.
    pub resource: &'static str,
    /// The verb.
    pub verb: &'static str,
    /// The consequence if Runway does not have the permission.
    pub purpose: &'static str,
}

const fn need(
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    purpose: &'static str,
) -> Need {
    Need { group, resource, verb, purpose }
}

/// The permissions that Runway needs in the namespaces of its jobs.
pub const NEEDS: &[Need] = &[
    need("batch", "jobs", "create", "jobs cannot be created"),
    need("batch", "jobs", "get", "after a lost response, it stays unknown whether a job was created"),
    need("batch", "jobs", "list", "running jobs cannot be counted"),
    need("batch", "jobs", "watch", "changes of jobs are not detected"),
    need("batch", "jobs", "patch", "jobs cannot be marked as cancelled, and jobs with secrets cannot start"),
    need("batch", "jobs", "delete", "jobs cannot be cancelled"),
    need("", "pods", "list", "running pods cannot be counted"),
    need("", "pods", "watch", "the causes of failed jobs are not detected"),
    need("", "pods/log", "get", "the output of jobs cannot be read"),
    need("", "secrets", "create", "jobs with secrets cannot be created"),
    need("", "secrets", "delete", "the secrets of finished jobs stay until the jobs are deleted"),
    need("", "events", "list", "the causes of rejected pods and failed starts are not detected"),
    need("", "events", "watch", "the causes of rejected pods and failed starts are not detected"),
];

/// A permission that Runway needs and does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingRight {
    /// The permission.
    pub need: Need,
    /// The namespace in which the permission is missing. `None` if it is needed in all namespaces.
    pub namespace: Option<String>,
    /// The reason that the cluster gives. Empty if it gives none.
    pub reason: String,
}

impl fmt::Display for MissingRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Need { group, resource, verb, purpose } = self.need;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "Runway is not allowed to {verb} {resource}{dot}{group}")?;
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace `{namespace}`")?,
            None => f.write_str(" in all namespaces")?,
        }
        write!(f, ": {purpose}")
    }
}

impl KubernetesBackend {
    /// Checks each required permission and returns the missing ones.
    ///
    /// # Errors
    /// [`Unavailable`] if the cluster cannot be reached.
    pub async fn missing_rights(&self) -> Result<Vec<MissingRight>, Unavailable> {
        let namespace = match &self.cluster.settings.scope {
            Scope::Namespace(namespace) => Some(namespace.clone()),
            Scope::All => None,
        };
        let mut missing = Vec::new();
        for need in NEEDS {
            let review = review(need, namespace.clone());
            let api: Api<SelfSubjectAccessReview> = Api::all(self.cluster.client.clone());
            let parameters = PostParams::default();
            let ask = || api.create(&parameters, &review);
            let answer = retry(self.cluster.settings.call_timeout, "checking permissions", ask).await?;
            let status = answer.status.unwrap_or_default();
            if !status.allowed {
                let reason = status.reason.unwrap_or_default();
                missing.push(MissingRight { need: *need, namespace: namespace.clone(), reason });
            }
        }
        Ok(missing)
    }
}

fn review(need: &Need, namespace: Option<String>) -> SelfSubjectAccessReview {
    let (resource, subresource) = match need.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (need.resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(need.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(need.verb.to_owned()),
        namespace,
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    }
}
