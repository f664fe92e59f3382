//! Watches the jobs of the cluster: combines three watches into one stream.
//!
//! Jobs, pods and events are listed and watched independently. An interrupted watch resumes. If the server no
//! longer has the position of a watch (`410 Gone`), only that watch relists. At an interval, all three
//! watches relist, even if nothing seems wrong.
//!
//! The watch counts as connected while the last call of each of the three has received a response.

mod gc;
mod store;
mod watch_stream;

use crate::api::ProtobufApi;
use crate::call_error::CallError;
use crate::cluster::Cluster;
use crate::object::runway_selector;
use crate::protobuf::Message;
use futures::stream::{self, BoxStream, SelectAll, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Resource;
use kube::runtime::watcher;
use runway_control::backend::{Unavailable, WatchEvent};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use store::{Store, StoreEvent};
use watch_stream::{CallNames, ListSelector, ListWatcher, WatchItem};

/// One of the three watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Jobs,
    Pods,
    Events,
}

impl Source {
    const ALL: [Self; 3] = [Self::Jobs, Self::Pods, Self::Events];

    const fn call_names(self) -> CallNames {
        match self {
            Self::Jobs => CallNames { list: "listing jobs", watch: "watching jobs" },
            Self::Pods => CallNames { list: "listing pods", watch: "watching pods" },
            Self::Events => CallNames { list: "listing events", watch: "watching events" },
        }
    }
}

/// An event of one of the three watches, or of the relist timer.
enum SourceEvent {
    Job(watcher::Event<Box<Job>>),
    Pod(watcher::Event<Box<Pod>>),
    Event(watcher::Event<Box<Event>>),
    /// The API server responded to a call of this watch.
    Responded(Source),
    /// A call of this watch failed.
    Failed(Source, Unavailable),
    /// The relist interval has passed.
    Relist,
}

struct JobWatch {
    cluster: Arc<Cluster>,
    sources: SelectAll<BoxStream<'static, SourceEvent>>,
    store: Store,
    queue: VecDeque<WatchEvent>,
    /// The watches without a response since their last failure, or since the start.
    disconnected: BTreeSet<Source>,
}

pub(crate) fn watch(cluster: Arc<Cluster>) -> BoxStream<'static, WatchEvent> {
    let sources = sources(&cluster);
    let store = Store::new(cluster.run.clone());
    let disconnected = BTreeSet::from(Source::ALL);
    let start = JobWatch { cluster, sources, store, queue: VecDeque::new(), disconnected };
    stream::unfold(start, |mut job_watch| async move {
        loop {
            if let Some(event) = job_watch.queue.pop_front() {
                return Some((event, job_watch));
            }
            let source_event = job_watch.sources.next().await.unwrap_or(SourceEvent::Relist);
            job_watch.on_source_event(source_event).await;
        }
    })
    .boxed()
}

impl JobWatch {
    async fn on_source_event(&mut self, source_event: SourceEvent) {
        let store_events = match source_event {
            SourceEvent::Job(event) => self.store.on_job(event),
            SourceEvent::Pod(event) => self.store.on_pod(event),
            SourceEvent::Event(event) => self.store.on_event(event),
            SourceEvent::Responded(source) => {
                self.disconnected.remove(&source);
                let is_connected = self.disconnected.is_empty();
                is_connected.then_some(StoreEvent::Emit(WatchEvent::Connected)).into_iter().collect()
            }
            SourceEvent::Failed(source, cause) => {
                self.disconnected.insert(source);
                vec![StoreEvent::Emit(WatchEvent::Interrupted(cause))]
            }
            SourceEvent::Relist => {
                self.sources = sources(&self.cluster);
                self.store.reset_for_relist();
                Vec::new()
            }
        };
        for store_event in store_events {
            match store_event {
                StoreEvent::Emit(event) => self.queue.push_back(event),
                StoreEvent::ListComplete => {
                    // A Job can be missing from the list although its pod is known, because it was created
                    // after the list was read.
                    for job_ref in self.store.orphaned_jobs() {
                        if let Ok(Some(job)) = self.cluster.job(&job_ref).await {
                            self.store.upsert_job(Box::new(job));
                        }
                    }
                    for job in self.store.take_abandoned(&self.cluster) {
                        gc::delete_incomplete(Arc::clone(&self.cluster), job);
                    }
                    let listed = self.store.take_list();
                    self.queue.push_back(WatchEvent::Listed(listed));
                    for job in self.store.stale_secrets() {
                        gc::delete_secret(Arc::clone(&self.cluster), job);
                    }
                }
                StoreEvent::StaleSecret(job) => gc::delete_secret(Arc::clone(&self.cluster), job),
            }
        }
        let ignored = self.store.take_ignored();
        if ignored > 0 {
            self.queue.push_back(WatchEvent::ObjectsIgnored(ignored));
        }
    }
}

fn sources(cluster: &Arc<Cluster>) -> SelectAll<BoxStream<'static, SourceEvent>> {
    let page_size = cluster.settings.page_size;
    let runway_objects = ListSelector { labels: Some(runway_selector()), fields: None, page_size };
    let failure_events = ListSelector { labels: None, fields: Some(failure_event_selector()), page_size };
    let interval = cluster.settings.relist_interval;
    let relist = stream::once(async move {
        tokio::time::sleep(interval).await;
        SourceEvent::Relist
    });
    stream::select_all([
        source_stream(cluster, runway_objects.clone(), Source::Jobs, SourceEvent::Job),
        source_stream(cluster, runway_objects, Source::Pods, SourceEvent::Pod),
        source_stream(cluster, failure_events, Source::Events, SourceEvent::Event),
        relist.boxed(),
    ])
}

/// The reasons of frequent Job and pod events that Runway does not use. The watch of events excludes them.
/// `BackOff` only repeats the cause of another event.
const ROUTINE_REASONS: &[&str] = &[
    "Completed",
    "Scheduled",
    "Pulling",
    "Pulled",
    "Created",
    "BackOff",
    "MissingClusterDNS",
    "DNSConfigForming",
];

/// Returns a field selector for all events except those in [`ROUTINE_REASONS`]. The API server filters events
/// one by one, so one watch with exclusions costs less than a watch for each reason.
fn failure_event_selector() -> String {
    ROUTINE_REASONS.iter().map(|reason| format!("reason!={reason}")).collect::<Vec<_>>().join(",")
}

fn source_stream<K>(
    cluster: &Cluster,
    selector: ListSelector,
    source: Source,
    into_source_event: fn(watcher::Event<Box<K>>) -> SourceEvent,
) -> BoxStream<'static, SourceEvent>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Send + 'static,
{
    let api: ProtobufApi<K> = cluster.watch_scope_api();
    let (call_timeout, idle_timeout) = (cluster.settings.call_timeout, cluster.settings.watch_idle_timeout);
    let watcher = ListWatcher { api, selector, calls: source.call_names(), call_timeout, idle_timeout };
    let to_source_event = move |item: Result<WatchItem<K>, CallError>| match item {
        Ok(WatchItem::Event(event)) => into_source_event(event),
        Ok(WatchItem::Responded) => SourceEvent::Responded(source),
        Err(error) => SourceEvent::Failed(source, error.into()),
    };
    watcher.run().map(to_source_event).boxed()
}

#[cfg(test)]
mod tests;
