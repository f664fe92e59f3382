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
const PAUSE: Duration = Duration::from_secs(1);

/// The state of a watch.
enum Stage {
    /// The watch has not started to list.
    Begin,
    /// The watch is listing.
    Listing,
    /// The watch waits for the change with this number.
    Following(usize),
}

pub(super) fn watch(backend: &FakeBackend) -> BoxStream<'_, WatchEvent> {
    let start = (Stage::Begin, VecDeque::new());
    stream::unfold(start, move |(mut stage, mut queue)| async move {
        loop {
            if let Some(event) = queue.pop_front() {
                return Some((event, (stage, queue)));
            }
            backend.go_on().await;
            stage = match stage {
                Stage::Begin => {
                    queue.push_back(WatchEvent::ListingBegan);
                    Stage::Listing
                }
                Stage::Listing => match backend.snapshot().await {
                    Ok((jobs, number)) => {
                        queue.push_back(WatchEvent::Listed(jobs));
                        Stage::Following(number)
                    }
                    Err(cause) => {
                        queue.push_back(WatchEvent::Interrupted(cause));
                        backend.sleep(PAUSE).await;
                        Stage::Begin
                    }
                },
                Stage::Following(number) => {
                    let change = backend.cluster.change(number).await;
                    backend.go_on().await;
                    let event = match change? {
                        Change::Seen(seen) => WatchEvent::Changed(seen),
                        Change::Gone(id) => WatchEvent::Gone(id),
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
) -> Stage {
    let cut = || WatchEvent::Interrupted(Unavailable::new("the fake watch was interrupted"));
    match backend.cluster.event_fault() {
        EventFault::None => queue.push_back(event),
        EventFault::Late(by) => {
            backend.sleep(by).await;
            queue.push_back(event);
        }
        EventFault::Twice => queue.extend([event.clone(), event]),
        EventFault::Cut => {
            backend.sleep(PAUSE).await;
            queue.extend([cut(), event]);
        }
        EventFault::Expired => {
            queue.push_back(cut());
            backend.sleep(PAUSE).await;
            return Stage::Begin;
        }
    }
    Stage::Following(number.saturating_add(1))
}
