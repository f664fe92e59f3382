//! Every job that the gate admits passes the guardrails, as the admission of an API server applies them.

use crate::guardrails::{all, hard_limits, json_of, limit_range, networks, ranges};
use proptest::prelude::*;
use runway_core::guardrails::Guardrails;
use runway_core::render::render_redacted;
use runway_core::spec::SecretLiterals;
use runway_core::units::{CpuMillis, Timestamp};
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission};
use serde_json::{Value, json};
use std::sync::Arc;

/// Returns an amount of any resource in thousandths.
fn thousandths(amount: &Value) -> u64 {
    amount.as_str().unwrap().parse::<CpuMillis>().unwrap().units()
}

/// Asserts the rules of the API server for a LimitRange (`ValidateLimitRange`).
fn assert_valid(range: &Value) {
    for item in range.as_array().unwrap() {
        for (resource, max) in item["max"].as_object().unwrap() {
            let max = thousandths(max);
            if item["type"] == "Pod" {
                assert!(item.get("default").is_none() && item.get("defaultRequest").is_none());
                continue;
            }
            let (min, default) =
                (thousandths(&item["min"][resource]), thousandths(&item["default"][resource]));
            assert!(min <= default && default <= max, "{item}");
            assert_eq!(item["default"][resource], item["defaultRequest"][resource]);
            assert!(thousandths(&item["maxLimitRequestRatio"][resource]) >= 1000);
        }
    }
}

/// Applies the defaults of a LimitRange to a container as the admission plugin does (`PodMutateLimitFunc`). A
/// maximum is also a default, if there is no other (`SetDefaults_LimitRangeItem`).
fn with_defaults(resources: &Value, item: &Value) -> Value {
    let mut resources = resources.clone();
    for (part, default) in [("limits", "default"), ("requests", "defaultRequest")] {
        let filled = resources[part].as_object_mut().unwrap();
        for source in [default, "default", "max"] {
            for (resource, amount) in item.get(source).and_then(Value::as_object).into_iter().flatten() {
                filled.entry(resource.clone()).or_insert_with(|| amount.clone());
            }
        }
    }
    resources
}

/// Asserts that a cluster accepts the pod of one job in an empty namespace (`PodValidateLimitFunc` and the
/// quota's usage).
fn assert_passes_guardrails(pod: &Value, guarded: &Guardrails) {
    let original = &pod["containers"][0]["resources"];
    let range = limit_range(guarded);
    assert_valid(&range);
    let resources = with_defaults(original, &range[0]);
    assert_eq!(resources, *original, "admission adds no defaults");
    for item in range.as_array().unwrap() {
        for (resource, max) in item["max"].as_object().unwrap() {
            assert!(
                thousandths(&resources["limits"][resource]) <= thousandths(max),
                "{resource}: {resources} {item}"
            );
        }
        for (resource, min) in item.get("min").and_then(Value::as_object).into_iter().flatten() {
            assert!(
                thousandths(&resources["requests"][resource]) >= thousandths(min),
                "{resource}: {resources} {item}"
            );
        }
        for (resource, _) in item.get("maxLimitRequestRatio").and_then(Value::as_object).into_iter().flatten()
        {
            assert!(thousandths(&resources["requests"][resource]) > 0);
            assert_eq!(resources["limits"][resource], resources["requests"][resource]);
        }
    }
    let hard = hard_limits(guarded);
    assert!(thousandths(&hard["pods"]) >= 1000);
    for (part, resource, amount) in ["limits", "requests"].iter().flat_map(|part| {
        resources[part].as_object().unwrap().iter().map(move |(resource, amount)| (part, resource, amount))
    }) {
        if let Some(hard) = hard.get(format!("{part}.{resource}")) {
            assert!(thousandths(amount) <= thousandths(hard), "{part}.{resource}: {amount} {hard}");
        } else {
            assert!(resource.contains('/') && *part == "limits", "{part}.{resource} has no quota");
        }
    }
}

/// Returns whether a selector of a NetworkPolicy matches the labels of a pod.
fn selects(selector: &Value, labels: &Value) -> bool {
    let is = |(key, value): (&String, &Value)| labels[key] == *value;
    selector.get("matchLabels").and_then(Value::as_object).is_none_or(|wanted| wanted.iter().all(is))
        && selector.get("matchExpressions").and_then(Value::as_array).is_none_or(|wanted| {
            wanted.iter().all(|one| {
                let values = one["values"].as_array().unwrap();
                assert!(!values.is_empty());
                let found = values.contains(&labels[one["key"].as_str().unwrap()]);
                if one["operator"] == "In" { found } else { !found }
            })
        })
}

/// Asserts which NetworkPolicies select a job. One denies all connections. If the job has a network,
/// exactly one more policy allows that network, with the ranges of the job's tenant.
fn assert_network_policies(labels: &Value, policy: &Policy, guarded: &Guardrails) {
    let selected =
        networks(guarded).into_iter().filter(|(_, pods, _)| selects(pods, labels)).collect::<Vec<_>>();
    assert_eq!(selected[0].0, "runway-deny-all");
    match labels["runway.dev/network"].as_str().unwrap() {
        "none" => assert_eq!(selected.len(), 1),
        kind => {
            assert_eq!(selected.len(), 2, "{labels}");
            assert!(selected[1].0.starts_with(&format!("runway-{kind}")), "{}", selected[1].0);
            if kind == "internal" {
                let cidrs =
                    &policy.tenant_policy(labels["runway.dev/tenant"].as_str().unwrap()).internal_cidrs.value;
                let cidrs: Vec<_> = cidrs.iter().map(ToString::to_string).collect();
                let opened = selected[1].2.get(1).cloned().unwrap_or(json!({"to": []}));
                assert_eq!(opened, ranges(&cidrs.iter().map(String::as_str).collect::<Vec<_>>()));
            }
        }
    }
}

/// Returns whether the gate admits the job, and asserts that an admitted job passes the guardrails of its
/// namespace.
fn admitted_and_passes(submission: &Submission, policy: &Arc<Policy>) -> bool {
    let decision = Gate::new(Arc::clone(policy), HashSeed::default()).preview(submission, Timestamp::EPOCH);
    let Some(admitted) = decision.admitted() else { return false };
    let job = json_of(&render_redacted(admitted, JobId::from_random(1), policy).job);
    let all = all(policy);
    let is_namespace_of_job = |guarded: &&Guardrails| {
        job["metadata"]["namespace"] == *guarded.namespace.metadata.name.as_ref().unwrap()
    };
    let guarded = all.iter().find(is_namespace_of_job).expect("every job's namespace has guardrails");
    assert_passes_guardrails(&job["spec"]["template"]["spec"], guarded);
    assert_network_policies(&job["spec"]["template"]["metadata"]["labels"], policy, guarded);
    true
}

#[test]
fn every_fixture_job_passes_the_guardrails() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/jobs");
    let files =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let sources: Vec<_> = files.map(|file| std::fs::read(file).unwrap()).collect();
    let mut passed = 0;
    for policy in crate::documents::policies() {
        for source in &sources {
            for reading in JobSpec::parse_all(source, SecretLiterals::Refuse) {
                passed += usize::from(admitted_and_passes(&reading.into(), &policy));
            }
        }
    }
    assert!(passed > 12, "{passed}");
}

#[test]
fn jobs_at_their_limits_pass_the_guardrails() {
    for policy in crate::documents::policies() {
        let mut passed = 0;
        for tenant in ["search", "vision", "crawler", "somebody"] {
            for class in policy.classes().map(|class| Some(class.as_str())).chain([None]) {
                let limits = policy.limits(Some(tenant), class).unwrap();
                let gpu_types: Vec<_> = policy.gpu_types().keys().map(Some).chain([None]).collect();
                for (network, gpu_type) in limits
                    .network
                    .value
                    .iter()
                    .flat_map(|network| gpu_types.iter().map(move |kind| (network, kind)))
                {
                    for most in [true, false] {
                        let gpus = if most { limits.gpu.max.value } else { limits.gpu.min.value };
                        if (gpus.units() > 0) != gpu_type.is_some() {
                            continue;
                        }
                        let pick = |min: String, max: String| if most { max } else { min };
                        let document = json!({
                            "name": "edge", "tenant": tenant, "class": class, "network": network,
                            "image": format!("registry.internal/app@sha256:{}", "0".repeat(64)),
                            "timeout": limits.timeout.max.value.to_string(),
                            "gpu_type": gpu_type,
                            "resources": {
                                "cpu": pick(limits.cpu.min.value.to_string(), limits.cpu.max.value.to_string()),
                                "memory": pick(limits.memory.min.value.to_string(), limits.memory.max.value.to_string()),
                                "ephemeral_storage": pick(
                                    limits.ephemeral_storage.min.value.to_string(),
                                    limits.ephemeral_storage.max.value.to_string(),
                                ),
                                "gpu": gpus.units(),
                            },
                        });
                        passed += usize::from(admitted_and_passes(
                            &crate::documents::submission(&document),
                            &policy,
                        ));
                    }
                }
            }
        }
        assert!(passed >= 4, "{passed} under {}", policy.digest());
    }
}

proptest! {
    #[test]
    fn every_admitted_job_passes_the_guardrails(document in crate::documents::nearly_good_document(), policy in crate::documents::policy()) {
        admitted_and_passes(&crate::documents::submission(&document), &policy);
    }
}
