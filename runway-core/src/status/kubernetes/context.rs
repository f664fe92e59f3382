//! The Job and the events of a pod. The causes of the pod depend on them.

use super::event::Events;
use super::job::ObservedJob;
use k8s_openapi::api::core::v1::Pod;

/// The Job and the events of one job.
pub(super) struct Context<'a> {
    pub job: Option<ObservedJob<'a>>,
    pub events: Events<'a>,
}

/// The annotation with which a pod or a service mesh names the container that does the work.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The name that Runway gives to the container of a job.
const RUNWAY_CONTAINER: &str = "job";

impl<'a> Context<'a> {
    /// Returns the name of the container that does the work of the job, in any pod of the Job.
    pub(super) fn main_container(&self) -> Option<&'a str> {
        self.job.and_then(|job| job.container_names().next())
    }
}

/// Returns the name of the container that does the work. The other containers of a pod are companions, such as
/// the proxy that a service mesh adds to the pod. `in_template` are the containers of the Job's template,
/// which contains no companions.
pub(super) fn main_container_of<'a>(
    pod: &'a Pod,
    in_template: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let containers = pod.spec.as_ref()?.containers.as_slice();
    let annotations = pod.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|all| all.get(DEFAULT_CONTAINER)).map(String::as_str);
    let mut candidates = annotated.into_iter().chain(in_template).chain([RUNWAY_CONTAINER]);
    let exists = |name: &&str| containers.iter().any(|container| container.name == *name);
    candidates.find(exists).or_else(|| containers.first().map(|container| container.name.as_str()))
}
