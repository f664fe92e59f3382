//! Watches the jobs of the cluster: combines three watches into one stream.
//!
//! Jobs, pods and events are listed and watched independently. An interrupted watch resumes. If the server no
//! longer has the position of a watch (`410 Gone`), this watch relists. At an interval, all three watches
//! relist, even if nothing seems wrong.

mod follow;
mod remains;
mod store;

use crate::cluster::Cluster;
use crate::object::selector;
use follow::{Selection, follow};
use futures::stream::{self, BoxStream, SelectAll, Stream, StreamExt};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::runtime::{WatchStreamExt, watcher};
use runway_control::backend::{Unavailable, WatchEvent};
use runway_core::ErrorChain;
use std::collections::VecDeque;
use std::sync::Arc;
use store::{Store, Told};

/// An event of one of the three watches, or of the relist timer.
enum Heard {
    Job(watcher::Event<Box<Job>>),
    Pod(watcher::Event<Box<Pod>>),
    Event(watcher::Event<Box<Event>>),
    Failed(Unavailable),
    /// The relist interval has passed.
    Relist,
}

struct Watching {
    cluster: Arc<Cluster>,
    sources: SelectAll<BoxStream<'static, Heard>>,
    store: Store,
    queue: VecDeque<WatchEvent>,
}

pub(crate) fn watch(cluster: Arc<Cluster>) -> BoxStream<'static, WatchEvent> {
    let sources = sources(&cluster);
    let start = Watching { cluster, sources, store: Store::default(), queue: VecDeque::new() };
    stream::unfold(start, |mut watching| async move {
        loop {
            if let Some(event) = watching.queue.pop_front() {
                return Some((event, watching));
            }
            let heard = watching.sources.next().await.unwrap_or(Heard::Relist);
            watching.hear(heard).await;
        }
    })
    .boxed()
}

impl Watching {
    async fn hear(&mut self, heard: Heard) {
        let told = match heard {
            Heard::Job(event) => self.store.job(event),
            Heard::Pod(event) => self.store.pod(event),
            Heard::Event(event) => self.store.event(event),
            Heard::Failed(cause) => vec![Told::Event(WatchEvent::Interrupted(cause))],
            Heard::Relist => {
                self.sources = sources(&self.cluster);
                self.store.begin_again();
                Vec::new()
            }
        };
        for told in told {
            match told {
                Told::Event(event) => self.queue.push_back(event),
                Told::Complete => {
                    // A Job can be missing from the list although its pod is known, because it was created
                    // after the list was read.
                    for orphan in self.store.orphans() {
                        if let Ok(Some(job)) = self.cluster.job(&orphan).await {
                            self.store.put_job(Box::new(job));
                        }
                    }
                    for job in self.store.take_abandoned(&self.cluster) {
                        remains::clear(Arc::clone(&self.cluster), job);
                    }
                    let listed = self.store.observations();
                    self.queue.push_back(WatchEvent::Listed(listed));
                    for job in self.store.outlived() {
                        remains::clear_secret(Arc::clone(&self.cluster), job);
                    }
                }
                Told::SecretOutlived(job) => remains::clear_secret(Arc::clone(&self.cluster), job),
            }
        }
    }
}

fn sources(cluster: &Arc<Cluster>) -> SelectAll<BoxStream<'static, Heard>> {
    let page_size = cluster.settings.page_size;
    let ours = Selection { labels: Some(selector()), fields: None, page_size };
    let explaining = Selection { labels: None, fields: Some(explaining_events()), page_size };
    let time = cluster.settings.relist_after;
    let relist = stream::once(async move {
        tokio::time::sleep(time).await;
        Heard::Relist
    });
    stream::select_all([
        heard(follow(cluster.all(), ours.clone()), "watching jobs", Heard::Job),
        heard(follow(cluster.all(), ours), "watching pods", Heard::Pod),
        heard(follow(cluster.all(), explaining), "watching events", Heard::Event),
        relist.boxed(),
    ])
}

/// The reasons of events that every Job or pod has, and that explain no failure.
const ROUTINE: &[&str] = &[
    "SuccessfulCreate",
    "SuccessfulDelete",
    "Completed",
    "Scheduled",
    "Pulling",
    "Pulled",
    "Created",
    "BackOff",
];

/// Returns a field selector for all other events. The API server filters events one by one, so one watch with
/// exclusions costs less than a watch for each reason.
fn explaining_events() -> String {
    ROUTINE.iter().map(|reason| format!("reason!={reason}")).collect::<Vec<_>>().join(",")
}

fn heard<K: Send + 'static>(
    watch: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
    what: &'static str,
    of: fn(watcher::Event<K>) -> Heard,
) -> BoxStream<'static, Heard> {
    let failed = move |error: watcher::Error| {
        let innermost = ErrorChain::new(&error).last().map(ToString::to_string).unwrap_or_default();
        Unavailable::caused_by(format!("{what}: {innermost}"), error)
    };
    watch
        .default_backoff()
        .map(move |event| event.map_or_else(|error| Heard::Failed(failed(error)), of))
        .boxed()
}
