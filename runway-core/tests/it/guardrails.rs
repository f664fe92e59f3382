//! Guardrails: they match the bounds of the policy, and an API server accepts them.

use runway_core::Policy;
use runway_core::guardrails::{Guardrails, GuardrailsError, guardrails};
use runway_core::policy::{Cidr, PriceOverrides};
use serde_json::{Map, Value, json};

const BASE: &str = "version: 1
limits:
  cpu: {min: 10m, max: '4', default: 500m}
  memory: {min: 16Mi, max: 8Gi, default: 512Mi}
  timeout: {max: 1h, default: 10m}
rates: {usd_per_cpu_second: '0', usd_per_gb_second: '0', usd_per_gpu_second: '0'}
";

fn policy(rest: &str) -> Policy {
    Policy::parse(format!("{BASE}{rest}").as_bytes(), PriceOverrides::default())
        .unwrap_or_else(|error| panic!("{rest}: {:#?}", error.violations))
}

fn api_server() -> Vec<Cidr> {
    ["172.18.0.2/32", "fd00:1::2/128"].map(|range| range.parse().unwrap()).to_vec()
}

pub fn all(policy: &Policy) -> Vec<Guardrails> {
    guardrails(policy, &api_server()).unwrap()
}

fn only(rest: &str) -> Guardrails {
    let mut all = all(&policy(rest));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

pub fn json_of(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

pub fn hard_limits(guardrails: &Guardrails) -> Value {
    json_of(&guardrails.resource_quota)["spec"]["hard"].clone()
}

pub fn limit_range(guardrails: &Guardrails) -> Value {
    json_of(&guardrails.limit_range)["spec"]["limits"].clone()
}

/// Returns the name, the pod selector and the egress rules of each NetworkPolicy.
pub fn networks(guardrails: &Guardrails) -> Vec<(String, Value, Value)> {
    let networks = guardrails.network_policies.iter().map(json_of);
    networks
        .map(|network| {
            let name = network["metadata"]["name"].as_str().unwrap().to_owned();
            (name, network["spec"]["podSelector"].clone(), network["spec"]["egress"].clone())
        })
        .collect()
}

fn names(guardrails: &Guardrails) -> Vec<String> {
    networks(guardrails).into_iter().map(|(name, _, _)| name).collect()
}

fn network(guardrails: &Guardrails, name: &str) -> (Value, Value) {
    let found = networks(guardrails).into_iter().find(|(found, _, _)| found == name);
    found.map(|(_, pods, egress)| (pods, egress)).unwrap_or_else(|| panic!("no {name}"))
}

fn dns() -> Value {
    json!({
        "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
        "to": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }],
    })
}

pub fn ranges(cidrs: &[&str]) -> Value {
    json!({"to": cidrs.iter().map(|cidr| json!({"ipBlock": {"cidr": cidr}})).collect::<Vec<_>>()})
}

#[test]
fn quota_is_the_lesser_of_capacity_and_sum_of_quotas() {
    let capacity = "quota: {gpus: 4, concurrent_jobs: 10}
capacity: {gpus: 9, concurrent_jobs: 25}
classes: {big: {cpu: {max: '16'}, memory: {max: 3Gi}, gpu: {max: 2}}}
";
    assert_eq!(
        hard_limits(&only(capacity)),
        json!({
            "pods": "25",
            "requests.cpu": "400", "limits.cpu": "400",
            "requests.memory": "200Gi", "limits.memory": "200Gi",
            "requests.ephemeral-storage": "25Gi", "limits.ephemeral-storage": "25Gi",
            "requests.nvidia.com/gpu": "9",
            "services": "0", "services.loadbalancers": "0", "services.nodeports": "0",
            "persistentvolumeclaims": "0",
        })
    );
    let two = format!(
        "{capacity}unknown_tenants: deny\ntenants: {{a: {{}}, b: {{quota: {{concurrent_jobs: 3}}}}}}\n"
    );
    let hard_of_two = hard_limits(&only(&two));
    assert_eq!((&hard_of_two["pods"], &hard_of_two["requests.nvidia.com/gpu"]), (&json!("13"), &json!("8")));
    let three = two.replace("a: {}", "a: {}, c: {}");
    assert_eq!(hard_limits(&only(&three))["requests.nvidia.com/gpu"], "9");
    let unlisted = two.replace("deny", "allow");
    assert_eq!(hard_limits(&only(&unlisted)), hard_limits(&only(capacity)));
}

#[test]
fn gpu_quota_is_zero_if_no_job_can_have_gpus() {
    let gpus = |rest: &str| {
        hard_limits(&only(&format!("capacity: {{gpus: 9}}\n{rest}")))["requests.nvidia.com/gpu"].clone()
    };
    assert_eq!(gpus(""), "0");
    assert_eq!(gpus("classes: {gpu: {gpu: {max: 1}}}\n"), "9");
    let one_of_two = "classes: {gpu: {gpu: {max: 1}}}\nunknown_tenants: deny\n\
                      tenants: {a: {gpu: {max: 0}, quota: {gpus: 5}}, b: {quota: {gpus: 3}}}\n";
    assert_eq!(gpus(one_of_two), "3");
}

#[test]
fn each_gpu_resource_gets_the_whole_quota() {
    let types = |types: &str| {
        let rest =
            format!("classes: {{gpu: {{gpu: {{max: 4}}}}}}\ncapacity: {{gpus: 9}}\ngpu_types: {{{types}}}\n");
        let hard = hard_limits(&only(&rest));
        let gpus = hard.as_object().unwrap().iter().filter(|(name, _)| name.contains('/'));
        gpus.map(|(name, amount)| (name.clone(), amount.clone())).collect::<Map<_, _>>()
    };
    let amd = "mi: {resource: amd.com/gpu, usd_per_gpu_second: '0'}";
    let h100 = "h: {resource: nvidia.com/gpu, usd_per_gpu_second: '0'}";
    let a100 = "a: {usd_per_gpu_second: '0'}";
    let expected = |object: Value| object.as_object().unwrap().clone();
    assert_eq!(types(""), expected(json!({"requests.nvidia.com/gpu": "9"})));
    let both = json!({"requests.nvidia.com/gpu": "9", "requests.amd.com/gpu": "9"});
    assert_eq!(types(&format!("{amd}, {h100}, {a100}")), expected(both));
    let only_amd = json!({"requests.nvidia.com/gpu": "0", "requests.amd.com/gpu": "9"});
    assert_eq!(types(amd), expected(only_amd));
}

#[test]
fn limit_range_spans_all_jobs() {
    let guarded = only(
        "default_class: small
classes:
  small: {cpu: {max: '1', default: 250m}}
  big: {cpu: {min: 5m, max: '16'}, memory: {min: 1Gi, max: 64Gi}, ephemeral_storage: {max: 50Gi}}
tenants: {own: {classes: {big: {cpu: {max: '20'}}}}}
",
    );
    let max = json!({"cpu": "20", "memory": "64Gi", "ephemeral-storage": "50Gi"});
    let default = json!({"cpu": "250m", "memory": "512Mi", "ephemeral-storage": "1Gi"});
    assert_eq!(
        limit_range(&guarded),
        json!([
            {
                "type": "Container",
                "min": {"cpu": "5m", "memory": "16Mi", "ephemeral-storage": "1"},
                "max": max,
                "default": default,
                "defaultRequest": default,
                "maxLimitRequestRatio": {"cpu": "1", "memory": "1", "ephemeral-storage": "1"},
            },
            {"type": "Pod", "max": max},
        ])
    );
}

#[test]
fn minimum_is_the_default_if_policy_has_none() {
    let source = BASE.replace(", default: 500m", "").replace(", default: 512Mi", "");
    let policy = Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap();
    let default = limit_range(&all(&policy)[0])[0]["default"].clone();
    assert_eq!(default, json!({"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "1Gi"}));
}

#[test]
fn class_that_admits_no_job_is_ignored() {
    let rest =
        "classes: {gpu: {cpu: {max: '64'}, gpu: {min: 1, max: 8}, network: [open]}}\nquota: {gpus: 0}\n";
    let guarded = guardrails(&policy(rest), &[]).unwrap().remove(0);
    assert_eq!(limit_range(&guarded)[0]["max"]["cpu"], "4");
    let nothing = only(&format!("default_class: gpu\n{rest}"));
    assert_eq!((hard_limits(&nothing)["pods"].clone(), nothing.limit_range.is_none()), (json!("0"), true));
    assert_eq!(names(&nothing), ["runway-deny-all"]);
}

#[test]
fn sums_saturate_at_i64_max() {
    let source = BASE.replace("max: '4'", "max: '9223372036854775'").replace("max: 8Gi", "max: 7Ei");
    let most = u32::MAX;
    let source = format!("{source}capacity: {{concurrent_jobs: {most}, gpus: 9223372036854775807}}\n");
    let source = format!(
        "{source}classes: {{gpu: {{gpu: {{max: 9223372036854775807}}}}}}\nquota: {{gpus: 9223372036854775807}}\n"
    );
    let policy = Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap();
    let hard = hard_limits(&all(&policy)[0]);
    assert_eq!(hard["pods"], most.to_string());
    assert_eq!(hard["requests.cpu"], "9223372036854775807m");
    assert_eq!(hard["limits.memory"], "9223372036854775807");
    assert_eq!(hard["requests.nvidia.com/gpu"], "9223372036854775807");
}

#[test]
fn each_tenant_gets_its_own_namespace_and_bounds() {
    let policy = policy(
        "capacity: {gpus: 9, concurrent_jobs: 25}
quota: {gpus: 2, concurrent_jobs: 10}
classes: {gpu: {gpu: {max: 8}}}
unknown_tenants: deny
tenants: {a: {cpu: {max: '2'}}, b: {quota: {gpus: 99, concurrent_jobs: 99}}}
run: {namespace: 'jobs-{tenant}'}
",
    );
    let [a, b] = &all(&policy)[..] else { panic!() };
    let shown = |guarded: &Guardrails| {
        let (hard, range) = (hard_limits(guarded), limit_range(guarded));
        [&hard["pods"], &hard["requests.nvidia.com/gpu"], &hard["limits.cpu"], &range[0]["max"]["cpu"]]
            .map(|amount| amount.as_str().unwrap().to_owned())
    };
    assert_eq!(shown(a), ["10", "2", "20", "2"]);
    assert_eq!(shown(b), ["25", "9", "100", "4"]);
    for (guarded, tenant) in [(a, "a"), (b, "b")] {
        let namespace = json_of(&guarded.namespace);
        assert_eq!(namespace["metadata"]["name"], format!("jobs-{tenant}"));
        assert_eq!(namespace["metadata"]["labels"]["runway.dev/tenant"], tenant);
    }
}

#[test]
fn namespaces_enforce_the_restricted_profile() {
    let guarded = only("run: {namespace: jobs}\n");
    let namespace = json_of(&guarded.namespace);
    assert_eq!(
        namespace["metadata"]["labels"],
        json!({
            "app.kubernetes.io/managed-by": "runway",
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "latest",
            "pod-security.kubernetes.io/audit": "restricted",
            "pod-security.kubernetes.io/audit-version": "latest",
            "pod-security.kubernetes.io/warn": "restricted",
            "pod-security.kubernetes.io/warn-version": "latest",
        })
    );
    assert_eq!(namespace["metadata"].get("namespace"), None);
}

#[test]
fn network_is_denied_unless_a_job_may_use_it() {
    let guarded = only("");
    assert_eq!(names(&guarded), ["runway-deny-all"]);
    let deny = json_of(&guarded.network_policies[0]);
    assert_eq!(deny["spec"], json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    // The policy does not allow the network `open`, so the addresses of the API server are not required.
    assert!(guardrails(&policy("classes: {a: {network: [none, internal]}}\n"), &[]).is_ok());
}

#[test]
fn tenant_with_own_ranges_does_not_get_shared_ranges() {
    let rest = "networks: {internal: {cidrs: [10.0.0.0/8, 'fd12::/16']}}
classes: {batch: {network: [none, internal]}}
tenants:
  closed: {network: [none]}
  empty: {networks: {internal: {cidrs: []}}}
  own: {networks: {internal: {cidrs: [10.7.0.0/16]}}}
  plain: {}
";
    let guarded = only(rest);
    assert_eq!(
        names(&guarded),
        ["runway-deny-all", "runway-internal", "runway-internal-empty", "runway-internal-own"]
    );
    let selector = |operator: &str, tenants: &[&str]| {
        json!({
            "matchLabels": {"runway.dev/network": "internal"},
            "matchExpressions": [{"key": "runway.dev/tenant", "operator": operator, "values": tenants}],
        })
    };
    let shared = ranges(&["10.0.0.0/8", "fd12::/16"]);
    let general = network(&guarded, "runway-internal");
    assert_eq!(general, (selector("NotIn", &["closed", "empty", "own"]), json!([dns(), shared])));
    let own = network(&guarded, "runway-internal-own");
    assert_eq!(own, (selector("In", &["own"]), json!([dns(), ranges(&["10.7.0.0/16"])])));
    // A rule without destinations would allow all destinations.
    let empty = network(&guarded, "runway-internal-empty");
    assert_eq!(empty, (selector("In", &["empty"]), json!([dns()])));
    // If the policy denies tenants that are not listed, the selector names the listed ones.
    let denied = only(&format!("{rest}unknown_tenants: deny\n"));
    assert_eq!(network(&denied, "runway-internal").0, selector("In", &["plain"]));
    // If all tenants have the same networks, the selector names no tenant.
    let equal = only("classes: {batch: {network: [internal]}}\ntenants: {a: {}}\n");
    assert_eq!(
        network(&equal, "runway-internal"),
        (json!({"matchLabels": {"runway.dev/network": "internal"}}), json!([dns()]))
    );
}

#[test]
fn open_network_excludes_metadata_and_api_server() {
    let rest = "classes: {batch: {network: [none, open]}}\ntenants: {closed: {network: [none]}}\n";
    let error = guardrails(&policy(rest), &[]).unwrap_err();
    assert_eq!(error, GuardrailsError::ApiServerUnknown { allowed_by: "classes.batch.network".into() });
    let everything: Cidr = "::/0".parse().unwrap();
    let error = guardrails(&policy(rest), &[everything]).unwrap_err();
    assert_eq!(error, GuardrailsError::ApiServerEverywhere { range: everything });

    let (pods, egress) = network(&only(rest), "runway-open");
    assert_eq!(pods["matchLabels"], json!({"runway.dev/network": "open"}));
    assert_eq!(
        pods["matchExpressions"],
        json!([{"key": "runway.dev/tenant", "operator": "NotIn", "values": ["closed"]}])
    );
    let v4 = ["169.254.0.0/16", "168.63.129.16/32", "100.100.100.200/32", "172.18.0.2/32"];
    let v6 = [
        "fe80::/10",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
        // The metadata service, 169.254.169.254, is 64:ff9b::a9fe:a9fe through NAT64, and in
        // 2002:a9fe:a9fe::/48 through 6to4.
        "64:ff9b::/96",
        "2002::/16",
        "fd00:1::2/128",
    ];
    let blocks = json!({"to": [
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": v4}},
        {"ipBlock": {"cidr": "::/0", "except": v6}},
    ]});
    assert_eq!(egress, json!([dns(), blocks]));
    for range in v4.iter().chain(&v6) {
        let range: Cidr = range.parse().unwrap();
        assert!(!range.covers_all_addresses(), "an exception does not contain all addresses");
    }
}

#[test]
fn admission_policy_selects_runway_jobs_of_its_namespace() {
    let rest = "unknown_tenants: deny\ntenants: {a: {}, b: {}}\nrun: {namespace: 'jobs-{tenant}'}\n";
    let guarded = all(&policy(rest));
    assert_eq!(guarded.len(), 2);
    for (guarded, namespace) in guarded.iter().zip(["jobs-a", "jobs-b"]) {
        let name = format!("{namespace}.runway.dev");
        let admission = json_of(&guarded.admission_policy);
        assert_eq!(admission["metadata"]["name"], name);
        assert_eq!(
            admission["spec"]["matchConstraints"],
            json!({
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "objectSelector": {"matchLabels": {"app.kubernetes.io/managed-by": "runway"}},
                "resourceRules": [{
                    "apiGroups": ["batch"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["jobs"],
                }],
            })
        );
        // If the API server cannot evaluate a condition, it must reject the change.
        assert_eq!(admission["spec"]["failurePolicy"], "Fail");
        let binding = json_of(&guarded.admission_policy_binding);
        assert_eq!(binding["metadata"]["name"], name);
        assert_eq!(binding["spec"], json!({"policyName": name, "validationActions": ["Deny"]}));
    }
}

#[test]
fn every_object_has_owner_labels_and_policy_digest() {
    for policy in crate::documents::policies() {
        for guarded in all(&policy) {
            let objects = [json_of(&guarded.namespace), json_of(&guarded.resource_quota)].into_iter();
            let objects = objects.chain(guarded.limit_range.iter().map(json_of));
            let objects = objects
                .chain([json_of(&guarded.admission_policy), json_of(&guarded.admission_policy_binding)]);
            for object in objects.chain(guarded.network_policies.iter().map(json_of)) {
                let metadata = &object["metadata"];
                assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "runway");
                let digest = &metadata["annotations"]["runway.dev/policy-digest"];
                assert_eq!(*digest, policy.digest().to_string());
                let name = metadata["name"].as_str().unwrap();
                assert!(
                    name.len() <= 253
                        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')),
                    "{name}"
                );
                let kind = object["kind"].as_str().unwrap();
                if kind == "Namespace" || kind.starts_with("ValidatingAdmissionPolicy") {
                    assert_eq!(metadata.get("namespace"), None);
                } else {
                    assert_eq!(metadata["namespace"], guarded.namespace.metadata.name.clone().unwrap());
                }
            }
        }
    }
}
