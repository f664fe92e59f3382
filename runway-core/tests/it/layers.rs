//! The layers of a policy: classes replace the base bounds, tenants narrow the bounds, and a tenant's own
//! class replaces them. Each bound records the policy path that set it.

use runway_core::policy::{Limits, PriceOverrides};
use runway_core::{Code, Policy};
use std::fmt::Display;

const BASE: &str = "version: 1
limits:
  cpu: {min: 10m, max: '4', default: 500m}
  memory: {min: 16Mi, max: 8Gi, default: 512Mi}
  timeout: {min: 1s, max: 1h, default: 10m}
  network: [none, internal]
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
";

fn policy(rest: &str) -> Policy {
    Policy::parse(format!("{BASE}{rest}").as_bytes(), PriceOverrides::default())
        .unwrap_or_else(|error| panic!("{rest}: {:#?}", error.violations))
}

fn violations(source: &str) -> Vec<(Code, String)> {
    let error = Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap_err();
    error.violations.into_iter().map(|violation| (violation.code, violation.path)).collect()
}

fn contradictions(rest: &str) -> Vec<String> {
    let faults = violations(&format!("{BASE}{rest}"));
    assert!(faults.iter().all(|(code, _)| *code == Code::PolicyContradiction), "{faults:?}");
    faults.into_iter().map(|(_, path)| path).collect()
}

fn shown<T: Display>(bound: &runway_core::policy::WithSource<T>) -> (String, &str) {
    (bound.value.to_string(), &bound.source)
}

fn limits<'a>(policy: &'a Policy, tenant: &str, class: Option<&str>) -> &'a Limits {
    policy.limits(Some(tenant), class).unwrap()
}

#[test]
fn class_replaces_base_field_by_field() {
    let policy = policy("classes: {big: {cpu: {max: '16'}}}\n");
    let big = limits(&policy, "t", Some("big"));
    assert_eq!(shown(&big.cpu.min), ("10m".to_owned(), "limits.cpu.min"));
    assert_eq!(shown(&big.cpu.max), ("16".to_owned(), "classes.big.cpu.max"));
    assert_eq!(shown(&limits(&policy, "t", None).cpu.max), ("4".to_owned(), "limits.cpu.max"));
    assert!(policy.limits(Some("t"), Some("bigger")).is_none());
}

#[test]
fn tenant_bounds_narrow_and_tenant_classes_replace() {
    let policy = policy(
        "classes: {big: {cpu: {max: '16'}}, small: {cpu: {max: '1'}}}
tenants:
  narrow: {cpu: {min: 5m, max: '8'}}
  wide: {classes: {big: {cpu: {max: '64'}}}}
  both: {cpu: {max: '2'}, classes: {big: {cpu: {max: '3'}}}}
",
    );
    let max = |tenant, class| shown(&limits(&policy, tenant, Some(class)).cpu.max);
    assert_eq!(max("narrow", "big"), ("8".to_owned(), "tenants.narrow.cpu.max"));
    assert_eq!(max("narrow", "small"), ("1".to_owned(), "classes.small.cpu.max"));
    let min = &limits(&policy, "narrow", Some("big")).cpu.min;
    assert_eq!(shown(min), ("10m".to_owned(), "limits.cpu.min"));
    assert_eq!(max("wide", "big"), ("64".to_owned(), "tenants.wide.classes.big.cpu.max"));
    assert_eq!(max("wide", "small"), ("1".to_owned(), "classes.small.cpu.max"));
    assert_eq!(max("both", "big"), ("3".to_owned(), "tenants.both.classes.big.cpu.max"));
    assert_eq!(max("both", "small"), ("1".to_owned(), "classes.small.cpu.max"));
    assert_eq!(max("nobody", "big"), ("16".to_owned(), "classes.big.cpu.max"));
}

#[test]
fn inherited_default_is_clamped_to_bounds() {
    let policy = policy(
        "classes: {short: {timeout: {max: 60s}}, long: {timeout: {min: 30m}}}
",
    );
    let default = |tenant, class| shown(limits(&policy, tenant, class).timeout.default.as_ref().unwrap());
    assert_eq!(default("t", None), ("10m".to_owned(), "limits.timeout.default"));
    assert_eq!(default("t", Some("short")), ("1m".to_owned(), "classes.short.timeout.max"));
    assert_eq!(default("t", Some("long")), ("30m".to_owned(), "classes.long.timeout.min"));
    let policy =
        self::policy("classes: {short: {timeout: {max: 60s}}}\ntenants: {hasty: {timeout: {max: 20s}}}\n");
    let default = |tenant, class| shown(limits(&policy, tenant, class).timeout.default.as_ref().unwrap());
    assert_eq!(default("hasty", Some("short")), ("20s".to_owned(), "tenants.hasty.timeout.max"));
}

#[test]
fn contradictory_policies_are_rejected() {
    let short = "classes: {short: {timeout: {max: 60s, default: 61s}}}\n";
    assert_eq!(contradictions(short), ["/classes/short/timeout/default"]);
    assert!(
        contradictions("classes: {a: {cpu: {min: '5'}}}\n")
            .iter()
            .any(|path| path.starts_with("/classes/a/cpu"))
    );
    let tenant =
        "classes: {gpu: {gpu: {min: 1, max: 8}}}\ndefault_class: gpu\ntenants: {t: {gpu: {max: 0}}}\n";
    assert_eq!(contradictions(tenant), ["/tenants/t/gpu/max"]);
    assert_eq!(contradictions("tenants: {t: {network: [open]}}\n"), ["/tenants/t/network"]);
    assert_eq!(contradictions("run: {namespace: 'runway-{tenant}'}\n"), ["/run/namespace"]);
    let listed = "unknown_tenants: deny\nrun: {namespace: 'runway-{tenant}'}\n";
    assert_eq!(contradictions(listed), ["/run/namespace"]);
    let policy = policy(&format!("{listed}tenants: {{search: {{}}}}\n"));
    assert_eq!(policy.run_settings().namespace_of(&"search".parse().unwrap()), "runway-search");
    let long = format!("{listed}tenants: {{{}: {{}}}}\n", "a".repeat(57));
    assert_eq!(contradictions(&long), ["/run/namespace"]);
    let price = BASE.replace("'0.00001'", "'18000000'").replace("max: 1h", "max: 8760h");
    assert_eq!(violations(&price), [(Code::PolicyContradiction, "/limits/timeout/max".to_owned())]);
}

#[test]
fn tenant_networks_keep_the_order_of_the_class() {
    let policy = policy(
        "classes: {net: {network: [open, internal, none]}}\ntenants: {t: {network: [none, internal]}}\n",
    );
    let names = |tenant| {
        let networks = &limits(&policy, tenant, Some("net")).network;
        (
            networks.value.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            networks.source.to_string(),
        )
    };
    assert_eq!(names("other"), ("open internal none".to_owned(), "classes.net.network".to_owned()));
    assert_eq!(names("t"), ("internal none".to_owned(), "tenants.t.network".to_owned()));
}

#[test]
fn max_gpus_is_lowest_of_bound_quota_and_capacity() {
    let gpu = "classes: {gpu: {gpu: {min: 1, max: 8}}}\n";
    for (rest, max, line) in [
        ("quota: {gpus: 100}\n", "8", "classes.gpu.gpu.max"),
        ("quota: {gpus: 2}\n", "2", "quota.gpus"),
        ("quota: {gpus: 100}\ncapacity: {gpus: 3}\n", "3", "capacity.gpus"),
        ("quota: {gpus: 2}\ntenants: {t: {quota: {gpus: 5}}}\n", "5", "tenants.t.quota.gpus"),
        // A quota without GPUs does not contradict a class with GPUs. The tenant cannot use this class.
        ("quota: {gpus: 0}\n", "0", "quota.gpus"),
    ] {
        let policy = policy(&format!("{gpu}{rest}"));
        assert_eq!(shown(&limits(&policy, "t", Some("gpu")).gpu.max), (max.to_owned(), line), "{rest}");
    }
}

#[test]
fn all_violations_are_reported_together() {
    let faults =
        violations("version: 2\nlimits: {cpu: {max: many}, disk: {}}\nrun: {run_as_user: 0}\nrates: []\n");
    let paths: Vec<_> = faults.iter().map(|(_, path)| path.as_str()).collect();
    for path in [
        "/version",
        "/limits/cpu/max",
        "/limits/disk",
        "/limits/memory/max",
        "/limits/timeout/max",
        "/run/run_as_user",
        "/rates",
    ] {
        assert!(paths.contains(&path), "{path} is not among {paths:?}");
    }
}

#[test]
fn fields_without_a_value_are_rejected() {
    for (rest, path) in [
        ("images: {allow: }\n", "/images/allow"),
        ("images:\n  allow:\n    # - registry.internal/**\n", "/images/allow"),
        ("images: {require_digest: }\n", "/images/require_digest"),
        ("unknown_tenants:\n", "/unknown_tenants"),
        ("quota: {gpus: }\n", "/quota/gpus"),
        ("gpu_types: {a100: }\n", "/gpu_types/a100/usd_per_gpu_second"),
    ] {
        let paths: Vec<_> = violations(&format!("{BASE}{rest}")).into_iter().map(|(_, path)| path).collect();
        assert_eq!(paths, [path], "{rest}");
    }
    // An empty class or tenant is valid. It inherits everything from the base.
    policy("classes: {plain: }\ntenants: {search: }\n");
}

#[test]
fn reserved_kubernetes_names_are_rejected() {
    for (rest, path) in [
        ("run: {namespace: kube-system}\n", "/run/namespace"),
        ("run: {namespace: default}\n", "/run/namespace"),
        ("run: {image_pull_secrets: [Creds]}\n", "/run/image_pull_secrets/0"),
        ("gpu_types: {a: {resource: kubernetes.io/gpu, usd_per_gpu_second: '1'}}\n", "/gpu_types/a/resource"),
        (
            "gpu_types: {a: {resource: requests.nvidia.com/gpu, usd_per_gpu_second: '1'}}\n",
            "/gpu_types/a/resource",
        ),
    ] {
        assert_eq!(violations(&format!("{BASE}{rest}")), [(Code::InvalidName, path.to_owned())], "{rest}");
    }
    policy("run: {image_pull_secrets: [my.registry.creds]}\n");
    let a_year = BASE.replace("max: 1h", "max: 8760h");
    assert!(Policy::parse(a_year.as_bytes(), PriceOverrides::default()).is_ok());
    let more = BASE.replace("max: 1h", "max: 8760h1s");
    assert_eq!(violations(&more), [(Code::InvalidQuantity, "/limits/timeout/max".to_owned())]);
}

#[test]
fn policy_with_two_documents_is_rejected() {
    for end in ["---\n", "... # end\n", "...\n"] {
        assert_eq!(violations(&format!("{BASE}{end}{BASE}")), [(Code::Syntax, String::new())], "{end}");
    }
}

#[test]
fn price_variables_are_parsed_or_rejected() {
    let found = PriceOverrides::from_variables(|name| {
        (name == "RUNWAY_USD_PER_GPU_SECOND").then(|| "0.001".to_owned())
    });
    let found = found.unwrap();
    assert_eq!((found.usd_per_cpu_second, found.usd_per_gpu_second), (None, Some("0.001".parse().unwrap())));
    let error = PriceOverrides::from_variables(|_| Some("cheap".to_owned())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the environment variable RUNWAY_USD_PER_CPU_SECOND is `cheap`, which is not a decimal number such as `0.0000112444`"
    );
}
