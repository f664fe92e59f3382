//! A watch with faults: late, repeated and lost events, and failing lists.

use super::EventFault;
use super::connection::FakeBackend;
use super::world::Change;
use crate::backend::{Unavailable, WatchEvent};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::collections::VecDeque;
use std::time::Duration;

/// The delay before a watch reconnects.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// The state of a watch.
enum WatchStage {
    /// The watch has not started to list.
    Start,
    /// The watch is listing.
    Listing,
    /// The watch waits for the change with this number.
    Watching(usize),
}

pub(super) fn watch(backend: &FakeBackend) -> BoxStream<'_, WatchEvent> {
    let start = (WatchStage::Start, VecDeque::new());
    stream::unfold(start, move |(mut stage, mut queue)| async move {
        loop {
            if let Some(event) = queue.pop_front() {
                return Some((event, (stage, queue)));
            }
            backend.halt_if_killed().await;
            stage = match stage {
                WatchStage::Start => {
                    queue.push_back(WatchEvent::ListStarted);
                    WatchStage::Listing
                }
                WatchStage::Listing => match backend.snapshot().await {
                    Ok((jobs, number)) => {
                        queue.push_back(WatchEvent::Listed(jobs));
                        WatchStage::Watching(number)
                    }
                    Err(cause) => {
                        queue.push_back(WatchEvent::Interrupted(cause));
                        backend.sleep(RECONNECT_DELAY).await;
                        WatchStage::Start
                    }
                },
                WatchStage::Watching(number) => {
                    let change = backend.cluster.change(number).await;
                    backend.halt_if_killed().await;
                    let event = match change? {
                        Change::Updated(seen) => WatchEvent::Updated(seen),
                        Change::Removed(id) => WatchEvent::Removed(id),
                    };
                    deliver(backend, event, number, &mut queue).await
                }
            };
        }
    })
    .boxed()
}

async fn deliver(
    backend: &FakeBackend,
    event: WatchEvent,
    number: usize,
    queue: &mut VecDeque<WatchEvent>,
) -> WatchStage {
    let cut = || WatchEvent::Interrupted(Unavailable::new("the fake watch was interrupted"));
    match backend.cluster.event_fault() {
        EventFault::None => queue.push_back(event),
        EventFault::Late(by) => {
            backend.sleep(by).await;
            queue.push_back(event);
        }
        EventFault::Twice => queue.extend([event.clone(), event]),
        EventFault::Cut => {
            backend.sleep(RECONNECT_DELAY).await;
            queue.extend([cut(), WatchEvent::Connected, event]);
        }
        EventFault::Expired => {
            queue.push_back(cut());
            backend.sleep(RECONNECT_DELAY).await;
            return WatchStage::Start;
        }
    }
    WatchStage::Watching(number.saturating_add(1))
}
