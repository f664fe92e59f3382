//! Generators of job documents: valid, invalid, and almost valid.

use proptest::prelude::*;
use runway_core::policy::PriceOverrides;
use runway_core::spec::SecretLiterals;
use runway_core::{JobSpec, Policy, Submission};
use serde_json::{Map, Value, json};
use std::sync::{Arc, LazyLock};

/// The policies of `fixtures/policies`, and one with small quotas and few networks.
pub fn policies() -> Vec<Arc<Policy>> {
    static POLICIES: LazyLock<Vec<Arc<Policy>>> = LazyLock::new(load_policies);
    POLICIES.clone()
}

fn load_policies() -> Vec<Arc<Policy>> {
    let tight = "
version: 1
limits:
  cpu: {min: 100m, max: '2', default: 500m}
  memory: {min: 64Mi, max: 1Gi, default: 128Mi}
  ephemeral_storage: {min: 1Gi, max: 2Gi, default: 1Gi}
  gpu: {min: 1, max: 8}
  timeout: {min: 60s, max: 5m, default: 2m}
  retries: {max: 1}
  network: [internal]
gpu_types: {a100: {usd_per_gpu_second: '0.001'}}
default_gpu_type: a100
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
quota: {gpus: 2}
";
    let fixtures = ["default", "strict", "in-sequence", "guarded"].map(|name| {
        let path = format!("{}/../fixtures/policies/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    });
    fixtures
        .into_iter()
        .chain([tight.as_bytes().to_vec()])
        .map(|source| Arc::new(Policy::parse(&source, PriceOverrides::default()).unwrap()))
        .collect()
}

pub fn policy() -> impl Strategy<Value = Arc<Policy>> {
    prop::sample::select(policies())
}

fn pick(values: &[Value]) -> impl Strategy<Value = Option<Value>> + use<> {
    prop::option::weighted(0.7, prop::sample::select(values.to_vec()))
}

/// A document in which each field is missing, valid, out of bounds, or malformed.
pub fn document() -> impl Strategy<Value = Value> {
    let names =
        pick(&[json!("job"), json!("Bad_Name"), json!("a".repeat(60)), json!("-"), json!(1.5), json!(7)]);
    let tenants = pick(&[json!("search"), json!("vision"), json!("Vision Team"), json!("nobody")]);
    let classes =
        pick(&[json!("cpu_short"), json!("gpu"), json!("batch"), json!("gpuu"), json!("nonsense-class")]);
    let digest = format!("registry.internal/app@sha256:{}", "0".repeat(64));
    let images = pick(&[
        json!("busybox"),
        json!(digest),
        json!("Registry.internal/App"),
        json!("MyApp:RC1"),
        json!("a b"),
    ]);
    let cpu = pick(&[
        json!("2"),
        json!(4),
        json!(64),
        json!("5m"),
        json!(0),
        json!("0.0005"),
        json!("1.0005"),
        json!("1.0006"),
        json!("1e400"),
        json!("-1"),
        json!("much"),
        json!(true),
    ]);
    let memory = pick(&[
        json!("512Mi"),
        json!("8Gi"),
        json!("1Ti"),
        json!("1"),
        json!("128m"),
        json!("9E"),
        json!(1_073_741_825),
        json!("-1Gi"),
        json!([]),
    ]);
    let storage = pick(&[json!("1Gi"), json!("1Ki"), json!("1Pi"), json!("10Gi")]);
    let gpu = pick(&[json!(0), json!(1), json!(4), json!(9), json!("1.5"), json!(-1), json!("99")]);
    let shm = pick(&[json!("64Mi"), json!("4Gi"), json!("1Ei"), json!("64m")]);
    let gpu_types = pick(&[json!("a100"), json!("l4"), json!("a10"), json!("tpu-v9")]);
    let timeouts =
        pick(&[json!("5m"), json!(1), json!("0"), json!("99h"), json!(-5), json!("soon"), json!("30s")]);
    let retries = pick(&[json!(0), json!(3), json!(99), json!("1.5"), json!(-1)]);
    let networks = pick(&[json!("none"), json!("internal"), json!("open"), json!("inernal"), json!("lan")]);
    let env =
        pick(&[json!({"A": "1"}), json!({"A": "1", "RUNWAY_X": "2"}), json!({"1A": "x"}), json!({"A": 1})]);
    let secrets =
        pick(&[json!({"S": {"from_env": "S"}}), json!({"S": "hunter2"}), json!({"A": {"from_env": "A"}})]);
    let workdirs = pick(&[
        json!("/tmp"),
        json!("/a/./b/../c"),
        json!("src"),
        json!("/a\0"),
        json!(["/"]),
        json!("/../.."),
    ]);
    let args = pick(&[json!(["a", "b"]), json!(["a", 3]), json!(["a\0"]), json!("a")]);
    let resources = (cpu, memory, storage, gpu, shm).prop_map(|(cpu, memory, storage, gpu, shm)| {
        fields([("cpu", cpu), ("memory", memory), ("ephemeral_storage", storage), ("gpu", gpu), ("shm", shm)])
    });
    let first = (names, tenants, classes, images, args, env, secrets);
    let second = (resources, gpu_types, timeouts, retries, networks, workdirs);
    (first, second).prop_map(
        |(
            (name, tenant, class, image, args, env, secrets),
            (resources, gpu_type, timeout, retries, network, workdir),
        )| {
            fields([
                ("name", name),
                ("tenant", tenant),
                ("class", class),
                ("image", image),
                ("args", args),
                ("workdir", workdir),
                ("env", env),
                ("secrets", secrets),
                ("resources", Some(resources)),
                ("gpu_type", gpu_type),
                ("timeout", timeout),
                ("retries", retries),
                ("network", network),
            ])
        },
    )
}

/// A document that has the required fields, and has neither `env` nor `args`. So most of its violations
/// have a fix.
pub fn nearly_good_document() -> impl Strategy<Value = Value> {
    document().prop_map(|mut document| {
        let fields = document.as_object_mut().unwrap();
        for (name, value) in [("name", "job"), ("image", "busybox"), ("tenant", "search")] {
            fields.entry(name).or_insert_with(|| value.into());
        }
        for name in ["env", "args"] {
            fields.remove(name);
        }
        document
    })
}

fn fields<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let entries = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Parses a document as a file and returns its submission.
pub fn submission(document: &Value) -> Submission {
    let mut parsed = JobSpec::parse_all(document.to_string().as_bytes(), SecretLiterals::Refuse);
    assert_eq!(parsed.len(), 1);
    parsed.remove(0).into()
}
