//! The hosts that a request may name, and the web pages that may send it.

use crate::harness::{Harness, job};
use axum::body::Body;
use axum::http::{Request, Version};
use runway_http::{HostRules, app, ops};

fn get(target: &str, hosts: &[&str]) -> Request<Body> {
    let request = hosts.iter().fold(Request::get(target), |request, host| request.header("host", *host));
    request.body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn request_must_name_one_host_of_the_server() {
    let mut harness = Harness::new().await;
    for (rules, other) in [(HostRules::cluster(vec![]), 200), (HostRules::loopback(vec![]), 421)] {
        let state = harness.state.clone().with_host_rules(rules);
        for (router, path) in
            [(app(state.clone()), "/v1/policy"), (app(state.clone()), "/"), (ops(state), "/healthz")]
        {
            harness.router = router;
            for (hosts, status) in [
                (&["localhost:8080"][..], 200),
                (&["127.0.0.1"], 200),
                (&["[::1]:80"], 200),
                (&["evil.example"], 421),
                (&["not a host"], 421),
                (&[""], 421),
                (&[], 400),
                (&["localhost", "localhost"], 400),
                (&["localhost", "evil.example"], 400),
                // A probe and a scrape name the address of the pod, and clients in the cluster name the Service.
                (&["10.1.2.3:9100"], other),
                (&["runway-http.runway-system.svc.cluster.local"], other),
            ] {
                let answer = harness.send(get(path, hosts)).await;
                assert_eq!(answer.status.as_u16(), status, "{path} {hosts:?}");
                match status {
                    421 => drop(answer.expect_problem(421, "misdirected")),
                    400 => drop(answer.expect_problem(400, "malformed")),
                    _ => {}
                }
            }
            let foreign_target = get(&format!("http://evil.example{path}"), &["localhost"]);
            harness.send(foreign_target).await.expect_problem(421, "misdirected");
            // In HTTP/1.0, the header is optional, and a browser always sends it.
            let mut old = get(path, &[]);
            *old.version_mut() = Version::HTTP_10;
            assert_eq!(harness.send(old).await.status, 200);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rules_for_any_host_still_require_a_host() {
    let mut harness = Harness::new().await;
    harness.router = app(harness.state.clone().with_host_rules(HostRules::any()));
    assert_eq!(harness.send(get("/v1/policy", &["runway.example.com"])).await.status, 200);
    harness.send(get("/v1/policy", &[])).await.expect_problem(400, "malformed");
}

#[tokio::test(start_paused = true)]
async fn page_of_another_site_cannot_change_anything() {
    let mut harness = Harness::new().await;
    harness.router = app(harness.state.clone().with_host_rules(HostRules::cluster(vec![])));
    let send = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("content-type", "application/json");
        harness.send(request.body(Body::from(job("a", "listed").to_string())).unwrap()).await
    };
    for headers in [
        &[("origin", "http://evil.example")][..],
        &[("origin", "http://localhost:3000")],
        &[("origin", "http://localhost")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://localhost:8080")],
        &[("origin", "http://localhost:8080"), ("origin", "http://evil.example")],
    ] {
        for (method, path) in
            [("POST", "/v1/jobs"), ("POST", "/v1/quotes"), ("DELETE", "/v1/jobs/000000000000")]
        {
            send(method, path, headers).await.expect_problem(403, "forbidden");
        }
        assert_eq!(send("GET", "/v1/jobs", headers).await.status, 200, "{headers:?}");
        // The server has no CORS rules, so a browser does not send the request after this response.
        let preflight = send("OPTIONS", "/v1/jobs", headers).await;
        preflight.expect_problem(405, "method-not-allowed");
        assert!(!preflight.headers.keys().any(|name| name.as_str().starts_with("access-control")));
    }
    assert!(harness.cluster.created_jobs().is_empty());
    for headers in [
        &[][..],
        &[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ] {
        assert_eq!(send("POST", "/v1/jobs", headers).await.status, 201, "{headers:?}");
    }
}
