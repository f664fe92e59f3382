//! A test harness: the router over an in-memory cluster, with virtual time and injected faults.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use runway_control::fake::FakeCluster;
use runway_control::{ControlPlane, Settings};
use runway_http::metrics::Metrics;
use runway_http::{AppState, RequestLimits, app};
use runway_testing::env::VirtualEnv;
use runway_testing::faults::ScriptedFaults;
use runway_testing::policies;
pub use runway_testing::policies::LISTED_TENANT as POLICY;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use tower::ServiceExt;

static DOCUMENT: LazyLock<Value> = LazyLock::new(runway_http::openapi);

pub struct Harness {
    pub router: Router,
    pub state: AppState,
    pub plane: ControlPlane,
    pub cluster: FakeCluster,
    pub faults: ScriptedFaults,
}

#[derive(Debug)]
pub struct TestResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl TestResponse {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts that the response is a problem of this type and status, and returns it.
    pub fn expect_problem(&self, status: u16, kind: &str) -> Value {
        let problem = self.json();
        assert_eq!(
            (self.status.as_u16(), problem["type"].as_str()),
            (status, Some(&*format!("urn:runway:problem:{kind}"))),
            "{problem}"
        );
        assert_eq!(problem["status"], status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["instance"], self.header("x-request-id"));
        problem
    }
}

impl Harness {
    pub async fn new() -> Self {
        Self::with_limits(POLICY, RequestLimits::default()).await
    }

    pub async fn with_limits(policy: &str, limits: RequestLimits) -> Self {
        let harness = Self::unready(policy, limits);
        tokio::spawn(harness.plane.clone().run());
        harness.plane.ready().await;
        harness
    }

    /// Creates a harness whose control plane does not run yet, so the server is not ready.
    pub fn unready(policy: &str, limits: RequestLimits) -> Self {
        let policy = policies::parse(policy);
        let clock = VirtualEnv::new(1);
        let faults = ScriptedFaults::default();
        let cluster = FakeCluster::with_fault_plan(clock.clone(), Box::new(faults.clone()));
        let metrics = Arc::new(Metrics::default());
        let backend = Arc::new(cluster.connect());
        let observer = Arc::clone(&metrics);
        let plane = ControlPlane::with_observer(backend, policy, clock, Settings::default(), observer);
        let state = AppState::new(plane.clone(), metrics, limits);
        Self { router: app(state.clone()), state, plane, cluster, faults }
    }

    pub async fn send(&self, request: Request<Body>) -> TestResponse {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        let answer = TestResponse { status: parts.status, headers: parts.headers, bytes };
        check_against_openapi(method.as_str(), &path, &answer);
        answer
    }

    pub async fn get(&self, path: &str) -> TestResponse {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn get_as(&self, tenant: &str, path: &str) -> TestResponse {
        self.send(Request::get(path).header("x-tenant-id", tenant).body(Body::empty()).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> TestResponse {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>, headers: &[(&str, &str)]) -> TestResponse {
        let mut request = Request::post(path);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Submits a job and asserts that it is created.
    pub async fn create_job(&self, job: &Value) -> Value {
        let answer = self.post("/v1/jobs", job.to_string(), &[]).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        answer.json()
    }

    /// Returns the value of a metric, or 0 if it does not exist.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics").await.bytes).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().unwrap())
    }
}

pub fn job(name: &str, tenant: &str) -> Value {
    json!({"name": name, "tenant": tenant, "image": "registry.internal/app:1", "command": ["true"]})
}

/// Asserts that the response matches the OpenAPI document, if the document contains the path and the method.
fn check_against_openapi(method: &str, path: &str, answer: &TestResponse) {
    let document = &*DOCUMENT;
    let parts: Vec<_> = path.split('/').collect();
    let is_of = |template: &String| {
        let names: Vec<_> = template.split('/').collect();
        names.len() == parts.len()
            && names.iter().zip(&parts).all(|(name, part)| name.starts_with('{') || name == part)
    };
    let Some((template, methods)) =
        document["paths"].as_object().unwrap().iter().find(|(path, _)| is_of(path))
    else {
        return;
    };
    let Some(operation) = methods.get(method.to_lowercase()) else { return };
    let status = answer.status.as_u16().to_string();
    let response = &operation["responses"][&status];
    assert!(response.is_object(), "{method} {template}: {status} is not documented");
    let is_documented = |name: &str| {
        let mut headers = response["headers"].as_object().unwrap().keys();
        headers.any(|documented| documented.eq_ignore_ascii_case(name))
    };
    // OpenAPI describes the type of the body elsewhere, and the length is part of the framing.
    for name in
        answer.headers.keys().filter(|name| !["content-type", "content-length"].contains(&name.as_str()))
    {
        assert!(is_documented(name.as_str()), "{method} {template} {status}: `{name}` is not documented");
    }
    let media = answer.header("content-type").split(';').next().unwrap();
    let content = response["content"].as_object();
    let Some(content) = content.filter(|content| !content.is_empty()) else {
        assert!(answer.bytes.is_empty(), "{method} {template} {status}: the body is not documented");
        return;
    };
    let found = content.iter().find(|(name, _)| name.split(';').next() == Some(media));
    let (_, body) =
        found.unwrap_or_else(|| panic!("{method} {template} {status}: {media} is not documented"));
    if media.ends_with("json") {
        let mut schema = body["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let value = answer.json();
        let errors: Vec<_> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{method} {template} {status}: {errors:?}\n{value}");
    }
}
