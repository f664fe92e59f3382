//! Many concurrent connections, requests, submissions and tenants.

use crate::harness::{SHORT_TIMEOUT, TestServer};
use futures::future::join_all;
use runway_testing::wire::{HttpResponse, RawConnection, get, job, metric, post, wait_until};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_do_not_block_other_requests() {
    let server = TestServer::start().await;
    let mut slow = Vec::new();
    for n in 0..2000 {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        // One third of the clients sends nothing, one third sends part of a head, and one third sends a head
        // with part of a body.
        let whole = post("/v1/jobs", "", &job("slow", "search"));
        let sent = [0, 10, whole.len() - 40][n % 3];
        wire.send(&whole[..sent]).await.unwrap();
        slow.push(wire);
    }
    // Each request with part of a body needs a permit. The limit is 512, and further requests receive 503.
    wait_until("the clients to connect", async || server.metric("runway_http_connections").await >= 1000)
        .await;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(server.exchange(get("/healthz")).await.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let in_progress = server.metric("runway_http_requests_in_progress").await;
    assert!(in_progress <= 512, "{in_progress}");
    drop(slow);
    wait_until("the connections to close", async || server.metric("runway_http_connections").await == 1)
        .await;
    wait_until("the permits to be released", async || {
        server.metric("runway_http_requests_in_progress").await == 0
    })
    .await;
    assert_eq!(server.exchange(post("/v1/jobs", "", &job("after", "search"))).await.status, 201);
    assert_eq!(server.cluster.created_jobs().len(), 1);
}

#[tokio::test]
async fn connections_above_the_limit_wait() {
    let server = TestServer::with(|setup| setup.connections.max_connections = 3).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        assert_eq!(wire.exchange(get("/healthz")).await.status, 200);
        open.push(wire);
    }
    let mut waiting = RawConnection::connect(server.address).await.unwrap();
    waiting.send(get("/healthz")).await.unwrap();
    let early = tokio::time::timeout(SHORT_TIMEOUT, waiting.response()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(metric(&open[0].exchange(get("/metrics")).await.text(), "runway_http_connections"), 3);
    drop(open.pop());
    assert_eq!(waiting.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn requests_above_the_limit_are_503_except_probes() {
    let server = TestServer::with(|setup| setup.requests.max_requests = 4).await;
    server.create_gate.send_replace(false);
    let mut in_flight = Vec::new();
    for n in 0..4 {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        wire.send(post("/v1/jobs", "", &job("inside", &format!("team-{n}")))).await.unwrap();
        in_flight.push(wire);
        wait_until("the request to be in progress", async || {
            server.metric("runway_http_requests_in_progress").await == n + 1
        })
        .await;
    }
    for request in
        [get("/v1/policy"), get("/v1/jobs"), post("/v1/quotes", "", &job("more", "search")), get("/docs")]
    {
        let answer = server.exchange(request).await;
        assert_eq!(answer.problem(), "overloaded");
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    for probe in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.exchange(get(probe)).await.status, 200, "{probe}");
    }
    server.create_gate.send_replace(true);
    for wire in &mut in_flight {
        assert_eq!(wire.response().await.unwrap().status, 201);
    }
    assert_eq!(server.exchange(get("/v1/policy")).await.status, 200);
}

#[tokio::test]
async fn submissions_are_limited_per_tenant() {
    let server = TestServer::with(|setup| setup.requests.max_tenant_submissions = 2).await;
    server.create_gate.send_replace(false);
    let mut in_flight = Vec::new();
    for _ in 0..2 {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        wire.send(post("/v1/jobs", "", &job("inside", "search"))).await.unwrap();
        in_flight.push(wire);
    }
    wait_until("both creates to be pending", async || server.metric("runway_creations_pending").await == 2)
        .await;
    let third = server.exchange(post("/v1/jobs", "", &job("third", "search"))).await;
    assert_eq!((third.problem().as_str(), third.status), ("too-many-submissions", 429));
    assert_eq!(third.header("retry-after"), Some("1"));
    // Quotes do not count as submissions.
    assert_eq!(server.exchange(post("/v1/quotes", "", &job("quote", "search"))).await.status, 200);
    // The job of a client that disconnects is still created. Until then, it keeps its permit.
    drop(in_flight.pop());
    let mut other = RawConnection::connect(server.address).await.unwrap();
    other.send(post("/v1/jobs", "", &job("other", "vision"))).await.unwrap();
    wait_until("the create of the other tenant to be pending", async || {
        server.metric("runway_creations_pending").await == 3
    })
    .await;
    wait_until("the request to end", async || server.metric("runway_http_requests_in_progress").await == 2)
        .await;
    let again = server.exchange(post("/v1/jobs", "", &job("again", "search"))).await;
    assert_eq!((again.problem().as_str(), again.status), ("too-many-submissions", 429));
    server.create_gate.send_replace(true);
    for wire in in_flight.iter_mut().chain([&mut other]) {
        assert_eq!(wire.response().await.unwrap().status, 201);
    }
    wait_until("the abandoned job to be created", async || server.cluster.created_jobs().len() == 3).await;
    assert_eq!(server.metric(r#"runway_submissions_total{outcome="too-many-submissions",code=""}"#).await, 2);
    let later = server.exchange(post("/v1/jobs", "", &job("later", "search"))).await;
    assert_eq!(later.status, 201);
}

#[tokio::test]
async fn timed_out_submission_continues_in_the_background() {
    let server = TestServer::with(|setup| setup.requests.request_timeout = SHORT_TIMEOUT).await;
    server.create_gate.send_replace(false);
    let began = Instant::now();
    let answer = server.exchange(post("/v1/jobs", "Idempotency-Key: k\r\n", &job("late", "search"))).await;
    assert_eq!((answer.problem().as_str(), answer.status), ("timed-out", 503));
    assert!((SHORT_TIMEOUT..SHORT_TIMEOUT + Duration::from_secs(2)).contains(&began.elapsed()));
    assert!(answer.header("retry-after").is_some());
    // The submission continues, and the same key finds its job.
    server.create_gate.send_replace(true);
    wait_until("the job to exist", async || server.cluster.created_jobs().len() == 1).await;
    let again = server.exchange(post("/v1/jobs", "Idempotency-Key: k\r\n", &job("late", "search"))).await;
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(server.cluster.created_jobs().len(), 1);
}

/// The counters match the requests of 100 concurrent clients exactly.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_match_the_requests_of_100_clients() {
    let server = TestServer::with(|setup| {
        setup.policy = setup
            .policy
            .replace("quota: {gpus: 0, concurrent_jobs: 100000}", "quota: {gpus: 0, concurrent_jobs: 6}");
    })
    .await;
    let clients = (0..100).map(async |n| {
        let mut wire = RawConnection::connect(server.address).await.unwrap();
        let tenant = format!("team-{n}");
        let good = job("good", &tenant);
        let bad = good.replace("}", r#","resources":{"cpu":"5"}}"#);
        let key = format!("Idempotency-Key: {n}\r\n");
        let requests = [
            post("/v1/jobs", "", &good),
            post("/v1/jobs", &key, &good),
            post("/v1/jobs", &key, &good),
            post("/v1/jobs", &key, &good.replace("good", "other")),
            post("/v1/jobs", "", &bad),
            post("/v1/jobs", "", "{"),
            post("/v1/quotes", "", &good),
            post("/v1/quotes", "", &bad),
            get("/v1/jobs"),
            get(&format!("/v1/tenants/{tenant}")),
            get("/v1/nothing"),
            runway_testing::wire::request("BREW", "/v1/jobs", "", ""),
        ];
        let mut statuses = Vec::new();
        for request in requests {
            statuses.push(wire.exchange(request).await.status);
        }
        assert_eq!(statuses, [201, 201, 200, 422, 422, 400, 200, 200, 200, 200, 404, 405]);
        // The quota of each tenant is six jobs, and each tenant holds two. So four of nine submissions
        // succeed.
        let more: Vec<HttpResponse> =
            join_all((0..9).map(|_| server.exchange(post("/v1/jobs", "", &good)))).await;
        let created = more.iter().filter(|answer| answer.status == 201).count();
        let refused = more.iter().filter(|answer| answer.status == 429).count();
        assert_eq!((created, refused), (4, 5));
    });
    join_all(clients).await;
    let metrics = server.metrics().await;
    let submissions = |outcome: &str, code: &str| {
        metric(&metrics, &format!(r#"runway_submissions_total{{outcome="{outcome}",code="{code}"}}"#))
    };
    assert_eq!(submissions("created", ""), 600);
    assert_eq!(submissions("replayed", ""), 100);
    assert_eq!(submissions("key-conflict", ""), 100);
    assert_eq!(submissions("refused", "cpu-above-max"), 100);
    assert_eq!(submissions("refused", "tenant-job-quota"), 500);
    let requests = |method: &str, route: &str, status: u16| {
        let series =
            format!(r#"runway_http_requests_total{{method="{method}",route="{route}",status="{status}"}}"#);
        metric(&metrics, &series)
    };
    let jobs = [201, 200, 422, 400, 429].map(|status| requests("POST", "/v1/jobs", status));
    assert_eq!(jobs, [600, 100, 200, 100, 500]);
    assert_eq!(requests("POST", "/v1/quotes", 200), 200);
    assert_eq!(requests("GET", "/v1/jobs", 200), 100);
    assert_eq!(requests("GET", "/v1/tenants/{tenant}", 200), 100);
    assert_eq!(requests("GET", "none", 404), 100);
    assert_eq!(requests("other", "/v1/jobs", 405), 100);
    let count =
        metric(&metrics, r#"runway_http_request_duration_seconds_count{method="POST",route="/v1/jobs"}"#);
    assert_eq!(count, 1500);
    assert_eq!(metric(&metrics, "runway_create_duration_seconds_count"), 600);
    assert_eq!(metric(&metrics, "runway_jobs_held"), 600);
    assert_eq!(server.cluster.created_jobs().len(), 600);
    // No metric contains the name of a tenant.
    assert!(!metrics.contains("team-"), "{metrics}");
}
