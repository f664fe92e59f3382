//! Lists and watches a server with scripted responses and connection ends.

use super::*;
use crate::protobuf::test_encode::{TestField, in_envelope, int, nested, string, watch_event};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::{Request, Response};
use http_body_util::StreamBody;
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::client::Body;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// A scripted response.
struct ScriptedResponse {
    status: u16,
    /// The chunks of the body, as they arrive.
    chunks: Vec<Vec<u8>>,
    end: BodyEnd,
}

#[derive(Clone, Copy)]
enum BodyEnd {
    Closed,
    Cut,
    /// The connection stays open, and nothing more arrives.
    Silent,
    /// The connection stays open, and not even the head of the response arrives.
    NoHead,
}

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A server with scripted responses, which records its requests.
struct Server {
    responses: Mutex<VecDeque<ScriptedResponse>>,
    requests: Mutex<Vec<String>>,
}

impl Server {
    fn new(responses: Vec<ScriptedResponse>) -> Arc<Self> {
        Arc::new(Self { responses: Mutex::new(responses.into()), requests: Mutex::default() })
    }

    fn jobs(self: &Arc<Self>) -> BoxStream<'static, Result<WatchItem<Job>, CallError>> {
        let server = Arc::clone(self);
        let answer = move |request: Request<Body>| {
            let answer = server.respond(&request);
            async move {
                match answer {
                    Some(answer) => Ok::<_, Infallible>(answer),
                    None => std::future::pending().await,
                }
            }
        };
        let client = Client::new(tower::service_fn(answer), "default");
        let watcher = ListWatcher {
            api: ProtobufApi::new(client, Some("jobs")),
            selector: ListSelector { labels: Some("a=b".into()), fields: None, page_size: 2 },
            calls: CallNames { list: "list", watch: "watch" },
            call_timeout: CALL_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        };
        watcher.run().boxed()
    }

    /// Returns `None` for a request that gets no response.
    fn respond(&self, request: &Request<Body>) -> Option<Response<StreamBody<BodyFrames>>> {
        let query = request.uri().query().unwrap_or_default();
        let parameter = |name: &str| query.split('&').find_map(|word| word.strip_prefix(name)).unwrap_or("-");
        let accept = request.headers()["accept"].to_str().unwrap();
        let summary = if parameter("watch=") == "true" {
            assert_eq!(accept, "application/vnd.kubernetes.protobuf;stream=watch");
            assert_eq!((parameter("allowWatchBookmarks="), parameter("timeoutSeconds=")), ("true", "290"));
            format!("watch {}", parameter("resourceVersion="))
        } else {
            assert_eq!(accept, "application/vnd.kubernetes.protobuf");
            assert_eq!((parameter("limit="), parameter("resourceVersion=")), ("2", "-"));
            format!("list {}", parameter("continue="))
        };
        assert_eq!(parameter("labelSelector="), "a%3Db");
        self.requests.lock().unwrap().push(summary);
        let ScriptedResponse { status, chunks: pieces, end } =
            self.responses.lock().unwrap().pop_front().expect("an answer");
        let pieces = pieces.into_iter().map(|piece| Ok(http_body::Frame::data(Bytes::from(piece))));
        let end = match end {
            BodyEnd::Closed => stream::empty().boxed(),
            BodyEnd::Cut => stream::iter([Err(std::io::Error::other("cut"))]).boxed(),
            BodyEnd::Silent => stream::pending().boxed(),
            BodyEnd::NoHead => return None,
        };
        let body = StreamBody::new(stream::iter(pieces).chain(end).boxed());
        Some(Response::builder().status(status).body(body).unwrap())
    }
}

type BodyFrames = BoxStream<'static, std::io::Result<http_body::Frame<Bytes>>>;

fn job(name: &str, version: &str) -> Vec<(u8, TestField)> {
    vec![(1, nested(&[(1, string(name)), (6, string(version))]))]
}

fn list_response(jobs: &[&str], version: &str, continue_token: &str) -> ScriptedResponse {
    let metadata = nested(&[(2, string(version)), (3, string(continue_token))]);
    let items = jobs.iter().map(|name| (2, nested(&job(name, "1"))));
    let list: Vec<_> = std::iter::once((1, metadata)).chain(items).collect();
    ScriptedResponse { status: 200, chunks: vec![in_envelope(&list)], end: BodyEnd::Closed }
}

fn frame(change: &[u8]) -> Vec<u8> {
    [&u32::try_from(change.len()).unwrap().to_be_bytes(), change].concat()
}

fn event_frame(kind: &str, name: &str, version: &str) -> Vec<u8> {
    frame(&watch_event(kind, &job(name, version)))
}

fn watch_response(chunks: Vec<Vec<u8>>, end: BodyEnd) -> ScriptedResponse {
    ScriptedResponse { status: 200, chunks, end }
}

fn error_response(code: i64) -> ScriptedResponse {
    let status = [(3, string("no")), (4, string("Why")), (6, int(code))];
    ScriptedResponse {
        status: u16::try_from(code).unwrap(),
        chunks: vec![in_envelope(&status)],
        end: BodyEnd::Closed,
    }
}

/// A request without a response.
fn no_response() -> ScriptedResponse {
    ScriptedResponse { status: 200, chunks: vec![], end: BodyEnd::NoHead }
}

/// Collects descriptions of all events, until no event arrives for a minute. Responses without a change are
/// left out.
async fn collect_events(server: &Arc<Server>) -> Vec<String> {
    let mut descriptions = Vec::new();
    let mut events = server.jobs();
    // The last response of each script is a silent watch, so the timeout ends this loop.
    while let Ok(Some(item)) = tokio::time::timeout(Duration::from_secs(60), events.next()).await {
        let name = |job: Box<Job>| job.metadata.name.unwrap();
        descriptions.push(match item {
            Ok(WatchItem::Responded) => continue,
            Ok(WatchItem::Event(event)) => match event {
                Event::Init => "init".to_owned(),
                Event::InitApply(job) => format!("has {}", name(job)),
                Event::InitDone => "listed".to_owned(),
                Event::Apply(job) => format!("is {}", name(job)),
                Event::Delete(job) => format!("was {}", name(job)),
            },
            Err(error) => match error.cause {
                CallErrorCause::Rejected { code, .. } | CallErrorCause::ServerError { code, .. } => {
                    format!("{}: {code}", error.call)
                }
                _ => error.to_string(),
            },
        });
    }
    descriptions
}

async fn assert_events(responses: Vec<ScriptedResponse>, requests: &[&str], expected: &[&str]) {
    let server = Server::new(responses);
    assert_eq!(collect_events(&server).await, expected);
    assert_eq!(*server.requests.lock().unwrap(), requests);
}

#[tokio::test(start_paused = true)]
async fn lists_pages_then_watches_with_any_chunk_size() {
    let changes = [
        event_frame("ADDED", "d", "11"),
        event_frame("BOOKMARK", "", "20"),
        event_frame("MODIFIED", "a", "21"),
        event_frame("DELETED", "b", "22"),
    ]
    .concat();
    for size in [1, 3, 4, 5, 64, changes.len()] {
        let pieces = changes.chunks(size).map(<[u8]>::to_vec).collect();
        assert_events(
            vec![
                list_response(&["a", "b"], "10", "more"),
                list_response(&["c"], "10", ""),
                watch_response(pieces, BodyEnd::Silent),
            ],
            &["list -", "list more", "watch 10"],
            &["init", "has a", "has b", "has c", "listed", "is d", "is a", "was b"],
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn ended_watch_resumes_at_the_last_version() {
    let half = event_frame("ADDED", "half", "30")[..9].to_vec();
    assert_events(
        vec![
            list_response(&[], "10", ""),
            watch_response(vec![event_frame("ADDED", "a", "11")], BodyEnd::Closed),
            watch_response(vec![event_frame("BOOKMARK", "", "12"), half], BodyEnd::Cut),
            // This watch has no events. The next watch starts after a delay, to spare a server that has
            // problems.
            watch_response(vec![], BodyEnd::Cut),
            watch_response(vec![event_frame("LATER", "", "13")], BodyEnd::Closed),
            watch_response(vec![event_frame("ADDED", "b", "14")], BodyEnd::Silent),
        ],
        &["list -", "watch 10", "watch 11", "watch 12", "watch 12", "watch 12"],
        &["init", "listed", "is a", "is b"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn silent_watch_is_reopened_after_the_idle_timeout() {
    let server = Server::new(vec![
        list_response(&[], "10", ""),
        watch_response(vec![], BodyEnd::Silent),
        watch_response(vec![], BodyEnd::Silent),
    ]);
    let mut events = server.jobs();
    let request_count = || server.requests.lock().unwrap().len();
    assert!(matches!(events.next().await, Some(Ok(WatchItem::Event(Event::Init)))));
    // The server responds to the list and to the watch.
    assert!(matches!(events.next().await, Some(Ok(WatchItem::Responded))));
    assert!(matches!(events.next().await, Some(Ok(WatchItem::Event(Event::InitDone)))));
    assert!(matches!(events.next().await, Some(Ok(WatchItem::Responded))));
    let just_before = IDLE_TIMEOUT - Duration::from_secs(1);
    assert!(tokio::time::timeout(just_before, events.next()).await.is_err());
    assert_eq!(request_count(), 2);
    // The server also responds to the next watch.
    assert!(matches!(events.next().await, Some(Ok(WatchItem::Responded))));
    assert_eq!(request_count(), 3);
}

#[tokio::test(start_paused = true)]
async fn expired_version_causes_a_relist() {
    let expired = frame(&watch_event("ERROR", &[(3, string("too old")), (6, int(410))]));
    assert_events(
        vec![
            list_response(&["a"], "10", ""),
            watch_response(vec![event_frame("ADDED", "b", "11"), expired], BodyEnd::Closed),
            list_response(&["b"], "20", ""),
            error_response(410),
            list_response(&[], "30", ""),
            watch_response(vec![], BodyEnd::Silent),
        ],
        &["list -", "watch 10", "list -", "watch 20", "list -", "watch 30"],
        &[
            "init",
            "has a",
            "listed",
            "is b",
            "watch: 410",
            "init",
            "has b",
            "listed",
            "watch: 410",
            "init",
            "listed",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn errors_are_reported_and_retried() {
    let busy = frame(&watch_event("ERROR", &[(3, string("busy")), (6, int(500))]));
    assert_events(
        vec![
            error_response(503),
            list_response(&["a"], "9", "more"),
            // The continue token has expired.
            error_response(410),
            list_response(&["a"], "10", ""),
            error_response(403),
            watch_response(vec![busy], BodyEnd::Closed),
            watch_response(vec![event_frame("ADDED", "b", "11")], BodyEnd::Silent),
        ],
        &["list -", "list -", "list more", "list -", "watch 10", "watch 10", "watch 10"],
        &[
            "init",
            "list: 503",
            "init",
            "has a",
            "list: 410",
            "init",
            "has a",
            "listed",
            "watch: 403",
            "watch: 500",
            "is b",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn malformed_event_causes_a_relist() {
    for (unreadable, why) in [
        (frame(b"{}"), "invalid field key 0x7b"),
        (frame(&watch_event("ADDED", &[(1, int(1))])), "a field has the wrong type"),
        (((16 << 20) + 1_u32).to_be_bytes().to_vec(), "a watch event of 16777217 bytes exceeds the limit"),
    ] {
        assert_events(
            vec![
                list_response(&[], "10", ""),
                watch_response(vec![unreadable], BodyEnd::Silent),
                list_response(&[], "20", ""),
                watch_response(vec![], BodyEnd::Silent),
            ],
            &["list -", "watch 10", "list -", "watch 20"],
            &["init", "listed", &format!("watch: {why}"), "init", "listed"],
        )
        .await;
    }
    // A frame of exactly the maximum length is accepted, so the stream waits for its content.
    assert_events(
        vec![
            list_response(&[], "10", ""),
            watch_response(vec![(16_u32 << 20).to_be_bytes().to_vec()], BodyEnd::Silent),
        ],
        &["list -", "watch 10"],
        &["init", "listed"],
    )
    .await;
    // A watch cannot resume after an object without a resource version, so the stream relists.
    assert_events(
        vec![
            list_response(&[], "10", ""),
            watch_response(vec![event_frame("ADDED", "a", "")], BodyEnd::Silent),
            list_response(&[], "20", ""),
            watch_response(vec![], BodyEnd::Silent),
        ],
        &["list -", "watch 10", "list -", "watch 20"],
        &["init", "listed", "watch: received an object without a resource version", "init", "listed"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_without_a_response_fails_after_the_timeout() {
    assert_events(
        vec![
            no_response(),
            list_response(&["a"], "9", "more"),
            no_response(),
            list_response(&["a"], "10", ""),
            no_response(),
            watch_response(vec![event_frame("ADDED", "b", "11")], BodyEnd::Silent),
        ],
        &["list -", "list -", "list more", "list -", "watch 10", "watch 10"],
        &[
            "init",
            "list: no response within 10 s",
            "init",
            "has a",
            "list: no response within 10 s",
            "init",
            "has a",
            "listed",
            "watch: no response within 10 s",
            "is b",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn failed_calls_are_repeated_at_most_4_s_later() {
    let server = Server::new((0..6).map(|_| error_response(503)).collect());
    let mut events = server.jobs();
    let started = tokio::time::Instant::now();
    let mut failed_at = Vec::new();
    while failed_at.len() < 6 {
        if events.next().await.unwrap().is_err() {
            failed_at.push(started.elapsed().as_millis());
        }
    }
    assert_eq!(failed_at, [0, 500, 1500, 3500, 7500, 11_500]);
}

#[tokio::test(start_paused = true)]
async fn bookmark_is_a_response() {
    let server = Server::new(vec![
        list_response(&[], "10", ""),
        watch_response(vec![event_frame("BOOKMARK", "", "20")], BodyEnd::Silent),
    ]);
    let items: Vec<_> =
        server.jobs().take(5).map(|item| matches!(item, Ok(WatchItem::Responded))).collect().await;
    assert_eq!(items, [false, true, false, true, true]);
}
