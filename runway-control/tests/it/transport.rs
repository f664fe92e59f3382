//! Tests of the service with a text transport: each line is a request, and the response is one line.
//!
//! The transport only translates between the text and the service. It shows that a transport needs no other
//! logic.

use crate::harness::{Harness, long_running, start};
use futures::FutureExt;
use runway_control::fake::{Fault, Response};
use runway_control::service::{RefusalClass, SubmissionRequest, SubmissionService};
use runway_control::{RequestIdentity, Settings, Submitted};
use runway_core::document::parse_json;
use runway_testing::env::in_virtual_time;
use runway_testing::faults::response_fault;
use std::time::Duration;

/// The requests are `check TENANT JSON` and `submit TENANT KEY JSON`. A `-` means no tenant or no key.
struct TextTransport(SubmissionService);

impl TextTransport {
    async fn handle(&self, line: &str) -> String {
        let identity = RequestIdentity { request_id: line, trace_id: "" };
        let unless_dash = |text: &str| (text != "-").then(|| text.to_owned());
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["check", tenant, job] => {
                let Some(document) = parse_json(job.as_bytes()) else { return "invalid JSON".to_owned() };
                let decision = self.0.preview(&document, unless_dash(tenant));
                match decision.admitted() {
                    Some(admitted) => format!("admitted {}", admitted.quote().ceiling),
                    None => format!("refused {}", decision.violations()[0].code),
                }
            }
            ["submit", tenant, key, job] => {
                let (tenant, key) = (unless_dash(tenant), unless_dash(key).map(|key| key.parse().unwrap()));
                let Some(document) = parse_json(job.as_bytes()) else {
                    self.0.record_unreadable(identity, tenant.as_deref(), &[], "invalid JSON");
                    return "invalid JSON".to_owned();
                };
                let request = SubmissionRequest { document: &document, tenant, key };
                match self.0.submit(request, identity).await.result {
                    Ok(Submitted::Created { job, .. }) => format!("created {}", job.snapshot.id),
                    Ok(Submitted::Replayed { job }) => format!("replayed {}", job.snapshot.id),
                    Err(refusal) => {
                        let wait = refusal.retry_after.unwrap_or_default().as_secs();
                        format!("{} {wait} {}", name(refusal.class), refusal.message)
                    }
                }
            }
            _ => "unknown request".to_owned(),
        }
    }
}

const fn name(class: RefusalClass) -> &'static str {
    match class {
        RefusalClass::Malformed => "malformed",
        RefusalClass::Policy => "policy",
        RefusalClass::RateLimited => "rate",
        RefusalClass::OverQuota => "quota",
        RefusalClass::TooManySubmissions => "in-flight",
        RefusalClass::KeyReused => "key-reused",
        RefusalClass::KeyInFlight => "key-in-flight",
        RefusalClass::NotReady => "not-ready",
        RefusalClass::Rejected => "rejected",
        RefusalClass::Unavailable => "unavailable",
        RefusalClass::Uncertain => "uncertain",
    }
}

fn job(fields: &str) -> String {
    format!(r#"{{"name":"a","image":"registry.internal/embed:1.8.0"{fields}}}"#)
}

#[test]
fn text_transport_translates_submissions() {
    in_virtual_time(async {
        let harness = Harness::ready(long_running()).await;
        let transport = TextTransport(SubmissionService::new(harness.plane.clone(), 1));
        let valid = job("");
        assert!(transport.handle(&format!("check team {valid}")).await.starts_with("admitted 0."));
        let created = transport.handle(&format!("submit team k {valid}")).await;
        let id = created.strip_prefix("created ").unwrap();
        assert_eq!(transport.handle(&format!("submit team k {valid}")).await, format!("replayed {id}"));
        let large = job(r#","resources":{"cpu":"64"}"#);
        assert_eq!(transport.handle(&format!("check team {large}")).await, "refused cpu-above-max");
        let reference = job(r#","secrets":{"TOKEN":{"from_env":"TOKEN"}}"#);
        assert!(transport.handle(&format!("check team {reference}")).await.starts_with("admitted 0."));
        for (request, expected) in [
            (format!("submit team k {large}"), "key-reused 0 "),
            (format!("submit team - {large}"), "policy 0 "),
            (format!("submit - - {valid}"), "malformed 0 "),
            (format!("submit team - {reference}"), "malformed 0 "),
            ("submit team - {".to_owned(), "invalid JSON"),
        ] {
            let response = transport.handle(&request).await;
            assert!(response.starts_with(expected), "{request}: {response}");
        }
        for _ in 0..2 {
            assert!(transport.handle(&format!("submit team - {valid}")).await.starts_with("created "));
        }
        // The three jobs use up the quota of three jobs. Each occupies its slot for up to 630 s: a timeout of
        // 10 min and a grace of 30 s. A refusal proposes a wait of at most 60 s, so the response names 60 s.
        assert!(transport.handle(&format!("submit team - {valid}")).await.starts_with("quota 60 "));
    });
}

#[test]
fn backend_errors_map_to_their_refusal_classes() {
    in_virtual_time(async {
        let slow = Fault { response_delay: Duration::from_secs(2), ..Fault::default() };
        let failed = [response_fault(Response::Rejected), response_fault(Response::Unreachable), slow];
        let lost = [response_fault(Response::RequestLost); 50];
        let harness = Harness::ready(long_running().with_creates(failed).with_creates(lost)).await;
        let transport = TextTransport(SubmissionService::new(harness.plane.clone(), 1));
        let request = format!("submit team - {}", job(""));
        for expected in ["rejected 0 ", "unavailable 5 "] {
            let response = transport.handle(&request).await;
            assert!(response.starts_with(expected), "{response}");
        }
        let mut first = Box::pin(transport.handle(&request));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(transport.handle(&request).await.starts_with("in-flight 1 "));
        assert!(first.await.starts_with("created "));
        let response = transport.handle(&request).await;
        assert!(response.starts_with("uncertain 5 it is not known yet whether the job `"), "{response}");
        let (_, unready) = start(&harness.cluster, Settings::default());
        let transport = TextTransport(SubmissionService::new(unready, 1));
        assert!(transport.handle(&request).await.starts_with("not-ready 1 "));
    });
}
