//! `/`: the overview page for operators.

use crate::harness::{Harness, POLICY, job};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use runway_control::fake::JobTimings;
use runway_http::RequestLimits;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

async fn html(harness: &Harness) -> String {
    let answer = harness.get("/").await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    String::from_utf8(answer.bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn page_shows_jobs_costs_and_refusals() {
    let harness = Harness::new().await;
    assert!(html(&harness).await.contains("No jobs."));
    harness.faults.set_timings(JobTimings { succeeds: false, ..JobTimings::default() });
    let mut gpus = job("train", "vision");
    gpus["resources"] = json!({"gpu": 2});
    harness.create_job(&gpus).await;
    let mut greedy = job("a", "t");
    greedy["resources"] = json!({"cpu": "64"});
    for _ in 0..2 {
        harness.post("/v1/jobs", greedy.to_string(), &[]).await.expect_problem(422, "refused");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let running = html(&harness).await;
    assert!(running.contains("data-what=\"message\"></td>"), "the message repeats the phase\n{running}");
    for shown in [
        "train",
        "vision",
        "running",
        "2 of 4",
        "cpu-above-max",
        "5.059933",
        "0.885489",
        "<dt>failed</dt><dd>0</dd>",
    ] {
        assert!(running.contains(shown), "{shown}\n{running}");
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let ended = html(&harness).await;
    for shown in ["NonZeroExit", "<dt>failed</dt><dd>1</dd>", "No tenant holds resources.", "0.000000</dd>"] {
        assert!(ended.contains(shown), "{shown}\n{ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn page_with_tenant_header_shows_only_that_tenant() {
    let harness = Harness::new().await;
    harness.create_job(&job("mine", "a")).await;
    harness.create_job(&job("theirs", "b")).await;
    let page = String::from_utf8(harness.get_as("a", "/").await.bytes).unwrap();
    assert!(page.contains("mine") && !page.contains("theirs"), "{page}");
    assert!(!page.contains("Refused in the last hour") && !page.contains("GPUs held</dt>"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn page_shows_at_most_200_tenants_and_counts_the_rest() {
    let harness = Harness::new().await;
    let mut gpus = job("large", "z-largest");
    gpus["resources"] = json!({"gpu": 1});
    harness.create_job(&gpus).await;
    for n in 0..249 {
        harness.create_job(&job("small", &format!("team-{n}"))).await;
    }
    let page = html(&harness).await;
    assert_eq!(page.matches("id=\"tenant-").count(), 200);
    assert!(page.contains("and 50 more: <code>runway usage</code>"), "{page}");
    assert!(page.contains("id=\"tenant-z-largest\""), "the tenant with the most GPUs is shown");
}

#[tokio::test(start_paused = true)]
async fn readers_share_one_rendering_for_a_second() {
    let harness = Harness::new().await;
    let before = html(&harness).await;
    harness.create_job(&job("fresh-job", "a")).await;
    assert_eq!(html(&harness).await, before);
    let own = String::from_utf8(harness.get_as("a", "/").await.bytes).unwrap();
    assert!(own.contains("fresh-job"), "another scope has its own rendering");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(html(&harness).await.contains("fresh-job"));
}

#[tokio::test(start_paused = true)]
async fn page_loads_only_its_own_script() {
    let harness = Harness::new().await;
    let answer = harness.get("/").await;
    assert!(answer.header("content-security-policy").contains("script-src 'self'"));
    let page = html(&harness).await;
    assert_eq!(page.matches("<script").count(), 1);
    for loaded in ["http://", "https://", "url(", "@import", "<link", "<img", "onclick"] {
        assert!(!page.contains(loaded), "{loaded}");
    }
    let script = harness.get("/overview.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    // Browsers request the icon although no page refers to it.
    let icon = harness.get("/favicon.ico").await;
    assert_eq!((icon.status.as_u16(), icon.header("content-type")), (200, "image/x-icon"));
}

#[tokio::test(start_paused = true)]
async fn event_is_sent_when_the_overview_changes() {
    let harness =
        Harness::with_limits(POLICY, RequestLimits { max_log_readers: 1, ..RequestLimits::default() }).await;
    let follow =
        || harness.router.clone().oneshot(Request::get("/overview/events").body(Body::empty()).unwrap());
    let answer = follow().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(follow().await.unwrap().status(), 503, "the limit is one reader");
    let mut body = answer.into_body();
    let next = async |body: &mut Body| -> Value {
        loop {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let text = std::str::from_utf8(&frame).unwrap();
            // Skip `alive` events.
            if let Some(data) = text.strip_prefix("data: ") {
                return serde_json::from_str(data.trim_end()).unwrap();
            }
        }
    };
    assert!(next(&mut body).await["jobs"].as_str().unwrap().contains("No jobs."));
    let started = tokio::time::Instant::now();
    let alive = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(alive, "event: alive\ndata: alive\n\n");
    assert_eq!(started.elapsed().as_secs(), 15, "no update was due");
    harness.create_job(&job("new", "a")).await;
    // The first event can show the job before it runs.
    let mut jobs = String::new();
    for _ in 0..5 {
        jobs = next(&mut body).await["jobs"].as_str().unwrap().to_owned();
        if jobs.contains("running") {
            break;
        }
    }
    assert!(jobs.contains("new") && jobs.contains("running"), "{jobs}");
    harness.state.begin_drain();
    assert!(body.frame().await.is_none(), "the stream ends at shutdown");
}
