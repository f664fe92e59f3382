//! The server and `runway check -o json` return the same result for a job: the same violations, job and
//! quote, byte for byte except for whitespace.

use crate::program::{root, runway};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use runway_control::fake::FakeCluster;
use runway_control::{ControlPlane, Settings, SystemEnv};
use runway_core::policy::PriceOverrides;
use runway_core::{Code, Policy};
use runway_http::metrics::Metrics;
use runway_http::{AppState, RequestLimits, app};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tower::ServiceExt;

/// The fields of a JSON object as raw text.
type Fields = BTreeMap<String, Box<RawValue>>;

/// Returns the JSON text without the whitespace between its tokens.
fn compact(text: &RawValue) -> String {
    let value: Box<RawValue> = serde_json::from_str(text.get()).unwrap();
    let mut compact = String::new();
    let (mut in_text, mut escaped) = (false, false);
    for character in value.get().chars() {
        let is_space = !in_text && character.is_ascii_whitespace();
        if !is_space {
            compact.push(character);
        }
        match character {
            '"' if !escaped => in_text = !in_text,
            _ => {}
        }
        escaped = in_text && character == '\\' && !escaped;
    }
    compact
}

async fn post(policy: &Path, route: &str, tenant: Option<&str>, body: &str) -> (u16, Fields) {
    let policy = Policy::parse(&std::fs::read(policy).unwrap(), PriceOverrides::default()).unwrap();
    let cluster = FakeCluster::new(Arc::new(SystemEnv));
    let (env, backend) = (Arc::new(SystemEnv), Arc::new(cluster.connect()));
    let plane = ControlPlane::new(backend, Arc::new(policy), env, Settings::default());
    tokio::spawn(plane.clone().run());
    plane.ready().await;
    let limits = RequestLimits { max_body_bytes: 4 * 1024 * 1024, ..RequestLimits::default() };
    let router = app(AppState::new(plane, Arc::new(Metrics::default()), limits));
    let mut request = Request::post(route).header("content-type", "application/yaml");
    if let Some(tenant) = tenant {
        request = request.header("x-tenant-id", tenant);
    }
    let response = router.oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap())
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[tokio::test]
async fn server_and_check_agree_on_every_fixture() {
    let root = root();
    let mut found = Vec::new();
    files(&root.join("fixtures/jobs"), &mut found);
    let (mut quotes, mut rejections) = (0, 0);
    for file in found {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let tenant = path.contains("/as-search/").then_some("search");
        for policy in ["default", "strict", "in-sequence"] {
            let policy = format!("fixtures/policies/{policy}.yaml");
            let mut arguments = vec!["check", "-o", "json", "--policy", &policy, path];
            arguments.extend(tenant.map(|_| "--tenant").into_iter().chain(tenant));
            let printed: Vec<Fields> = serde_json::from_str(&runway(&arguments).stdout).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            // A request body has one document. The fixtures separate several documents with `---` lines.
            let documents: Vec<_> = text
                .split("\n---\n")
                .filter(|part| {
                    part.lines()
                        .any(|line| !line.trim().is_empty() && !line.starts_with('#') && line != "---")
                })
                .collect();
            assert_eq!(documents.len(), printed.len(), "{path}");
            for (document, printed) in documents.iter().zip(&printed) {
                let violations = compact(&printed["violations"]);
                // A parse error contains a line number. The number differs if the file has several documents,
                // because each request contains only one of them.
                let is_parse_error = violations.contains("\"code\":\"syntax\"")
                    || violations.contains("\"code\":\"too-large\"");
                // A job file must not contain the value of a secret, but a request can contain it. So the
                // results differ.
                if violations.contains(Code::SecretLiteral.as_str())
                    || (is_parse_error && documents.len() > 1)
                {
                    continue;
                }
                let (status, quote) = post(&root.join(&policy), "/v1/quotes", tenant, document).await;
                let about = format!("{path} by {policy}: {status}");
                assert_eq!(compact(&quote["violations"]), violations, "{about}");
                if status == 200 {
                    quotes += 1;
                    for field in ["admitted", "job", "quote"] {
                        assert_eq!(compact(&quote[field]), compact(&printed[field]), "{about}: {field}");
                    }
                }
                if printed["admitted"].get() == "false" {
                    rejections += 1;
                    let (status, problem) = post(&root.join(&policy), "/v1/jobs", tenant, document).await;
                    assert!((400..500).contains(&status), "{about}");
                    assert_eq!(compact(&problem["violations"]), violations, "{about}");
                }
            }
        }
    }
    assert!(quotes > 90 && rejections > 70, "{quotes} verdicts, {rejections} rejections");
}
