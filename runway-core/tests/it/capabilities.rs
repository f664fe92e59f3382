//! The gate refuses a job that needs a missing feature of the backend, and reports all other violations as
//! well.

use crate::documents::{nearly_good_document, policy, submission};
use crate::replay::replayed;
use proptest::prelude::*;
use runway_core::capability::{BackendKind, Capabilities, Capability};
use runway_core::policy::PriceOverrides;
use runway_core::spec::SecretLiterals;
use runway_core::units::Timestamp;
use runway_core::{Code, Decision, Gate, HashSeed, JobSpec, Policy, Submission, Violation};
use std::sync::Arc;

fn decide(capabilities: Capabilities, job: &str) -> (Arc<Policy>, Decision) {
    let source =
        Policy::BUILTIN_SOURCE.replace("network: [none, internal]", "network: [none, internal, open]");
    let policy = Arc::new(Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap());
    let gate = Gate::new(Arc::clone(&policy), HashSeed::default()).with_capabilities(capabilities);
    let [reading] = &JobSpec::parse_all(job.as_bytes(), SecretLiterals::Accept)[..] else { panic!("{job}") };
    let decision = gate.preview(&Submission::from(reading.clone()), Timestamp::from_seconds(1));
    (policy, decision)
}

fn unsupported(decision: &Decision) -> Vec<Capability> {
    let violations = decision.violations().iter();
    violations.filter(|v| v.code == Code::UnsupportedByBackend).map(|v| v.capability.unwrap()).collect()
}

#[test]
fn missing_features_are_reported_with_all_other_violations() {
    let job = "{name: a, tenant: t, image: busybox, network: internal, resources: {cpu: '4000'}}";
    let (policy, decision) = decide(BackendKind::Local.capabilities(), job);
    let found: Vec<_> = decision.violations().iter().map(|v| (v.code, v.path.as_str())).collect();
    assert_eq!(
        found,
        [
            (Code::UnsupportedByBackend, "/command"),
            (Code::CpuAboveMax, "/resources/cpu"),
            (Code::UnsupportedByBackend, "/network")
        ]
    );
    let [.., network] = decision.violations() else { panic!() };
    assert_eq!(network.capability, Some(Capability::NetworkInternal));
    assert_eq!((&network.requested, &network.fix), (&"internal".into(), &"none".into()));
    assert_eq!(
        network.message,
        "the backend `local` does not support `network.internal`: name another network"
    );
    let (again, line) = replayed(&policy, &decision);
    assert_eq!(again, line);
    assert!(line.ends_with(
        r#""capabilities":{"backend":"local","lacks":["image.entrypoint","network.internal"]}}}"#
    ));
}

#[test]
fn every_feature_is_checked() {
    let all = "{name: a, tenant: t, image: busybox, class: gpu, workdir: /w, secrets: {A: x}, gpu_type: a100, retries: 1,
        resources: {gpu: 1, shm: 1Mi, ephemeral_storage: 1Gi}, network: NETWORK}";
    let networks = ["none", "internal", "open"];
    let jobs = networks.map(|network| all.replace("NETWORK", network));
    for capability in Capability::ALL {
        let others: Vec<_> = Capability::ALL.iter().copied().filter(|other| other != capability).collect();
        let found: Vec<_> = jobs
            .iter()
            .flat_map(|job| unsupported(&decide(Capabilities::new("x", &others), job).1))
            .collect();
        assert!(
            !found.is_empty() && found.iter().all(|found| found == capability),
            "{capability}: {found:?}"
        );
    }
    let plain = "{name: a, tenant: t, image: busybox, command: [x], network: none}";
    let (_, decision) = decide(Capabilities::new("x", &[Capability::NetworkNone]), plain);
    assert!(decision.admitted().is_some(), "{:?}", decision.violations());
}

#[test]
fn gate_without_capabilities_checks_no_features() {
    let policy = Arc::new(Policy::builtin());
    let gate = Gate::new(policy, HashSeed::default());
    let spec = JobSpec { network: Some("internal".into()), ..JobSpec::default() };
    let decision = gate.preview(&Submission::from(spec), Timestamp::EPOCH);
    assert_eq!(unsupported(&decision), []);
    assert!(!serde_json::to_string(&decision).unwrap().contains("capabilities"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The fix for `network` never names a network that the backend lacks.
    #[test]
    fn fixes_name_supported_networks_only(
        policy in policy(),
        document in nearly_good_document(),
        supported in prop::sample::subsequence(Capability::ALL.to_vec(), 0..Capability::ALL.len()),
    ) {
        let capabilities = Capabilities::new("x", &supported);
        let gate = Gate::new(Arc::clone(&policy), HashSeed::default()).with_capabilities(capabilities.clone());
        let decision = gate.preview(&submission(&document), Timestamp::from_seconds(1));
        let of_network = |violation: &&Violation| violation.path == "/network";
        for violation in decision.violations().iter().filter(of_network) {
            let network = match violation.fix.as_str() {
                Some("none") => Capability::NetworkNone,
                Some("internal") => Capability::NetworkInternal,
                Some("open") => Capability::NetworkOpen,
                _ => continue,
            };
            prop_assert!(capabilities.supports(network), "{violation:?}");
        }
        let (again, line) = replayed(&policy, &decision);
        prop_assert_eq!(again, line);
    }
}
