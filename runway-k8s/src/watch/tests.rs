//! Tests of the combined watch with a server that stops responding.

use super::*;
use crate::protobuf::test_encode::{in_envelope, nested, string};
use crate::settings::KubernetesSettings;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::StreamBody;
use kube::client::Body;
use runway_control::SystemEnv;
use runway_core::Policy;
use runway_core::policy::PriceOverrides;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

type Frames = BoxStream<'static, Result<http_body::Frame<Bytes>, Infallible>>;

/// Returns a cluster without objects. While `is_frozen` is set, the server accepts requests and does not
/// respond.
fn cluster(is_frozen: Arc<AtomicBool>) -> Arc<Cluster> {
    let respond = move |request: Request<Body>| {
        let is_frozen = Arc::clone(&is_frozen);
        async move {
            while is_frozen.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let list = in_envelope(&[(1, nested(&[(2, string("10"))]))]);
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let body: Frames = match is_watch {
                true => stream::pending().boxed(),
                false => stream::iter([Ok(http_body::Frame::data(Bytes::from(list)))]).boxed(),
            };
            Ok::<_, Infallible>(Response::new(StreamBody::new(body)))
        }
    };
    let text = include_bytes!("../../../fixtures/policies/default.yaml");
    let policy = Policy::parse(text, PriceOverrides::default()).unwrap();
    let client = kube::Client::new(tower::service_fn(respond), "default");
    Arc::new(Cluster::new(client, &policy, KubernetesSettings::new(&policy), Arc::new(SystemEnv)))
}

#[tokio::test(start_paused = true)]
async fn frozen_server_is_reported_and_its_return_noticed() {
    let is_frozen = Arc::new(AtomicBool::new(false));
    let mut events = watch(cluster(Arc::clone(&is_frozen)));
    assert_eq!(events.next().await, Some(WatchEvent::ListStarted));
    while events.next().await != Some(WatchEvent::Connected) {}
    // The server is silent and healthy, so no interruption is reported.
    let healthy = timeout(Duration::from_secs(100), async {
        while !matches!(events.next().await, Some(WatchEvent::Interrupted(_))) {}
    });
    assert!(healthy.await.is_err());

    is_frozen.store(true, Ordering::Relaxed);
    let mut interruptions = BTreeSet::new();
    let frozen = timeout(Duration::from_secs(120), async {
        while interruptions.len() < 3 {
            if let Some(WatchEvent::Interrupted(cause)) = events.next().await {
                interruptions.insert(cause.to_string());
            }
        }
    });
    frozen.await.expect("the freeze is noticed within 2 minutes");
    let calls = ["watching events", "watching jobs", "watching pods"];
    let expected = calls.map(|call| format!("{call}: no response within 10 s"));
    assert!(interruptions.iter().eq(&expected), "{interruptions:?}");
    // During the freeze, nothing counts as a connection. That includes the relist after 300 s.
    let silent = timeout(Duration::from_secs(600), async {
        while !matches!(events.next().await, Some(WatchEvent::Connected | WatchEvent::Listed(_))) {}
    });
    assert!(silent.await.is_err());

    is_frozen.store(false, Ordering::Relaxed);
    let returned_at = Instant::now();
    while events.next().await != Some(WatchEvent::Connected) {}
    assert!(returned_at.elapsed() < Duration::from_secs(5), "{:?}", returned_at.elapsed());
}
