//! Stores the Jobs, pods and events of all jobs, and decides which changes to report.

mod namespaced_name;
mod progress;
mod tracked_job;

use crate::cluster::Cluster;
use crate::object::{has_secret, id_of_job, id_of_name, id_of_pod, is_incomplete, label, timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::watcher::Event as News;
use namespaced_name::{NamespacedName, may_be_runways, name_of_event, name_of_pod, namespaced_name};
use progress::{Milestone, Progress};
use runway_control::Observation;
use runway_control::backend::{JobRef, WatchEvent};
use runway_core::JobId;
use runway_core::render::label;
use runway_core::status::has_run;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tracked_job::TrackedJob;

/// The effect of an update.
pub(super) enum Told {
    /// Emit this event to the watch.
    Event(WatchEvent),
    /// The list of all jobs is complete.
    Complete,
    /// The job has finished, and its Secret still exists.
    SecretOutlived(JobRef),
}

/// The maximum number of events to keep per job, including those of its pods.
const EVENTS_KEPT: usize = 16;

/// The maximum number of unknown Jobs whose events are kept. The first events of a new Job can arrive before
/// the Job.
const UNCLAIMED_KEPT: usize = 256;

#[derive(Default)]
pub(super) struct Store {
    jobs: BTreeMap<JobId, TrackedJob>,
    /// The events of Jobs and pods by the name of the Job, because events have no labels.
    events: BTreeMap<NamespacedName, Vec<Event>>,
    /// The names of unknown Jobs that have events, in order of arrival.
    unclaimed: VecDeque<NamespacedName>,
    /// The jobs with a Secret that this process has not deleted.
    secrets: BTreeSet<JobId>,
    /// The lists that are being received. Each watch lists independently, so they are not part of the
    /// progress.
    partial: PartialLists,
    progress: Progress,
}

/// The objects of lists that are being received. They replace the stored objects when their list is complete.
#[derive(Default)]
struct PartialLists {
    jobs: Vec<Job>,
    pods: Vec<Pod>,
    events: Vec<Event>,
}

fn is_start(event: &Event) -> bool {
    event.reason.as_deref() == Some("Started")
}

impl Store {
    /// Discards partial lists, because all three watches start again.
    pub(super) fn begin_again(&mut self) {
        self.partial = PartialLists::default();
        self.progress = self.progress.after(Milestone::Relist);
    }

    pub(super) fn job(&mut self, news: News<Box<Job>>) -> Vec<Told> {
        match news {
            News::Init => {
                self.partial.jobs.clear();
                vec![Told::Event(WatchEvent::ListingBegan)]
            }
            News::InitApply(job) => {
                self.partial.jobs.push(*job);
                Vec::new()
            }
            News::InitDone => {
                for known in self.jobs.values_mut() {
                    known.is_gone = true;
                }
                for job in std::mem::take(&mut self.partial.jobs) {
                    self.put_job(Box::new(job));
                }
                // A removed job is not in the list, so it needs no separate event.
                self.jobs.retain(|_, known| !known.is_gone || known.has_live_pods());
                self.progress = self.progress.after(Milestone::JobsListed);
                if self.progress.is_ready() { vec![Told::Complete] } else { Vec::new() }
            }
            News::Apply(job) => {
                let id = self.put_job(job);
                self.tell(id)
            }
            News::Delete(job) => {
                let id = self.put_job(job);
                if let Some(known) = id.and_then(|id| self.jobs.get_mut(&id)) {
                    known.is_gone = true;
                }
                self.tell(id)
            }
        }
    }

    /// Inserts or updates an existing Job.
    pub(super) fn put_job(&mut self, job: Box<Job>) -> Option<JobId> {
        let Some(id) = id_of_job(&job) else {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            tracing::warn!(
                name,
                "ignoring a Job whose name does not match its Runway labels"
            );
            return None;
        };
        // An incomplete Job that is being deleted was never reported, so it is ignored.
        let is_being_removed = is_incomplete(&job) && job.metadata.deletion_timestamp.is_some();
        if is_being_removed && self.jobs.get(&id).is_none_or(|known| known.told.is_none()) {
            return None;
        }
        if has_secret(&job) {
            self.secrets.insert(id);
        }
        let known = self.jobs.entry(id).or_default();
        let is_another = |before: &Job| before.metadata.uid != job.metadata.uid;
        if known.job.as_deref().is_some_and(is_another) {
            known.gone_pods.clear();
            known.earlier_pods.clear();
        }
        known.job = Some(job);
        known.is_gone = false;
        Some(id)
    }

    pub(super) fn pod(&mut self, news: News<Box<Pod>>) -> Vec<Told> {
        match news {
            News::Init => {
                self.partial.pods.clear();
                Vec::new()
            }
            News::InitApply(pod) => {
                self.partial.pods.push(*pod);
                Vec::new()
            }
            News::InitDone => {
                let pods = std::mem::take(&mut self.partial.pods);
                let names: BTreeSet<_> = pods.iter().map(|pod| pod.metadata.name.clone()).collect();
                for known in self.jobs.values_mut() {
                    let left = known.pods.iter().map(|pod| pod.metadata.name.clone());
                    let left: Vec<_> = left.filter(|name| !names.contains(name)).collect();
                    left.iter().for_each(|name| known.forget_pod(name.as_deref()));
                }
                for pod in pods {
                    self.put_pod(pod);
                }
                let before = self.progress;
                self.progress = before.after(Milestone::PodsListed);
                match before {
                    Progress::Empty | Progress::AwaitingJobs => Vec::new(),
                    Progress::AwaitingPods => vec![Told::Complete],
                    Progress::Listed | Progress::Following => {
                        let ids: Vec<_> = self.jobs.keys().copied().collect();
                        ids.into_iter().flat_map(|id| self.tell(Some(id))).collect()
                    }
                }
            }
            News::Apply(pod) => {
                let id = self.put_pod(*pod);
                self.tell(id)
            }
            News::Delete(pod) => {
                let name = pod.metadata.name.clone();
                let id = self.put_pod(*pod);
                if let Some(known) = id.and_then(|id| self.jobs.get_mut(&id)) {
                    known.forget_pod(name.as_deref());
                }
                self.tell(id)
            }
        }
    }

    fn put_pod(&mut self, pod: Pod) -> Option<JobId> {
        let id = id_of_pod(&pod)?;
        self.forget_start(&pod);
        self.jobs.entry(id).or_default().put_pod(pod);
        Some(id)
    }

    /// Drops the `Started` event of a pod whose own status shows the start.
    fn forget_start(&mut self, pod: &Pod) {
        if self.events.is_empty() || !has_run(pod) {
            return;
        }
        let name = pod.metadata.name.as_deref();
        let place = name.and_then(|name| name_of_pod(pod.metadata.namespace.as_deref(), name));
        if let Some(events) = place.and_then(|place| self.events.get_mut(&place)) {
            events.retain(|event| !is_start(event) || event.involved_object.name.as_deref() != name);
        }
    }

    pub(super) fn event(&mut self, news: News<Box<Event>>) -> Vec<Told> {
        match news {
            News::Init => {
                self.partial.events.clear();
                Vec::new()
            }
            News::InitApply(event) => {
                self.partial.events.push(*event);
                Vec::new()
            }
            News::InitDone => {
                self.events.clear();
                self.unclaimed.clear();
                let events = std::mem::take(&mut self.partial.events);
                events.into_iter().flat_map(|event| self.put_event(event)).collect()
            }
            News::Apply(event) => self.put_event(*event),
            // The event has expired, but its information is still valid.
            News::Delete(_) => Vec::new(),
        }
    }

    fn put_event(&mut self, event: Event) -> Vec<Told> {
        let Some(place) = name_of_event(&event) else { return Vec::new() };
        // The Job cannot be one of Runway's.
        if !may_be_runways(&place) {
            return Vec::new();
        }
        let id = self.job_at(&place);
        if id.is_some_and(|id| self.is_redundant(id, &event)) {
            return Vec::new();
        }
        if id.is_none() && self.progress.is_ready() && !self.events.contains_key(&place) {
            self.unclaimed.push_back(place.clone());
            self.forget_unclaimed();
        }
        let events = self.events.entry(place).or_default();
        events.retain(|known| known.metadata.name != event.metadata.name);
        events.push(event);
        if events.len() > EVENTS_KEPT {
            events.remove(0);
        }
        self.tell(id)
    }

    /// Returns `true` for the `Started` event of a pod whose own status shows the start.
    fn is_redundant(&self, id: JobId, event: &Event) -> bool {
        let pods = self.jobs.get(&id).map(|known| known.pods.as_slice()).unwrap_or_default();
        let pod = pods.iter().find(|pod| pod.metadata.name == event.involved_object.name);
        is_start(event) && pod.is_some_and(has_run)
    }

    /// Returns the job whose Job has this namespace and name. A Job with the same id in another namespace
    /// does not match.
    fn job_at(&self, place: &NamespacedName) -> Option<JobId> {
        let is_there = |known: &TrackedJob| {
            known.job.as_ref().is_some_and(|job| namespaced_name(&job.metadata) == *place)
        };
        match id_of_name(&place.1) {
            Some(id) => self.jobs.get(&id).filter(|known| is_there(known)).map(|_| id),
            // The name was cut within the id.
            None => self.jobs.iter().find(|(_, known)| is_there(known)).map(|(id, _)| *id),
        }
    }

    /// Drops the oldest events of unknown Jobs above the limit.
    fn forget_unclaimed(&mut self) {
        while self.unclaimed.len() > UNCLAIMED_KEPT {
            let Some(oldest) = self.unclaimed.pop_front() else { return };
            if self.job_at(&oldest).is_none() {
                self.events.remove(&oldest);
            }
        }
    }

    /// Emits the events for a job that has changed.
    fn tell(&mut self, id: Option<JobId>) -> Vec<Told> {
        let Some(id) = id.filter(|_| self.progress.is_ready()) else { return Vec::new() };
        let Some(known) = self.jobs.get_mut(&id) else { return Vec::new() };
        // A pod can arrive before its Job, or after the removal of the Job was reported. A job
        // with only pods is reported in the next list.
        if known.job.is_none() && known.told.is_none() {
            if !known.has_live_pods() {
                self.jobs.remove(&id);
            }
            return Vec::new();
        }
        // An incomplete Job is not reported: its creation continues, or it is deleted.
        if known.told.is_none() && known.job.as_deref().is_some_and(is_incomplete) {
            if known.is_gone && !known.has_live_pods() {
                self.jobs.remove(&id);
            }
            return Vec::new();
        }
        let mut told = Vec::new();
        let seen = known.observation(&self.events);
        if let Some(seen) = seen.map(Box::new).filter(|seen| known.told.as_ref() != Some(seen)) {
            let has_ended = seen.status.phase.is_final() && !seen.status.holds;
            if has_ended && self.secrets.remove(&id) && !known.is_gone {
                told.push(Told::SecretOutlived(seen.job()));
            }
            known.told = Some(seen.clone());
            told.push(Told::Event(WatchEvent::Changed(seen)));
        }
        if (known.is_gone || known.job.is_none()) && !known.has_live_pods() {
            if let Some(known) = self.jobs.remove(&id)
                && let Some(job) = known.job
            {
                self.events.remove(&namespaced_name(&job.metadata));
            }
            self.secrets.remove(&id);
            told.push(Told::Event(WatchEvent::Gone(id)));
        }
        told
    }

    /// Returns the finished jobs whose Secrets still exist.
    pub(super) fn outlived(&mut self) -> Vec<JobRef> {
        let ended = |known: &&TrackedJob| {
            known.told.as_ref().is_some_and(|seen| seen.status.phase.is_final() && !seen.status.holds)
        };
        let ended: Vec<_> =
            self.jobs.values().filter(ended).filter_map(|known| known.told.as_ref()).collect();
        ended.into_iter().filter(|seen| self.secrets.remove(&seen.id)).map(|seen| seen.job()).collect()
    }

    /// Returns the jobs of which only pods are known.
    pub(super) fn orphans(&self) -> Vec<JobRef> {
        let orphans = self.jobs.values().filter(|known| known.job.is_none());
        orphans
            .filter_map(|known| {
                let pod = known.pods.first()?;
                let (name, tenant) =
                    (label(&pod.metadata, label::NAME)?, label(&pod.metadata, label::TENANT)?);
                Some(JobRef { id: id_of_pod(pod)?, name, tenant })
            })
            .collect()
    }

    /// Removes and returns the incomplete Jobs that were abandoned. At the first list these are all
    /// incomplete Jobs that this process is not creating, because the process that created them has ended.
    pub(super) fn take_abandoned(&mut self, cluster: &Cluster) -> Vec<Job> {
        let now = cluster.surroundings.now();
        let is_abandoned = |id: &JobId, known: &TrackedJob| {
            let Some(job) = known.job.as_deref().filter(|job| is_incomplete(job)) else { return false };
            let created = job.metadata.creation_timestamp.as_ref().and_then(timestamp).unwrap_or_default();
            let age = Duration::from_nanos(now.nanos_since(created));
            !cluster.is_creating(*id)
                && (self.progress != Progress::Following || age > cluster.settings.abandoned_after)
        };
        let ids: Vec<_> =
            self.jobs.iter().filter(|(id, known)| is_abandoned(id, known)).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.jobs.remove(id)?.job.map(|job| *job)).collect()
    }

    /// Returns the snapshots of all jobs, for a list.
    pub(super) fn observations(&mut self) -> Vec<Observation> {
        self.jobs.retain(|_, known| known.job.is_some() && !known.is_gone || known.has_live_pods());
        let places: BTreeSet<_> = self
            .jobs
            .values()
            .filter_map(|known| Some(namespaced_name(&known.job.as_ref()?.metadata)))
            .collect();
        let unclaimed: BTreeSet<_> = self.unclaimed.iter().collect();
        self.events.retain(|place, _| places.contains(place) || unclaimed.contains(place));
        self.secrets.retain(|id| self.jobs.contains_key(id));
        self.progress = self.progress.after(Milestone::ListTaken);
        let events = &self.events;
        let observed = |known: &mut TrackedJob| {
            let is_complete = known.told.is_some() || !known.job.as_deref().is_some_and(is_incomplete);
            let seen = if is_complete { known.observation(events) } else { None };
            known.told = seen.clone().map(Box::new);
            seen
        };
        self.jobs.values_mut().filter_map(observed).collect()
    }
}

#[cfg(test)]
mod tests;
