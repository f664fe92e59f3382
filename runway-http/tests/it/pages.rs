//! `/openapi.json` and `/docs`.

use crate::harness::Harness;
use serde_json::Value;

#[tokio::test(start_paused = true)]
async fn docs_page_shows_every_route_and_loads_nothing() {
    let harness = Harness::new().await;
    let page = harness.get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    let html = String::from_utf8(page.bytes).unwrap();
    let document = harness.get("/openapi.json").await.json();
    let mut operations = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            assert!(html.contains(&format!("{} {path}", method.to_uppercase())), "{method} {path}");
            operations += 1;
        }
    }
    assert_eq!(html.matches("<pre>curl &quot;$RUNWAY_SERVER/").count(), operations);
    for loaded in ["src=", "<script", "<link", "@import", "url(", "http://", "https://"] {
        assert!(!html.contains(loaded), "{loaded}");
    }
}

#[tokio::test(start_paused = true)]
async fn docs_page_marks_up_code() {
    let harness = Harness::new().await;
    let html = String::from_utf8(harness.get("/docs").await.bytes).unwrap();
    assert!(html.contains("the header <code>X-Request-ID</code>."), "{html}");
    // The schemas are JSON, so their descriptions keep the backticks.
    let outside_of_pre =
        html.split("<pre>").map(|part| part.split_once("</pre>").map_or(part, |(_, text)| text));
    for text in outside_of_pre {
        assert!(!text.contains('`'), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn example_job_of_the_docs_page_is_admitted() {
    let harness = Harness::new().await;
    let html = String::from_utf8(harness.get("/docs").await.bytes).unwrap().replace("&quot;", "\"");
    let jobs: Vec<_> = html.split("-d '").skip(1).map(|rest| rest.split_once('\'').unwrap().0).collect();
    assert_eq!(jobs.len(), 2, "the examples of `POST /v1/jobs` and `POST /v1/quotes`");
    for job in jobs {
        harness.create_job(&serde_json::from_str::<Value>(job).unwrap()).await;
    }
}
