//! Lists the objects of one kind and then watches them. The stream never ends and survives lost connections.
//!
//! It works like the watcher of `kube` and uses its event types, but it decodes protobuf.

use crate::api::{ProtobufApi, WatchStream};
use crate::protobuf::{Message, RawWatchEvent};
use futures::stream::{self, Stream};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, WatchParams};
use kube::runtime::watcher::{Error, Event};
use kube::{Error as ClientError, Resource};
use std::time::Duration;
use std::vec;

/// Selects the objects to list.
#[derive(Clone, Default)]
pub(super) struct ListSelector {
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    pub(super) page_size: u32,
}

/// The duration of a watch. After it, the server ends the watch, and a new one resumes at the same version.
const WATCH_TIMEOUT: Duration = Duration::from_secs(290);
/// The time without an event after which the connection counts as lost. It is longer than [`WATCH_TIMEOUT`],
/// so the server would have ended the watch before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(295);
/// The delay before a new watch, if the last one had no events.
const RETRY_DELAY: Duration = Duration::from_secs(1);

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

/// Lists all objects, then emits their changes. After an error, the next poll of the stream resumes or
/// relists.
pub(super) fn list_and_watch<K>(
    api: ProtobufApi<K>,
    selector: ListSelector,
) -> impl Stream<Item = Result<Event<Box<K>>, Error>> + Send
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Send,
{
    stream::unfold((api, selector, State::Start), async |(objects, selection, mut state)| {
        loop {
            let (event, next) = step(&objects, &selection, state).await;
            state = next;
            if let Some(event) = event {
                return Some((event, (objects, selection, state)));
            }
        }
    })
}

type Step<K> = (Option<Result<Event<Box<K>>, Error>>, State<K>);

async fn step<K>(api: &ProtobufApi<K>, selector: &ListSelector, state: State<K>) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match state {
        State::Start => (
            Some(Ok(Event::Init)),
            State::Listing { page: Vec::new().into_iter(), after_page: AfterPage::FirstPage },
        ),
        State::Listing { mut page, after_page } => {
            if let Some(object) = page.next() {
                return (Some(Ok(Event::InitApply(Box::new(object)))), State::Listing { page, after_page });
            }
            let token = match after_page {
                AfterPage::FirstPage => None,
                AfterPage::NextPage(token) => Some(token),
                AfterPage::Watch { version } => {
                    return (Some(Ok(Event::InitDone)), State::Listed { version });
                }
            };
            list(api, selector, token).await
        }
        State::Listed { version } => watch(api, selector, version).await,
        State::Watching { version, mut events, has_events } => {
            let event = tokio::time::timeout(IDLE_TIMEOUT, events.next()).await.ok().flatten();
            let Some(event) = event else {
                if !has_events {
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                return (None, State::Listed { version });
            };
            on_raw_event(event, version, events)
        }
    }
}

async fn list<K>(api: &ProtobufApi<K>, selector: &ListSelector, token: Option<String>) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let parameters = ListParams {
        label_selector: selector.labels.clone(),
        field_selector: selector.fields.clone(),
        limit: Some(selector.page_size),
        continue_token: token,
        ..ListParams::default()
    };
    let page = match api.list(&parameters).await {
        Ok(page) => page,
        Err(error) => return (Some(Err(Error::InitialListFailed(error))), State::Start),
    };
    let after_page = match (page.metadata.continue_, page.metadata.resource_version) {
        (Some(token), _) => AfterPage::NextPage(token),
        (None, Some(version)) => AfterPage::Watch { version },
        (None, None) => return (Some(Err(Error::NoResourceVersion)), State::Start),
    };
    (None, State::Listing { page: page.items.into_iter(), after_page })
}

async fn watch<K>(api: &ProtobufApi<K>, selector: &ListSelector, version: String) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let parameters = WatchParams {
        label_selector: selector.labels.clone(),
        field_selector: selector.fields.clone(),
        timeout: u32::try_from(WATCH_TIMEOUT.as_secs()).ok(),
        ..WatchParams::default()
    };
    match api.watch(&parameters, &version).await {
        Ok(events) => (None, State::Watching { version, events, has_events: false }),
        Err(error) => {
            let has_expired = matches!(&error, ClientError::Api(status) if is_expired(status.code));
            let next = if has_expired { State::Start } else { State::Listed { version } };
            (Some(Err(Error::WatchStartFailed(error))), next)
        }
    }
}

fn on_raw_event<K>(event: kube::Result<RawWatchEvent<K>>, version: String, events: WatchStream<K>) -> Step<K>
where
    K: Resource,
{
    let resource_version = |object: &K| object.meta().resource_version.clone();
    let (version, event) = match event {
        Ok(RawWatchEvent::Applied(object)) => (resource_version(&object), Some(Event::Apply(object))),
        Ok(RawWatchEvent::Deleted(object)) => (resource_version(&object), Some(Event::Delete(object))),
        Ok(RawWatchEvent::Bookmark(object)) => (resource_version(&object), None),
        Ok(RawWatchEvent::Unknown) => (Some(version), None),
        Ok(RawWatchEvent::Error(status)) => {
            let next = if is_expired(status.code) { State::Start } else { State::Listed { version } };
            return (Some(Err(Error::WatchError(status))), next);
        }
        // If an event cannot be decoded, a relist can still succeed. A new watch would receive the same event
        // again.
        Err(error) => return (Some(Err(Error::WatchFailed(error))), State::Start),
    };
    let Some(version) = version else { return (Some(Err(Error::NoResourceVersion)), State::Start) };
    (event.map(Ok), State::Watching { version, events, has_events: true })
}

/// Returns `true` for `410 Gone`: the server no longer has the changes since this version.
const fn is_expired(code: u16) -> bool {
    code == 410
}

#[cfg(test)]
mod tests;
