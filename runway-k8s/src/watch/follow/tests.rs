//! Lists and watches a server with scripted responses and connection ends.

use super::*;
use crate::protobuf::written::{Field, change, nested, number, packed, text};
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::StreamBody;
use k8s_openapi::api::batch::v1::Job;
use kube::Client;
use kube::client::Body;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

/// A scripted response.
struct Answer {
    status: u16,
    /// The chunks of the body, as they arrive.
    pieces: Vec<Vec<u8>>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    Closed,
    Cut,
    /// The connection stays open, and nothing more arrives.
    Silent,
}

/// A server with scripted responses, which records its requests.
struct Server {
    answers: Mutex<VecDeque<Answer>>,
    asked: Mutex<Vec<String>>,
}

impl Server {
    fn new(answers: Vec<Answer>) -> Arc<Self> {
        Arc::new(Self { answers: Mutex::new(answers.into()), asked: Mutex::default() })
    }

    fn jobs(self: &Arc<Self>) -> impl Stream<Item = Result<Event<Box<Job>>, Error>> + use<> {
        let server = Arc::clone(self);
        let answer = move |request: Request<Body>| {
            let answer = server.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        };
        let client = Client::new(tower::service_fn(answer), "default");
        let selection = Selection { labels: Some("a=b".into()), fields: None, page_size: 2 };
        follow(Objects::of(client, Some("jobs")), selection)
    }

    fn answer(&self, request: &Request<Body>) -> Response<StreamBody<Pieces>> {
        let query = request.uri().query().unwrap_or_default();
        let word = |name: &str| query.split('&').find_map(|word| word.strip_prefix(name)).unwrap_or("-");
        let accept = request.headers()["accept"].to_str().unwrap();
        let asked = if word("watch=") == "true" {
            assert_eq!(accept, "application/vnd.kubernetes.protobuf;stream=watch");
            assert_eq!((word("allowWatchBookmarks="), word("timeoutSeconds=")), ("true", "290"));
            format!("watch {}", word("resourceVersion="))
        } else {
            assert_eq!(accept, "application/vnd.kubernetes.protobuf");
            assert_eq!((word("limit="), word("resourceVersion=")), ("2", "-"));
            format!("list {}", word("continue="))
        };
        assert_eq!(word("labelSelector="), "a%3Db");
        self.asked.lock().unwrap().push(asked);
        let Answer { status, pieces, end } = self.answers.lock().unwrap().pop_front().expect("an answer");
        let pieces = pieces.into_iter().map(|piece| Ok(http_body::Frame::data(Bytes::from(piece))));
        let end = match end {
            End::Closed => stream::empty().boxed(),
            End::Cut => stream::iter([Err(std::io::Error::other("cut"))]).boxed(),
            End::Silent => stream::pending().boxed(),
        };
        let body = StreamBody::new(stream::iter(pieces).chain(end).boxed());
        Response::builder().status(status).body(body).unwrap()
    }
}

type Pieces = stream::BoxStream<'static, std::io::Result<http_body::Frame<Bytes>>>;

fn job(name: &str, version: &str) -> Vec<(u8, Field)> {
    vec![(1, nested(&[(1, text(name)), (6, text(version))]))]
}

fn page(jobs: &[&str], version: &str, more: &str) -> Answer {
    let metadata = nested(&[(2, text(version)), (3, text(more))]);
    let items = jobs.iter().map(|name| (2, nested(&job(name, "1"))));
    let list: Vec<_> = std::iter::once((1, metadata)).chain(items).collect();
    Answer { status: 200, pieces: vec![packed(&list)], end: End::Closed }
}

fn frame(change: &[u8]) -> Vec<u8> {
    [&u32::try_from(change.len()).unwrap().to_be_bytes(), change].concat()
}

fn told(kind: &str, name: &str, version: &str) -> Vec<u8> {
    frame(&change(kind, &job(name, version)))
}

fn watch(pieces: Vec<Vec<u8>>, end: End) -> Answer {
    Answer { status: 200, pieces, end }
}

fn refused(code: i64) -> Answer {
    let status = [(3, text("no")), (4, text("Why")), (6, number(code))];
    Answer { status: u16::try_from(code).unwrap(), pieces: vec![packed(&status)], end: End::Closed }
}

/// Collects descriptions of all events, until none arrives for a minute.
async fn heard(server: &Arc<Server>) -> Vec<String> {
    let mut heard = Vec::new();
    let mut events = server.jobs().boxed();
    // Each test ends with a silent watch.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(60), events.next()).await {
        let name = |job: Box<Job>| job.metadata.name.unwrap();
        heard.push(match event {
            Ok(Event::Init) => "init".to_owned(),
            Ok(Event::InitApply(job)) => format!("has {}", name(job)),
            Ok(Event::InitDone) => "listed".to_owned(),
            Ok(Event::Apply(job)) => format!("is {}", name(job)),
            Ok(Event::Delete(job)) => format!("was {}", name(job)),
            Err(Error::InitialListFailed(_)) => "list failed".to_owned(),
            Err(Error::WatchStartFailed(ClientError::Api(status))) => format!("no watch: {}", status.code),
            Err(Error::WatchError(status)) => format!("ended: {}", status.code),
            Err(Error::WatchFailed(error)) => format!("unreadable: {error}"),
            Err(error) => format!("{error:?}"),
        });
    }
    heard
}

async fn hears(answers: Vec<Answer>, asked: &[&str], expected: &[&str]) {
    let server = Server::new(answers);
    assert_eq!(heard(&server).await, expected);
    assert_eq!(*server.asked.lock().unwrap(), asked);
}

#[tokio::test(start_paused = true)]
async fn pages_are_listed_and_then_followed_however_they_are_cut_to_pieces() {
    let changes = [
        told("ADDED", "d", "11"),
        told("BOOKMARK", "", "20"),
        told("MODIFIED", "a", "21"),
        told("DELETED", "b", "22"),
    ]
    .concat();
    for size in [1, 3, 4, 5, 64, changes.len()] {
        let pieces = changes.chunks(size).map(<[u8]>::to_vec).collect();
        hears(
            vec![page(&["a", "b"], "10", "more"), page(&["c"], "10", ""), watch(pieces, End::Silent)],
            &["list -", "list more", "watch 10"],
            &["init", "has a", "has b", "has c", "listed", "is d", "is a", "was b"],
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let half = told("ADDED", "half", "30")[..9].to_vec();
    hears(
        vec![
            page(&[], "10", ""),
            watch(vec![told("ADDED", "a", "11")], End::Closed),
            watch(vec![told("BOOKMARK", "", "12"), half], End::Cut),
            // A watch without events. The next one starts after a delay, to spare a server that has problems.
            watch(vec![], End::Cut),
            watch(vec![told("LATER", "", "13")], End::Closed),
            watch(vec![told("ADDED", "b", "14")], End::Silent),
        ],
        &["list -", "watch 10", "watch 11", "watch 12", "watch 12", "watch 12"],
        &["init", "listed", "is a", "is b"],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_which_nothing_is_heard_is_made_anew() {
    let server =
        Server::new(vec![page(&[], "10", ""), watch(vec![], End::Silent), watch(vec![], End::Silent)]);
    let mut events = server.jobs().boxed();
    let asked = || server.asked.lock().unwrap().len();
    assert!(matches!(events.next().await, Some(Ok(Event::Init))));
    assert!(matches!(events.next().await, Some(Ok(Event::InitDone))));
    let listen = async |events: &mut stream::BoxStream<'_, _>, time| {
        assert!(tokio::time::timeout(time, events.next()).await.is_err());
    };
    listen(&mut events, SILENCE - Duration::from_secs(1)).await;
    assert_eq!(asked(), 2);
    // The rest of the idle timeout, and the retry delay.
    listen(&mut events, Duration::from_secs(1) + PAUSE + Duration::from_millis(1)).await;
    assert_eq!(asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_has_forgotten_is_listed_again() {
    let expired = frame(&change("ERROR", &[(3, text("too old")), (6, number(410))]));
    hears(
        vec![
            page(&["a"], "10", ""),
            watch(vec![told("ADDED", "b", "11"), expired], End::Closed),
            page(&["b"], "20", ""),
            refused(410),
            page(&[], "30", ""),
            watch(vec![], End::Silent),
        ],
        &["list -", "watch 10", "list -", "watch 20", "list -", "watch 30"],
        &[
            "init",
            "has a",
            "listed",
            "is b",
            "ended: 410",
            "init",
            "has b",
            "listed",
            "no watch: 410",
            "init",
            "listed",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_error_is_told_and_got_over() {
    let busy = frame(&change("ERROR", &[(3, text("busy")), (6, number(500))]));
    hears(
        vec![
            refused(503),
            page(&["a"], "9", "more"),
            // The continue token has expired.
            refused(410),
            page(&["a"], "10", ""),
            refused(403),
            watch(vec![busy], End::Closed),
            watch(vec![told("ADDED", "b", "11")], End::Silent),
        ],
        &["list -", "list -", "list more", "list -", "watch 10", "watch 10", "watch 10"],
        &[
            "init",
            "list failed",
            "init",
            "has a",
            "list failed",
            "init",
            "has a",
            "listed",
            "no watch: 403",
            "ended: 500",
            "is b",
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_listed_again() {
    for (unreadable, why) in [
        (frame(b"{}"), "invalid field key 0x7b"),
        (frame(&change("ADDED", &[(1, number(1))])), "a field has the wrong type"),
        (((16 << 20) + 1_u32).to_be_bytes().to_vec(), "a watch event of 16777217 bytes exceeds the limit"),
    ] {
        hears(
            vec![
                page(&[], "10", ""),
                watch(vec![unreadable], End::Silent),
                page(&[], "20", ""),
                watch(vec![], End::Silent),
            ],
            &["list -", "watch 10", "list -", "watch 20"],
            &["init", "listed", &format!("unreadable: ServiceError: {why}"), "init", "listed"],
        )
        .await;
    }
    // A frame of exactly the maximum length is accepted, so the stream waits for its content.
    hears(
        vec![page(&[], "10", ""), watch(vec![(16_u32 << 20).to_be_bytes().to_vec()], End::Silent)],
        &["list -", "watch 10"],
        &["init", "listed"],
    )
    .await;
    // A watch cannot resume after an object without a resource version.
    hears(
        vec![
            page(&[], "10", ""),
            watch(vec![told("ADDED", "a", "")], End::Silent),
            page(&[], "20", ""),
            watch(vec![], End::Silent),
        ],
        &["list -", "watch 10", "list -", "watch 20"],
        &["init", "listed", "NoResourceVersion", "init", "listed"],
    )
    .await;
}
