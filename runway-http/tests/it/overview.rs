//! `/`: the overview page for operators.

use crate::bed::{Bed, POLICY, job};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use runway_control::fake::Life;
use runway_http::RequestLimits;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

async fn html(bed: &Bed) -> String {
    let answer = bed.get("/").await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    String::from_utf8(answer.bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_page_shows_what_runs_what_it_costs_and_what_is_refused() {
    let bed = Bed::new().await;
    assert!(html(&bed).await.contains("No jobs."));
    bed.faults.set_life(Life { succeeds: false, ..Life::default() });
    let mut gpus = job("train", "vision");
    gpus["resources"] = json!({"gpu": 2});
    bed.created(&gpus).await;
    let mut greedy = job("a", "t");
    greedy["resources"] = json!({"cpu": "64"});
    for _ in 0..2 {
        bed.post("/v1/jobs", greedy.to_string(), &[]).await.problem(422, "refused");
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let running = html(&bed).await;
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
    let ended = html(&bed).await;
    for shown in ["NonZeroExit", "<dt>failed</dt><dd>1</dd>", "No tenant holds resources.", "0.000000</dd>"] {
        assert!(ended.contains(shown), "{shown}\n{ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_for_one_tenant_sees_that_one_alone() {
    let bed = Bed::new().await;
    bed.created(&job("mine", "a")).await;
    bed.created(&job("theirs", "b")).await;
    let page = String::from_utf8(bed.get_as("a", "/").await.bytes).unwrap();
    assert!(page.contains("mine") && !page.contains("theirs"), "{page}");
    assert!(!page.contains("Refused in the last hour") && !page.contains("GPUs held</dt>"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn it_runs_its_own_script_and_loads_nothing_from_elsewhere() {
    let bed = Bed::new().await;
    let answer = bed.get("/").await;
    assert!(answer.header("content-security-policy").contains("script-src 'self'"));
    let page = html(&bed).await;
    assert_eq!(page.matches("<script").count(), 1);
    for loaded in ["http://", "https://", "url(", "@import", "<link", "<img", "onclick"] {
        assert!(!page.contains(loaded), "{loaded}");
    }
    let script = bed.get("/overview.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_anew_when_something_changes() {
    let bed = Bed::with(POLICY, RequestLimits { log_readers: 1, ..RequestLimits::default() }).await;
    let follow = || bed.router.clone().oneshot(Request::get("/overview/events").body(Body::empty()).unwrap());
    let answer = follow().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(follow().await.unwrap().status(), 503, "the limit is one reader");
    let mut body = answer.into_body();
    let mut next = async || -> Value {
        loop {
            let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
            let text = std::str::from_utf8(&frame).unwrap();
            // Skip keep-alive comments.
            if let Some(data) = text.strip_prefix("data: ") {
                return serde_json::from_str(data.trim_end()).unwrap();
            }
        }
    };
    assert!(next().await["jobs"].as_str().unwrap().contains("No jobs."));
    bed.created(&job("new", "a")).await;
    let jobs = next().await["jobs"].as_str().unwrap().to_owned();
    assert!(jobs.contains("new") && jobs.contains("running"), "{jobs}");
    bed.state.drain();
    assert!(body.frame().await.is_none(), "the stream ends at shutdown");
}
