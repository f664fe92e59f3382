//! `GET /v1/policy`.

use crate::bed::{Bed, POLICY};
use axum::body::Body;
use axum::http::Request;
use runway_core::Policy;
use runway_core::policy::RateOverrides;
use std::sync::Arc;

#[tokio::test(start_paused = true)]
async fn the_policy_loads_again_and_its_tag_is_its_digest() {
    let bed = Bed::new().await;
    let digest = bed.plane.policy().digest();
    for accept in ["*/*", "application/json", "application/yaml"] {
        let request = Request::get("/v1/policy").header("accept", accept).body(Body::empty()).unwrap();
        let answer = bed.send(request).await;
        assert_eq!(answer.header("etag"), format!("\"{digest}\""));
        let again = Policy::parse(&answer.bytes, RateOverrides::default()).unwrap();
        assert_eq!(again.digest(), digest, "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_knows_it_is_not_told_again() {
    let bed = Bed::new().await;
    let tag = format!("\"{}\"", bed.plane.policy().digest());
    let ask =
        |tag: String| Request::get("/v1/policy").header("if-none-match", tag).body(Body::empty()).unwrap();
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = bed.send(ask(known)).await;
        assert_eq!((answer.status.as_u16(), answer.bytes.len()), (304, 0));
        assert_eq!(answer.header("etag"), tag);
    }
    assert_eq!(bed.send(ask("\"x\"".to_owned())).await.status, 200);
    let other =
        Policy::parse(POLICY.replace("max: '4'", "max: '8'").as_bytes(), RateOverrides::default()).unwrap();
    bed.plane.set_policy(Arc::new(other)).unwrap();
    assert_eq!(bed.send(ask(tag)).await.status, 200, "the policy has changed");
}
