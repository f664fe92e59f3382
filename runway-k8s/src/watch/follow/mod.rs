//! Lists the objects of one kind and then watches them. The stream never ends and survives lost connections.
//!
//! It works like the watcher of `kube` and uses its event types, but it decodes protobuf.

use crate::api::{Changes, Objects};
use crate::protobuf::{Change, Message};
use futures::stream::{self, Stream};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ListParams, WatchParams};
use kube::runtime::watcher::{Error, Event};
use kube::{Error as ClientError, Resource};
use std::time::Duration;
use std::vec;

/// Selects the objects to list.
#[derive(Clone, Default)]
pub(super) struct Selection {
    pub(super) labels: Option<String>,
    pub(super) fields: Option<String>,
    pub(super) page_size: u32,
}

/// The duration of a watch. After it, the server ends the watch, and a new one resumes at the same version.
const LASTS: Duration = Duration::from_secs(290);
/// The time without an event after which the connection counts as lost. It is longer than [`WATCH_TIMEOUT`],
/// so the server would have ended the watch before.
const SILENCE: Duration = Duration::from_secs(295);
/// The delay before a new watch, if the last one had no events.
const PAUSE: Duration = Duration::from_secs(1);

enum State<K> {
    Start,
    Listing { page: vec::IntoIter<K>, then: Then },
    Listed { version: String },
    Watching { version: String, changes: Changes<K>, has_told: bool },
}

/// The next step after a page of a list.
enum Then {
    First,
    Page(String),
    Watch { version: String },
}

/// Lists all objects, then emits their changes. After an error, the next poll of the stream resumes or
/// relists.
pub(super) fn follow<K>(
    objects: Objects<K>,
    selection: Selection,
) -> impl Stream<Item = Result<Event<Box<K>>, Error>> + Send
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Send,
{
    stream::unfold((objects, selection, State::Start), async |(objects, selection, mut state)| {
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

async fn step<K>(objects: &Objects<K>, selection: &Selection, state: State<K>) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match state {
        State::Start => {
            (Some(Ok(Event::Init)), State::Listing { page: Vec::new().into_iter(), then: Then::First })
        }
        State::Listing { mut page, then } => {
            if let Some(object) = page.next() {
                return (Some(Ok(Event::InitApply(Box::new(object)))), State::Listing { page, then });
            }
            let token = match then {
                Then::First => None,
                Then::Page(token) => Some(token),
                Then::Watch { version } => return (Some(Ok(Event::InitDone)), State::Listed { version }),
            };
            list(objects, selection, token).await
        }
        State::Listed { version } => watch(objects, selection, version).await,
        State::Watching { version, mut changes, has_told } => {
            let change = tokio::time::timeout(SILENCE, changes.next()).await.ok().flatten();
            let Some(change) = change else {
                if !has_told {
                    tokio::time::sleep(PAUSE).await;
                }
                return (None, State::Listed { version });
            };
            told(change, version, changes)
        }
    }
}

async fn list<K>(objects: &Objects<K>, selection: &Selection, token: Option<String>) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let parameters = ListParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        limit: Some(selection.page_size),
        continue_token: token,
        ..ListParams::default()
    };
    let page = match objects.list(&parameters).await {
        Ok(page) => page,
        Err(error) => return (Some(Err(Error::InitialListFailed(error))), State::Start),
    };
    let then = match (page.metadata.continue_, page.metadata.resource_version) {
        (Some(token), _) => Then::Page(token),
        (None, Some(version)) => Then::Watch { version },
        (None, None) => return (Some(Err(Error::NoResourceVersion)), State::Start),
    };
    (None, State::Listing { page: page.items.into_iter(), then })
}

async fn watch<K>(objects: &Objects<K>, selection: &Selection, version: String) -> Step<K>
where
    K: Message + Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let parameters = WatchParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        timeout: u32::try_from(LASTS.as_secs()).ok(),
        ..WatchParams::default()
    };
    match objects.watch(&parameters, &version).await {
        Ok(changes) => (None, State::Watching { version, changes, has_told: false }),
        Err(error) => {
            let is_forgotten = matches!(&error, ClientError::Api(status) if is_forgotten(status.code));
            let next = if is_forgotten { State::Start } else { State::Listed { version } };
            (Some(Err(Error::WatchStartFailed(error))), next)
        }
    }
}

fn told<K>(change: kube::Result<Change<K>>, version: String, changes: Changes<K>) -> Step<K>
where
    K: Resource,
{
    let of = |object: &K| object.meta().resource_version.clone();
    let (version, event) = match change {
        Ok(Change::Applied(object)) => (of(&object), Some(Event::Apply(object))),
        Ok(Change::Deleted(object)) => (of(&object), Some(Event::Delete(object))),
        Ok(Change::Bookmark(object)) => (of(&object), None),
        Ok(Change::Other) => (Some(version), None),
        Ok(Change::Error(status)) => {
            let next = if is_forgotten(status.code) { State::Start } else { State::Listed { version } };
            return (Some(Err(Error::WatchError(status))), next);
        }
        // If an event cannot be decoded, a relist can still succeed. A new watch would receive the same event
        // again.
        Err(error) => return (Some(Err(Error::WatchFailed(error))), State::Start),
    };
    let Some(version) = version else { return (Some(Err(Error::NoResourceVersion)), State::Start) };
    (event.map(Ok), State::Watching { version, changes, has_told: true })
}

/// Returns `true` for `410 Gone`: the server no longer has the changes since this version.
const fn is_forgotten(code: u16) -> bool {
    code == 410
}

#[cfg(test)]
mod tests;
