//! The rendered objects: names, deadlines, limits, and the `restricted` profile of the Pod Security
//! Standards.

use runway_core::policy::PriceOverrides;
use runway_core::render::{Manifest, REDACTED, render, render_redacted};
use runway_core::spec::Secret;
use runway_core::units::Timestamp;
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy};
use runway_testing::pods::assert_restricted;
use serde_json::{Value, json};
use std::sync::Arc;

fn default_policy() -> Arc<Policy> {
    crate::documents::policies().swap_remove(0)
}

fn id() -> JobId {
    "4d5c9fa91db4".parse().unwrap()
}

fn admitted(policy: &Arc<Policy>, spec: JobSpec) -> runway_core::AdmittedJob {
    let spec = JobSpec {
        name: spec.name.or(Some("train".into())),
        tenant: Some("vision".into()),
        image: Some("busybox".into()),
        ..spec
    };
    let decision = Gate::new(Arc::clone(policy), HashSeed::default()).preview(&spec.into(), Timestamp::EPOCH);
    decision.admitted().unwrap_or_else(|| panic!("{:#?}", decision.violations())).clone()
}

fn job(policy: &Arc<Policy>, spec: JobSpec) -> Value {
    let Manifest { job, .. } = render(&admitted(policy, spec), id(), policy).unwrap();
    serde_json::to_value(job).unwrap()
}

fn gpu_spec() -> JobSpec {
    let mut spec = JobSpec { class: Some("gpu".into()), gpu_type: Some("a100".into()), ..JobSpec::default() };
    spec.resources.gpu = Some(2.into());
    spec.resources.shm = Some("64Mi".into());
    spec
}

#[test]
fn pods_pass_the_restricted_profile() {
    for policy in [default_policy()] {
        for spec in [JobSpec::default(), gpu_spec()] {
            let job = job(&policy, spec);
            let pod = &job["spec"]["template"]["spec"];
            assert_restricted(pod);
            assert_eq!(pod["containers"].as_array().unwrap().len(), 1);
            assert_eq!(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["enableServiceLinks"], false);
            assert_eq!(pod["restartPolicy"], "Never");
            for volume in pod["volumes"].as_array().unwrap() {
                assert!(volume["emptyDir"]["sizeLimit"].is_string(), "every volume is bounded");
            }
            let resources = &pod["containers"][0]["resources"];
            assert_eq!(resources["limits"], resources["requests"]);
        }
    }
}

#[test]
fn deadline_is_set_on_job_and_not_on_pod() {
    let spec = JobSpec { timeout: Some("5m".into()), retries: Some(2.into()), ..JobSpec::default() };
    let job = job(&default_policy(), spec);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 300);
    assert_eq!(job["spec"]["backoffLimit"], 2);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 300);
    assert!(job["spec"]["template"]["spec"].get("activeDeadlineSeconds").is_none());
    let rule = &job["spec"]["podFailurePolicy"]["rules"][0];
    assert_eq!(rule["action"], "Ignore");
    assert_eq!(rule["onPodConditions"], json!([{"type": "DisruptionTarget", "status": "True"}]));
}

#[test]
fn gpus_are_visible_only_to_gpu_jobs() {
    let policy = default_policy();
    let with = job(&policy, gpu_spec());
    let pod = &with["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"], "2");
    assert_eq!(pod["nodeSelector"], json!({"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"}));
    assert_eq!(pod["tolerations"][0]["key"], "nvidia.com/gpu");
    let variable = |job: &Value, name: &str| {
        let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
        env.iter().find(|variable| variable["name"] == name).map(|variable| variable["value"].clone())
    };
    assert_eq!(variable(&with, "NVIDIA_VISIBLE_DEVICES"), None);
    let without = job(&policy, JobSpec::default());
    assert_eq!(variable(&without, "NVIDIA_VISIBLE_DEVICES"), Some("void".into()));
    assert!(without["spec"]["template"]["spec"].get("tolerations").is_none());
}

#[test]
fn dollar_signs_are_escaped_for_the_kubelet() {
    let spec = JobSpec {
        command: vec!["$(HOME)".into()],
        args: vec!["$5".into()],
        env: [("PRICE".to_owned(), "$$(X)".to_owned())].into(),
        ..JobSpec::default()
    };
    let job = job(&default_policy(), spec);
    let container = &job["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], json!(["$$(HOME)"]));
    assert_eq!(container["args"], json!(["$$5"]));
    let env = container["env"].as_array().unwrap();
    assert!(env.contains(&json!({"name": "PRICE", "value": "$$$$(X)"})));
    assert!(env.contains(&json!({"name": "HOME", "value": "/tmp"})));
}

#[test]
fn workdir_is_rendered_as_written() {
    let container = |workdir: Option<&str>| {
        let spec = JobSpec { workdir: workdir.map(str::to_owned), ..JobSpec::default() };
        let job = job(&default_policy(), spec);
        job["spec"]["template"]["spec"]["containers"][0].clone()
    };
    // The kubelet does not expand `$(X)` in `workingDir`. So Runway does not escape dollar signs in this
    // field.
    assert_eq!(container(Some("/data/$(X)"))["workingDir"], "/data/$(X)");
    assert!(container(None).get("workingDir").is_none());
}

#[test]
fn job_with_secrets_is_suspended_and_references_them() {
    let policy = default_policy();
    let secrets =
        |secret: Secret| JobSpec { secrets: [("TOKEN".to_owned(), secret)].into(), ..JobSpec::default() };
    let real = admitted(&policy, secrets(Secret::Value("hunter2".into())));
    let manifest = render(&real, id(), &policy).unwrap();
    assert_eq!(manifest.job.spec.as_ref().unwrap().suspend, Some(true));
    assert!(!format!("{manifest:?}").contains("104, 117"), "{manifest:?}");
    let secret = serde_json::to_value(manifest.secret.unwrap()).unwrap();
    assert_eq!(secret["data"]["TOKEN"], "aHVudGVyMg==");
    assert_eq!(secret["metadata"]["name"], "train-4d5c9fa91db4");
    let job = serde_json::to_value(manifest.job).unwrap();
    let env = job["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let reference = json!({"name": "train-4d5c9fa91db4", "key": "TOKEN"});
    assert!(env.contains(&json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": reference}})));
    assert!(!job.to_string().contains("hunter2"));

    let unresolved = admitted(&policy, secrets(Secret::FromEnv("TOKEN".into())));
    assert_eq!(render(&unresolved, id(), &policy).unwrap_err().from_env, "TOKEN");

    for job in [&real, &unresolved] {
        let shown = serde_json::to_value(render_redacted(job, id(), &policy).secret).unwrap();
        assert_eq!(shown["stringData"]["TOKEN"], REDACTED);
        assert!(!shown.to_string().contains("aHVudGVyMg"));
    }
}

#[test]
fn longest_name_is_not_truncated() {
    let job = job(&default_policy(), JobSpec { name: Some("n".repeat(50)), ..JobSpec::default() });
    let name = job["metadata"]["name"].as_str().unwrap();
    assert_eq!(name, format!("{}-4d5c9fa91db4", "n".repeat(50)));
    assert_eq!(name.len(), 63);
}

#[test]
fn labels_and_annotations_describe_the_job() {
    let policy = default_policy();
    let job = job(&policy, JobSpec::default());
    let labels = &job["metadata"]["labels"];
    assert_eq!(labels["app.kubernetes.io/managed-by"], "runway");
    assert_eq!(labels["runway.dev/tenant"], "vision");
    assert_eq!(labels["runway.dev/class"], "cpu_long");
    assert_eq!(labels["runway.dev/id"], "4d5c9fa91db4");
    assert_eq!(&job["spec"]["template"]["metadata"]["labels"], labels);
    let annotations = &job["metadata"]["annotations"];
    assert_eq!(annotations["runway.dev/policy-digest"], policy.digest().to_string());
    let quote: Value = serde_json::from_str(annotations["runway.dev/quote"].as_str().unwrap()).unwrap();
    assert_eq!(quote["ceiling_usd"], "0.003960");
    let (fresh, with_digest) = (admitted(&policy, JobSpec::default()), admitted(&policy, JobSpec::default()));
    assert_eq!(with_digest.spec_digest(), fresh.spec().digest());
    assert_eq!(annotations["runway.dev/spec-digest"], with_digest.spec_digest().to_string());
    assert_eq!(fresh, with_digest, "computing the digest does not change the job");
}

#[test]
fn tenant_namespace_and_pull_secrets_are_rendered() {
    let source =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/policies/strict.yaml")).unwrap();
    let source = String::from_utf8(source).unwrap().replace("require_digest: true", "require_digest: false");
    let source = source.replace("registry.internal/**", "**");
    let policy = Arc::new(Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap());
    let job = job(&policy, JobSpec { timeout: Some("5m".into()), ..JobSpec::default() });
    assert_eq!(job["metadata"]["namespace"], "runway-vision");
    let pull_secrets = &job["spec"]["template"]["spec"]["imagePullSecrets"];
    assert_eq!(pull_secrets, &json!([{"name": "registry-credentials"}]));
}
