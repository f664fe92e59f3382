//! `/openapi.json` and `/docs`.

use crate::harness::Harness;

#[tokio::test(start_paused = true)]
async fn docs_page_shows_every_route_and_loads_nothing() {
    let harness = Harness::new().await;
    let page = harness.get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    let html = String::from_utf8(page.bytes).unwrap();
    let document = harness.get("/openapi.json").await.json();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            assert!(html.contains(&format!("{} {path}", method.to_uppercase())), "{method} {path}");
        }
    }
    for loaded in ["src=", "<script", "<link", "@import", "url(", "http://", "https://"] {
        assert!(!html.contains(loaded), "{loaded}");
    }
}
