//! Stores the Jobs, pods and events of all jobs, and decides which changes to report.

mod ignored;
mod namespaced_name;
mod progress;
mod tracked_job;

use crate::cluster::Cluster;
use crate::object::{
    has_secret, id_of_job, id_of_name, id_of_pod, is_in_tenant_namespace, is_incomplete, label, timestamp,
};
use ignored::IgnoredObjects;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::watcher;
use namespaced_name::{
    NamespacedName, job_name_of_event, job_name_of_pod, may_be_runway_job, namespaced_name,
};
use progress::{Milestone, Progress};
use runway_control::JobSnapshot;
use runway_control::backend::{JobRef, WatchEvent};
use runway_core::JobId;
use runway_core::policy::RunSettings;
use runway_core::render::label;
use runway_core::status::{created_pod, has_run};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tracked_job::{TrackedJob, age_key};

/// An action that the caller must take after an update of the store.
pub(super) enum StoreEvent {
    /// Emit this event on the stream of the watch.
    Emit(WatchEvent),
    /// Emit the list of all jobs, because it is complete.
    ListComplete,
    /// Delete the Secret of this job, because the job has finished.
    StaleSecret(JobRef),
}

/// The reason to ignore a pod with the labels of a job.
const NOT_OWNED: &str = "its Job does not own it";

/// The maximum number of events to keep per job, including those of its pods.
const MAX_EVENTS_PER_JOB: usize = 16;

/// The maximum number of unknown Jobs whose events are kept. The first events of a new Job can arrive before
/// the Job.
const MAX_UNMATCHED_NAMES: usize = 256;

#[derive(Default)]
pub(super) struct Store {
    jobs: BTreeMap<JobId, TrackedJob>,
    /// The events of Jobs and pods by the name of the Job, because events have no labels.
    events: BTreeMap<NamespacedName, Vec<Event>>,
    /// The names of Jobs that were unknown when their first event arrived, in order of arrival.
    unmatched_events: VecDeque<NamespacedName>,
    /// The jobs with a Secret that this process has not deleted.
    jobs_with_secrets: BTreeSet<JobId>,
    /// The lists that are being received. Each watch lists independently, so `progress` contains only
    /// complete lists.
    partial: PartialLists,
    progress: Progress,
    /// The settings of the policy, which contain the namespace of each tenant.
    run: RunSettings,
    ignored: IgnoredObjects,
}

/// The objects of lists that are being received. They replace the stored objects when their list is complete.
#[derive(Default)]
struct PartialLists {
    jobs: Vec<Job>,
    pods: Vec<Pod>,
    events: Vec<Event>,
}

fn is_started_event(event: &Event) -> bool {
    event.reason.as_deref() == Some("Started")
}

impl Store {
    pub(super) fn new(run: RunSettings) -> Self {
        Self { run, ..Self::default() }
    }

    /// Returns the number of objects that were ignored since the last call, although they have Runway's
    /// labels.
    pub(super) fn take_ignored(&mut self) -> u64 {
        self.ignored.take_count()
    }

    /// Discards partial lists, because all three watches start again.
    pub(super) fn reset_for_relist(&mut self) {
        self.partial = PartialLists::default();
        self.progress = self.progress.after(Milestone::Relist);
    }

    pub(super) fn on_job(&mut self, update: watcher::Event<Box<Job>>) -> Vec<StoreEvent> {
        match update {
            watcher::Event::Init => {
                self.partial.jobs.clear();
                vec![StoreEvent::Emit(WatchEvent::ListStarted)]
            }
            watcher::Event::InitApply(job) => {
                self.partial.jobs.push(*job);
                Vec::new()
            }
            watcher::Event::InitDone => {
                for known in self.jobs.values_mut() {
                    known.is_gone = true;
                }
                let mut jobs = std::mem::take(&mut self.partial.jobs);
                // Of two Jobs with the same id, the older one counts.
                jobs.sort_unstable_by(|one, other| age_key(one).cmp(&age_key(other)));
                for job in jobs {
                    self.upsert_job(Box::new(job));
                }
                // A removed job is missing in the list that the watch emits next, so it needs no `Removed`
                // event.
                self.jobs.retain(|_, known| !known.is_gone || known.has_active_pods());
                self.progress = self.progress.after(Milestone::JobsListed);
                if self.progress.is_ready() { vec![StoreEvent::ListComplete] } else { Vec::new() }
            }
            watcher::Event::Apply(job) => {
                let id = self.upsert_job(job);
                self.emit(id)
            }
            watcher::Event::Delete(job) => {
                let id = self.upsert_job(job);
                if let Some(known) = id.and_then(|id| self.jobs.get_mut(&id)) {
                    known.is_gone = true;
                }
                self.emit(id)
            }
        }
    }

    /// Stores the state of a Job that exists in the cluster. Returns its id, or `None` if the store ignores
    /// the Job.
    pub(super) fn upsert_job(&mut self, job: Box<Job>) -> Option<JobId> {
        let Some(id) = id_of_job(&job) else {
            self.ignored.record("Job", &job.metadata, "its name does not match its labels");
            return None;
        };
        if !is_in_tenant_namespace(&job.metadata, &self.run) {
            self.ignored.record("Job", &job.metadata, "it is not in the namespace of its tenant");
            return None;
        }
        if let Some(other) = self.jobs.get(&id).and_then(|known| known.other_job(&job)) {
            let is_known_older = age_key(other) < age_key(&job);
            let ignored = if is_known_older { &job.metadata } else { &other.metadata };
            self.ignored.record("Job", ignored, "an older Job has the same id");
            if is_known_older {
                return None;
            }
        }
        // An incomplete Job that is being deleted is ignored, unless the watch has already reported it.
        let is_being_removed = is_incomplete(&job) && job.metadata.deletion_timestamp.is_some();
        if is_being_removed && self.jobs.get(&id).is_none_or(|known| known.last_emitted.is_none()) {
            return None;
        }
        if has_secret(&job) {
            self.jobs_with_secrets.insert(id);
        }
        let known = self.jobs.entry(id).or_default();
        let is_first = known.job.is_none();
        known.set_job(job);
        if is_first {
            for pod in &known.other_pods {
                self.ignored.record("Pod", &pod.metadata, NOT_OWNED);
            }
        }
        Some(id)
    }

    pub(super) fn on_pod(&mut self, update: watcher::Event<Box<Pod>>) -> Vec<StoreEvent> {
        match update {
            watcher::Event::Init => {
                self.partial.pods.clear();
                Vec::new()
            }
            watcher::Event::InitApply(pod) => {
                self.partial.pods.push(*pod);
                Vec::new()
            }
            watcher::Event::InitDone => {
                let pods = std::mem::take(&mut self.partial.pods);
                let names: BTreeSet<_> = pods.iter().map(|pod| pod.metadata.name.clone()).collect();
                for known in self.jobs.values_mut() {
                    let removed = known.pods.iter().chain(&known.other_pods);
                    let removed = removed.map(|pod| pod.metadata.name.clone());
                    let removed: Vec<_> = removed.filter(|name| !names.contains(name)).collect();
                    removed.iter().for_each(|name| known.remove_pod(name.as_deref()));
                }
                for pod in pods {
                    self.upsert_pod(pod);
                }
                let before = self.progress;
                self.progress = before.after(Milestone::PodsListed);
                match before {
                    Progress::Empty | Progress::AwaitingJobs => Vec::new(),
                    Progress::AwaitingPods => vec![StoreEvent::ListComplete],
                    Progress::Listed | Progress::Following => {
                        let ids: Vec<_> = self.jobs.keys().copied().collect();
                        ids.into_iter().flat_map(|id| self.emit(Some(id))).collect()
                    }
                }
            }
            watcher::Event::Apply(pod) => {
                let id = self.upsert_pod(*pod);
                self.emit(id)
            }
            watcher::Event::Delete(pod) => {
                let name = pod.metadata.name.clone();
                let id = self.upsert_pod(*pod);
                if let Some(known) = id.and_then(|id| self.jobs.get_mut(&id)) {
                    known.remove_pod(name.as_deref());
                }
                self.emit(id)
            }
        }
    }

    fn upsert_pod(&mut self, pod: Pod) -> Option<JobId> {
        let id = id_of_pod(&pod)?;
        if !is_in_tenant_namespace(&pod.metadata, &self.run) {
            self.ignored.record("Pod", &pod.metadata, "it is not in the namespace of its tenant");
            return None;
        }
        self.drop_redundant_events(&pod);
        let known = self.jobs.entry(id).or_default();
        if !known.has_pod(&pod) {
            self.ignored.record("Pod", &pod.metadata, NOT_OWNED);
        }
        known.upsert_pod(pod);
        Some(id)
    }

    /// Drops the event of the pod's creation, and its `Started` event if its own status shows the start.
    fn drop_redundant_events(&mut self, pod: &Pod) {
        if self.events.is_empty() {
            return;
        }
        let name = pod.metadata.name.as_deref();
        let job_name = name.and_then(|name| job_name_of_pod(pod.metadata.namespace.as_deref(), name));
        let Some(job_name) = job_name else { return };
        let Some(events) = self.events.get_mut(&job_name) else { return };
        let has_run = has_run(pod);
        events.retain(|event| {
            let is_start =
                has_run && is_started_event(event) && event.involved_object.name.as_deref() == name;
            !is_start && (name.is_none() || created_pod(event) != name)
        });
        if events.is_empty() {
            self.events.remove(&job_name);
        }
    }

    pub(super) fn on_event(&mut self, update: watcher::Event<Box<Event>>) -> Vec<StoreEvent> {
        match update {
            watcher::Event::Init => {
                self.partial.events.clear();
                Vec::new()
            }
            watcher::Event::InitApply(event) => {
                self.partial.events.push(*event);
                Vec::new()
            }
            watcher::Event::InitDone => {
                self.events.clear();
                self.unmatched_events.clear();
                let events = std::mem::take(&mut self.partial.events);
                events.into_iter().flat_map(|event| self.upsert_event(event)).collect()
            }
            watcher::Event::Apply(event) => self.upsert_event(*event),
            // The event has expired, but its information is still valid.
            watcher::Event::Delete(_) => Vec::new(),
        }
    }

    fn upsert_event(&mut self, event: Event) -> Vec<StoreEvent> {
        let Some(job_name) = job_name_of_event(&event) else { return Vec::new() };
        // Runway gives no Job such a name.
        if !may_be_runway_job(&job_name) {
            return Vec::new();
        }
        let id = self.job_by_name(&job_name);
        if id.is_some_and(|id| self.is_redundant(id, &event)) {
            return Vec::new();
        }
        if id.is_none() && self.progress.is_ready() && !self.events.contains_key(&job_name) {
            self.unmatched_events.push_back(job_name.clone());
            self.drop_unmatched();
        }
        let events = self.events.entry(job_name).or_default();
        events.retain(|known| known.metadata.name != event.metadata.name);
        events.push(event);
        if events.len() > MAX_EVENTS_PER_JOB {
            events.remove(0);
        }
        self.emit(id)
    }

    /// Returns `true` for the `Started` event of a pod whose own status shows the start, and for the event of
    /// the creation of a pod that is known.
    fn is_redundant(&self, id: JobId, event: &Event) -> bool {
        let Some(known) = self.jobs.get(&id) else { return false };
        let mut pods = known.pods.iter().chain(&known.gone_pods);
        match created_pod(event) {
            Some(created) => pods.any(|pod| pod.metadata.name.as_deref() == Some(created)),
            None => {
                let pod = pods.find(|pod| pod.metadata.name == event.involved_object.name);
                is_started_event(event) && pod.is_some_and(has_run)
            }
        }
    }

    /// Returns the id of the job whose Job has this namespace and name. A Job with the same id in another
    /// namespace does not match.
    fn job_by_name(&self, job_name: &NamespacedName) -> Option<JobId> {
        let has_name = |known: &TrackedJob| {
            known.job.as_ref().is_some_and(|job| namespaced_name(&job.metadata) == *job_name)
        };
        match id_of_name(&job_name.1) {
            Some(id) => self.jobs.get(&id).filter(|known| has_name(known)).map(|_| id),
            // The name may have been cut within the id, so all names are compared.
            None => self.jobs.iter().find(|(_, known)| has_name(known)).map(|(id, _)| *id),
        }
    }

    /// Drops the events of unknown Jobs above [`MAX_UNMATCHED_NAMES`], those of the oldest names first.
    fn drop_unmatched(&mut self) {
        while self.unmatched_events.len() > MAX_UNMATCHED_NAMES {
            let Some(oldest) = self.unmatched_events.pop_front() else { return };
            if self.job_by_name(&oldest).is_none() {
                self.events.remove(&oldest);
            }
        }
    }

    /// Returns the actions for a job that may have changed. The result is empty before the first lists are
    /// complete. It is also empty if the snapshot is unchanged and the job still exists.
    fn emit(&mut self, id: Option<JobId>) -> Vec<StoreEvent> {
        let Some(id) = id.filter(|_| self.progress.is_ready()) else { return Vec::new() };
        let Some(known) = self.jobs.get_mut(&id) else { return Vec::new() };
        // A pod can arrive before its Job, or after the removal of the Job was reported. A job that has only
        // pods is not reported here. If a pod is active, the next list reports the job.
        if known.job.is_none() && known.last_emitted.is_none() {
            if !known.has_active_pods() {
                self.jobs.remove(&id);
            }
            return Vec::new();
        }
        // An incomplete Job is not reported. A later change completes it, or the Job is deleted.
        if known.last_emitted.is_none() && known.job.as_deref().is_some_and(is_incomplete) {
            if known.is_gone && !known.has_active_pods() {
                self.jobs.remove(&id);
            }
            return Vec::new();
        }
        let mut store_events = Vec::new();
        let snapshot = known.snapshot(&self.events);
        if let Some(snapshot) =
            snapshot.map(Box::new).filter(|seen| known.last_emitted.as_ref() != Some(seen))
        {
            let has_finished = snapshot.status.phase.is_final() && !snapshot.status.occupies_resources;
            if has_finished && self.jobs_with_secrets.remove(&id) && !known.is_gone {
                store_events.push(StoreEvent::StaleSecret(snapshot.job_ref()));
            }
            known.last_emitted = Some(snapshot.clone());
            store_events.push(StoreEvent::Emit(WatchEvent::Updated(snapshot)));
        }
        if (known.is_gone || known.job.is_none()) && !known.has_active_pods() {
            if let Some(known) = self.jobs.remove(&id)
                && let Some(job) = known.job
            {
                self.events.remove(&namespaced_name(&job.metadata));
            }
            self.jobs_with_secrets.remove(&id);
            store_events.push(StoreEvent::Emit(WatchEvent::Removed(id)));
        }
        store_events
    }

    /// Returns the finished jobs whose Secrets this process has not deleted. Each job is returned only once.
    pub(super) fn stale_secrets(&mut self) -> Vec<JobRef> {
        let has_finished = |known: &&TrackedJob| {
            known
                .last_emitted
                .as_ref()
                .is_some_and(|seen| seen.status.phase.is_final() && !seen.status.occupies_resources)
        };
        let finished: Vec<_> =
            self.jobs.values().filter(has_finished).filter_map(|known| known.last_emitted.as_ref()).collect();
        finished
            .into_iter()
            .filter(|seen| self.jobs_with_secrets.remove(&seen.id))
            .map(|seen| seen.job_ref())
            .collect()
    }

    /// Returns the jobs of which only pods are known.
    pub(super) fn orphaned_jobs(&self) -> Vec<JobRef> {
        let orphaned = self.jobs.values().filter(|known| known.job.is_none());
        orphaned
            .filter_map(|known| {
                let pod = known.pods.first()?;
                let (name, tenant) =
                    (label(&pod.metadata, label::NAME)?, label(&pod.metadata, label::TENANT)?);
                Some(JobRef { id: id_of_pod(pod)?, name, tenant })
            })
            .collect()
    }

    /// Removes and returns the incomplete Jobs that were abandoned. Jobs that this process is creating never
    /// count.
    ///
    /// At the first list all other incomplete Jobs count, because the process that created them has ended. At
    /// later lists only those count that are older than `abandoned_after`.
    pub(super) fn take_abandoned(&mut self, cluster: &Cluster) -> Vec<Job> {
        let now = cluster.env.now();
        let is_abandoned = |id: &JobId, known: &TrackedJob| {
            let Some(job) = known.job.as_deref().filter(|job| is_incomplete(job)) else { return false };
            let created_at = job.metadata.creation_timestamp.as_ref().and_then(timestamp).unwrap_or_default();
            let age = Duration::from_nanos(now.nanos_since(created_at));
            !cluster.is_in_flight(*id)
                && (self.progress != Progress::Following || age > cluster.settings.abandoned_after)
        };
        let ids: Vec<_> =
            self.jobs.iter().filter(|(id, known)| is_abandoned(id, known)).map(|(id, _)| *id).collect();
        ids.iter().filter_map(|id| self.jobs.remove(id)?.job.map(|job| *job)).collect()
    }

    /// Returns the snapshots of all jobs, for a list. Incomplete Jobs that were never reported are left out.
    /// Also drops the data of removed jobs.
    pub(super) fn take_list(&mut self) -> Vec<JobSnapshot> {
        self.jobs.retain(|_, known| known.job.is_some() && !known.is_gone || known.has_active_pods());
        let job_names: BTreeSet<_> = self
            .jobs
            .values()
            .filter_map(|known| Some(namespaced_name(&known.job.as_ref()?.metadata)))
            .collect();
        let unmatched: BTreeSet<_> = self.unmatched_events.iter().collect();
        self.events.retain(|place, _| job_names.contains(place) || unmatched.contains(place));
        self.jobs_with_secrets.retain(|id| self.jobs.contains_key(id));
        self.progress = self.progress.after(Milestone::ListTaken);
        let events = &self.events;
        let to_snapshot = |known: &mut TrackedJob| {
            let is_complete =
                known.last_emitted.is_some() || !known.job.as_deref().is_some_and(is_incomplete);
            let snapshot = if is_complete { known.snapshot(events) } else { None };
            known.last_emitted = snapshot.clone().map(Box::new);
            snapshot
        };
        self.jobs.values_mut().filter_map(to_snapshot).collect()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trace_tests;
