//! One job, as the watches show it.

use super::namespaced_name::{NamespacedName, namespaced_name};
use crate::object::observe;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use runway_control::Observation;
use runway_core::status::{Seen, lives, says_less};
use std::collections::BTreeMap;

/// How many pods that are gone are kept of a job. A job has more only where its pods are taken from it again and again.
const GONE_PODS_KEPT: usize = 32;

#[derive(Default)]
pub(super) struct TrackedJob {
    pub(super) job: Option<Box<Job>>,
    /// Whether the Job is gone; then `job` is the last that was seen of it.
    pub(super) is_gone: bool,
    pub(super) pods: Vec<Pod>,
    pub(super) gone_pods: Vec<Pod>,
    /// Earlier states of pods, at most one of each: see [`says_less`].
    pub(super) earlier_pods: Vec<Pod>,
    /// The last that was told of it.
    pub(super) told: Option<Box<Observation>>,
}

impl TrackedJob {
    pub(super) fn has_live_pods(&self) -> bool {
        self.pods.iter().any(lives)
    }

    pub(super) fn forget_pod(&mut self, name: Option<&str>) {
        if let Some(at) = self.pods.iter().position(|pod| pod.metadata.name.as_deref() == name) {
            self.gone_pods.push(self.pods.swap_remove(at));
            if self.gone_pods.len() > GONE_PODS_KEPT {
                // The first attempts say least of how it ended.
                let forgotten = self.gone_pods.remove(0);
                self.earlier_pods.retain(|pod| pod.metadata.uid != forgotten.metadata.uid);
            }
        }
    }

    /// Stores the newest state of a pod. Keeps the state before it if that shows more.
    pub(super) fn put_pod(&mut self, pod: Pod) {
        let Some(known) = self.pods.iter_mut().find(|known| known.metadata.name == pod.metadata.name) else {
            self.pods.push(pod);
            return;
        };
        let before = std::mem::replace(known, pod);
        if says_less(known, &before) {
            self.earlier_pods.retain(|pod| pod.metadata.uid != before.metadata.uid);
            self.earlier_pods.push(before);
        }
    }

    pub(super) fn observation(&self, events: &BTreeMap<NamespacedName, Vec<Event>>) -> Option<Observation> {
        let job = self.job.as_deref();
        let about =
            |job: &Job| if events.is_empty() { None } else { events.get(&namespaced_name(&job.metadata)) };
        let events = job.and_then(about).map_or(&[][..], Vec::as_slice);
        observe(&Seen {
            job,
            pods: &self.pods,
            gone_pods: &self.gone_pods,
            earlier_pods: &self.earlier_pods,
            events,
        })
    }
}
