//! Lists the objects of one kind and then watches them. The stream never ends and survives lost connections.
//!
//! It works like the watcher of `kube` and uses its event types, but it decodes protobuf. It also has a time
//! limit for each response, and reports responses that contain no change.

use crate::api::{ProtobufApi, WatchStream};
use crate::call_error::{CallError, CallErrorCause, with_timeout};
use crate::protobuf::{Message, RawWatchEvent};
use futures::stream::{self, Stream};
use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::{ListParams, WatchParams};
use kube::runtime::watcher::Event;
use std::time::Duration;
use std::vec;

/// Lists and watches the objects of one kind.
pub(super) struct ListWatcher<K> {
    pub(super) api: ProtobufApi<K>,
    pub(super) selector: ListSelector,
    pub(super) calls: CallNames,
    /// The time limit for each page of a list, and for the head of the response to a watch.
    pub(super) call_timeout: Duration,
    /// The time without an event after which a watch is opened again. A server that no longer responds does
    /// not respond to the new request either.
    pub(super) idle_timeout: Duration,
}

/// Selects the objects to list.
#[derive(Clone, Default)]
pub(super) struct ListSelector {
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    pub(super) page_size: u32,
}

/// The names of the calls in errors.
#[derive(Clone, Copy)]
pub(super) struct CallNames {
    pub(super) list: &'static str,
    pub(super) watch: &'static str,
}

/// An item of the stream.
pub(super) enum WatchItem<K> {
    /// A part of a list, or a change.
    Event(Event<Box<K>>),
    /// The server responded: with a page of a list, with the head of the response to a watch, or with a
    /// bookmark.
    Responded,
}

/// The duration of a watch. After it, the server ends the watch, and a new one resumes at the same version.
const WATCH_TIMEOUT: Duration = Duration::from_secs(290);
/// The delay before a new watch, if the last one had no events.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The delay after the first of several failed calls. Each further delay is twice as long.
const MIN_FAILURE_DELAY: Duration = Duration::from_millis(500);
/// The number of times that the delay doubles. The longest delay is 4 s, so the watch resumes soon after an
/// outage.
const MAX_DOUBLINGS: u32 = 3;
/// The longest time that a server can delay the next call.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

enum State<K> {
    Start,
    Listing { page: vec::IntoIter<K>, after_page: AfterPage },
    Listed { version: String },
    Watching { version: String, events: WatchStream<K>, has_events: bool },
}

/// The next step after a page of a list.
enum AfterPage {
    FirstPage,
    NextPage(String),
    Watch { version: String },
}

/// The position in the stream.
struct Position<K> {
    watcher: ListWatcher<K>,
    state: State<K>,
    /// The number of failed calls since the last response.
    failures: u32,
    /// The delay before the next call.
    delay: Option<Duration>,
}

impl<K> ListWatcher<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Send,
{
    /// Lists all objects, then emits their changes. After an error, the next poll of the stream waits, and then
    /// resumes or relists.
    pub(super) fn run(self) -> impl Stream<Item = Result<WatchItem<K>, CallError>> + Send {
        let start = Position { watcher: self, state: State::Start, failures: 0, delay: None };
        stream::unfold(start, |mut position| async move {
            let item = position.next().await;
            Some((item, position))
        })
    }
}

impl<K> Position<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    async fn next(&mut self) -> Result<WatchItem<K>, CallError> {
        if let Some(delay) = self.delay.take() {
            tokio::time::sleep(delay).await;
        }
        loop {
            let state = std::mem::replace(&mut self.state, State::Start);
            let (item, next) = step(&self.watcher, state).await;
            self.state = next;
            match item {
                None => {}
                Some(Ok(item)) => {
                    if matches!(item, WatchItem::Responded) {
                        self.failures = 0;
                    }
                    return Ok(item);
                }
                Some(Err(error)) => {
                    let delay = MIN_FAILURE_DELAY.saturating_mul(1 << self.failures.min(MAX_DOUBLINGS));
                    let retry_after = error.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
                    self.delay = Some(delay.max(retry_after));
                    self.failures = self.failures.saturating_add(1);
                    return Err(error);
                }
            }
        }
    }
}

type Step<K> = (Option<Result<WatchItem<K>, CallError>>, State<K>);

fn event<K>(event: Event<Box<K>>) -> Option<Result<WatchItem<K>, CallError>> {
    Some(Ok(WatchItem::Event(event)))
}

async fn step<K>(watcher: &ListWatcher<K>, state: State<K>) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match state {
        State::Start => (
            event(Event::Init),
            State::Listing { page: Vec::new().into_iter(), after_page: AfterPage::FirstPage },
        ),
        State::Listing { mut page, after_page } => {
            if let Some(object) = page.next() {
                return (event(Event::InitApply(Box::new(object))), State::Listing { page, after_page });
            }
            let token = match after_page {
                AfterPage::FirstPage => None,
                AfterPage::NextPage(token) => Some(token),
                AfterPage::Watch { version } => return (event(Event::InitDone), State::Listed { version }),
            };
            list(watcher, token).await
        }
        State::Listed { version } => watch(watcher, version).await,
        State::Watching { version, mut events, has_events } => {
            match tokio::time::timeout(watcher.idle_timeout, events.next()).await {
                Ok(Some(event)) => on_raw_event(event, version, events, watcher.calls),
                Ok(None) => {
                    if !has_events {
                        tokio::time::sleep(RETRY_DELAY).await;
                    }
                    (None, State::Listed { version })
                }
                Err(_) => (None, State::Listed { version }),
            }
        }
    }
}

async fn list<K>(watcher: &ListWatcher<K>, token: Option<String>) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let ListWatcher { api, selector, calls, call_timeout, .. } = watcher;
    let parameters = ListParams {
        label_selector: selector.labels.clone(),
        field_selector: selector.fields.clone(),
        limit: Some(selector.page_size),
        continue_token: token,
        ..ListParams::default()
    };
    let page = match with_timeout(*call_timeout, calls.list, api.list(&parameters)).await {
        Ok(page) => page,
        Err(error) => return (Some(Err(error)), State::Start),
    };
    let after_page = match (page.metadata.continue_, page.metadata.resource_version) {
        (Some(token), _) => AfterPage::NextPage(token),
        (None, Some(version)) => AfterPage::Watch { version },
        (None, None) => return (Some(Err(no_resource_version(calls.list))), State::Start),
    };
    (Some(Ok(WatchItem::Responded)), State::Listing { page: page.items.into_iter(), after_page })
}

async fn watch<K>(watcher: &ListWatcher<K>, version: String) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let ListWatcher { api, selector, calls, call_timeout, .. } = watcher;
    let parameters = WatchParams {
        label_selector: selector.labels.clone(),
        field_selector: selector.fields.clone(),
        timeout: u32::try_from(WATCH_TIMEOUT.as_secs()).ok(),
        ..WatchParams::default()
    };
    match with_timeout(*call_timeout, calls.watch, api.watch(&parameters, &version)).await {
        Ok(events) => {
            (Some(Ok(WatchItem::Responded)), State::Watching { version, events, has_events: false })
        }
        Err(error) => on_watch_error(error, version),
    }
}

fn on_raw_event<K>(
    raw: kube::Result<RawWatchEvent<K>>,
    version: String,
    events: WatchStream<K>,
    calls: CallNames,
) -> Step<K>
where
    K: Resource,
{
    let resource_version = |object: &K| object.meta().resource_version.clone();
    let (version, item) = match raw {
        Ok(RawWatchEvent::Applied(object)) => (resource_version(&object), event(Event::Apply(object))),
        Ok(RawWatchEvent::Deleted(object)) => (resource_version(&object), event(Event::Delete(object))),
        Ok(RawWatchEvent::Bookmark(object)) => (resource_version(&object), Some(Ok(WatchItem::Responded))),
        Ok(RawWatchEvent::Unknown) => (Some(version), None),
        Ok(RawWatchEvent::Error(status)) => {
            return on_watch_error(CallError::new(calls.watch, kube::Error::Api(status)), version);
        }
        // If an event cannot be decoded, a relist can still succeed. A new watch would receive the same event
        // again.
        Err(error) => return (Some(Err(CallError::new(calls.watch, error))), State::Start),
    };
    let Some(version) = version else {
        return (Some(Err(no_resource_version(calls.watch))), State::Start);
    };
    (item, State::Watching { version, events, has_events: true })
}

/// After `410 Gone`, the server no longer has the changes since this version. The stream then relists.
fn on_watch_error<K>(error: CallError, version: String) -> Step<K> {
    let has_expired = matches!(error.cause, CallErrorCause::Rejected { code: 410, .. });
    let next = if has_expired { State::Start } else { State::Listed { version } };
    (Some(Err(error)), next)
}

fn no_resource_version(call: &'static str) -> CallError {
    CallError { call, cause: CallErrorCause::NoResourceVersion, retry_after: None }
}

#[cfg(test)]
mod tests;
