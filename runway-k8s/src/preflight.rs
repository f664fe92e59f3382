//! Checks whether Runway has the permissions that it needs.

use crate::backend::KubernetesBackend;
use crate::call_error::retry;
use crate::settings::WatchScope;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use runway_control::backend::Unavailable;
use std::fmt;

/// A permission that Runway needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// The API group. Empty for the core group.
    pub group: &'static str,
    /// The resource, with a subresource after a slash.
    pub resource: &'static str,
    /// The verb.
    pub verb: &'static str,
    /// The consequence if Runway does not have the permission.
    pub consequence: &'static str,
}

const fn permission(
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    consequence: &'static str,
) -> Permission {
    Permission { group, resource, verb, consequence }
}

/// The permissions that Runway needs in the namespaces of its jobs.
pub const REQUIRED_PERMISSIONS: &[Permission] = &[
    permission("batch", "jobs", "create", "jobs cannot be created"),
    permission("batch", "jobs", "get", "after a lost response, it stays unknown whether a job was created"),
    permission("batch", "jobs", "list", "running jobs cannot be counted"),
    permission("batch", "jobs", "watch", "changes of jobs are not detected"),
    permission(
        "batch",
        "jobs",
        "patch",
        "jobs cannot be marked as cancelled, and jobs with secrets cannot start",
    ),
    permission("batch", "jobs", "delete", "jobs cannot be cancelled"),
    permission("", "pods", "list", "running pods cannot be counted"),
    permission("", "pods", "watch", "the causes of failed jobs are not detected"),
    permission("", "pods/log", "get", "the output of jobs cannot be read"),
    permission("", "secrets", "create", "jobs with secrets cannot be created"),
    permission("", "secrets", "delete", "the secrets of finished jobs stay until the jobs are deleted"),
    permission("", "events", "list", "the causes of rejected pods and failed starts are not detected"),
    permission("", "events", "watch", "the causes of rejected pods and failed starts are not detected"),
];

/// A permission that Runway needs and does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingPermission {
    /// The permission.
    pub permission: Permission,
    /// The namespace in which the permission is missing. `None` if it is needed in all namespaces.
    pub namespace: Option<String>,
    /// The reason that the cluster gives. Empty if it gives none.
    pub reason: String,
}

impl fmt::Display for MissingPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Permission { group, resource, verb, consequence } = self.permission;
        let dot = if group.is_empty() { "" } else { "." };
        write!(f, "Runway is not allowed to {verb} {resource}{dot}{group}")?;
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace `{namespace}`")?,
            None => f.write_str(" in all namespaces")?,
        }
        write!(f, ": {consequence}")
    }
}

impl KubernetesBackend {
    /// Checks each required permission and returns the missing ones.
    ///
    /// # Errors
    /// [`Unavailable`] if a check fails, for example because the cluster cannot be reached.
    pub async fn missing_permissions(&self) -> Result<Vec<MissingPermission>, Unavailable> {
        let namespace = match &self.cluster.settings.scope {
            WatchScope::Namespace(namespace) => Some(namespace.clone()),
            WatchScope::AllNamespaces => None,
        };
        let mut missing = Vec::new();
        for permission in REQUIRED_PERMISSIONS {
            let access_review = new_access_review(permission, namespace.clone());
            let api: Api<SelfSubjectAccessReview> = Api::all(self.cluster.client.clone());
            let parameters = PostParams::default();
            let create = || api.create(&parameters, &access_review);
            let response = retry(self.cluster.settings.call_timeout, "checking permissions", create).await?;
            let status = response.status.unwrap_or_default();
            if !status.allowed {
                let reason = status.reason.unwrap_or_default();
                missing.push(MissingPermission {
                    permission: *permission,
                    namespace: namespace.clone(),
                    reason,
                });
            }
        }
        Ok(missing)
    }
}

fn new_access_review(permission: &Permission, namespace: Option<String>) -> SelfSubjectAccessReview {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource, None),
    };
    let attributes = ResourceAttributes {
        group: Some(permission.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(permission.verb.to_owned()),
        namespace,
        ..ResourceAttributes::default()
    };
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() },
        ..Default::default()
    }
}
