//! The objects of one job.

use super::namespaced_name::{NamespacedName, namespaced_name};
use crate::object::{belongs_to, to_snapshot};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use runway_control::JobSnapshot;
use runway_core::status::{JobObjects, is_active, is_less_informative};
use std::collections::BTreeMap;

/// The maximum number of removed pods to keep per job. A job exceeds it only if its pods are deleted
/// repeatedly.
const MAX_GONE_PODS: usize = 32;

/// The maximum number of earlier states to keep per pod: one for each kind of lost information.
const MAX_STATES_PER_POD: usize = 3;

#[derive(Default)]
pub(super) struct TrackedJob {
    pub(super) job: Option<Box<Job>>,
    /// Whether the Job was removed. `job` is then its last state.
    pub(super) is_gone: bool,
    pub(super) pods: Vec<Pod>,
    /// The pods with the labels of this job that its Job does not own. They are kept, because another Job with
    /// the same name may own them, and the watch of Jobs may be late.
    pub(super) other_pods: Vec<Pod>,
    pub(super) gone_pods: Vec<Pod>,
    /// Earlier states of pods. See [`is_less_informative`].
    pub(super) earlier_pods: Vec<Pod>,
    /// The snapshot that was last emitted.
    pub(super) last_emitted: Option<Box<JobSnapshot>>,
}

impl TrackedJob {
    pub(super) fn has_active_pods(&self) -> bool {
        self.pods.iter().any(is_active)
    }

    /// Returns the existing Job, if it is in another namespace than `job` or has another name.
    pub(super) fn other_job(&self, job: &Job) -> Option<&Job> {
        let name = |job: &Job| (job.metadata.namespace.clone(), job.metadata.name.clone());
        self.job.as_deref().filter(|known| !self.is_gone && name(known) != name(job))
    }

    /// Stores the state of a Job that exists. Drops the removed pods of another Job with the same name.
    pub(super) fn set_job(&mut self, job: Box<Job>) {
        if self.job.as_deref().is_none_or(|known| known.metadata.uid != job.metadata.uid) {
            let owns = |pod: &Pod| belongs_to(pod, Some(&job));
            let pods = std::mem::take(&mut self.pods).into_iter().chain(std::mem::take(&mut self.other_pods));
            (self.pods, self.other_pods) = pods.partition(owns);
            self.gone_pods.retain(owns);
            self.earlier_pods.retain(owns);
        }
        self.job = Some(job);
        self.is_gone = false;
    }

    /// Returns `true` if the pod belongs to this job. A pod that its Job owned before still belongs to it: a
    /// pod loses its owner when its Job is deleted without it.
    pub(super) fn has_pod(&self, pod: &Pod) -> bool {
        let is_known = pod.metadata.uid.is_some()
            && self.pods.iter().any(|known| known.metadata.uid == pod.metadata.uid);
        is_known || belongs_to(pod, self.job.as_deref())
    }

    pub(super) fn remove_pod(&mut self, name: Option<&str>) {
        self.other_pods.retain(|pod| pod.metadata.name.as_deref() != name);
        if let Some(at) = self.pods.iter().position(|pod| pod.metadata.name.as_deref() == name) {
            self.gone_pods.push(self.pods.swap_remove(at));
            if self.gone_pods.len() > MAX_GONE_PODS {
                // The oldest pod is dropped, because later attempts explain the end of the job better.
                let forgotten = self.gone_pods.remove(0);
                self.earlier_pods.retain(|pod| pod.metadata.uid != forgotten.metadata.uid);
            }
        }
    }

    /// Stores the new state of a pod. Keeps the previous state if it is more informative.
    pub(super) fn upsert_pod(&mut self, pod: Pod) {
        self.other_pods.retain(|known| known.metadata.name != pod.metadata.name);
        if !self.has_pod(&pod) {
            self.other_pods.push(pod);
            return;
        }
        let Some(known) = self.pods.iter_mut().find(|known| known.metadata.name == pod.metadata.name) else {
            self.pods.push(pod);
            return;
        };
        let before = std::mem::replace(known, pod);
        if is_less_informative(known, &before) {
            // An older state is kept if it has information that the newer one lacks.
            let is_same_pod = |kept: &Pod| kept.metadata.uid == before.metadata.uid;
            self.earlier_pods.retain(|kept| !is_same_pod(kept) || is_less_informative(&before, kept));
            if self.earlier_pods.iter().filter(|kept| is_same_pod(kept)).count() >= MAX_STATES_PER_POD
                && let Some(oldest) = self.earlier_pods.iter().position(is_same_pod)
            {
                self.earlier_pods.remove(oldest);
            }
            self.earlier_pods.push(before);
        }
    }

    pub(super) fn snapshot(&self, events: &BTreeMap<NamespacedName, Vec<Event>>) -> Option<JobSnapshot> {
        let job = self.job.as_deref();
        let about =
            |job: &Job| if events.is_empty() { None } else { events.get(&namespaced_name(&job.metadata)) };
        let events = job.and_then(about).map_or(&[][..], Vec::as_slice);
        to_snapshot(&JobObjects {
            job,
            pods: &self.pods,
            gone_pods: &self.gone_pods,
            earlier_pods: &self.earlier_pods,
            events,
        })
    }
}

/// Returns the key that orders Jobs by their age. Jobs of the same age have the order of their namespaces and
/// names.
pub(super) fn age_key(job: &Job) -> (Option<Timestamp>, Option<&str>, Option<&str>) {
    let meta = &job.metadata;
    let created_at = meta.creation_timestamp.as_ref().map(|time| time.0);
    (created_at, meta.namespace.as_deref(), meta.name.as_deref())
}
