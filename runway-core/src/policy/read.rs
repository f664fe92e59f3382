//! From a tree to a [`PolicyFile`], collecting every fault.

use super::file::{
    BoundLayer, Capacity, Cidr, CidrError, GpuType, ImagePullPolicy, Images, InternalNetwork, LimitsLayer,
    Network, NetworksLayer, PolicyFile, Quota, QuotaLayer, RunSettings, TenantLayer, UnknownTenants,
};
use crate::code::Code;
use crate::document::{Key, Node, ScalarKind, Value};
use crate::image::ImagePattern;
use crate::name::{ClassName, DnsLabel, NameError};
use crate::price::Rates;
use crate::rate::RateLimit;
use crate::reader::{Fields, Path, Reader, shortened};
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds, UsdRate};
use crate::violation::Violation;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::str::FromStr;

/// The fields of a policy.
pub const FIELDS: &[&str] = &[
    "version",
    "limits",
    "default_class",
    "classes",
    "gpu_types",
    "default_gpu_type",
    "networks",
    "rates",
    "rate_limit",
    "quota",
    "capacity",
    "images",
    "unknown_tenants",
    "tenants",
    "run",
];
const LIMIT_FIELDS: &[&str] = &["cpu", "memory", "ephemeral_storage", "gpu", "timeout", "retries", "network"];
const TENANT_FIELDS: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral_storage",
    "gpu",
    "timeout",
    "retries",
    "network",
    "classes",
    "quota",
    "rate_limit",
    "networks",
];

/// The largest `backoffLimit` that Kubernetes keeps.
const MAX_RETRIES: u64 = i32::MAX.unsigned_abs() as u64;
/// Twelve hours: longer than any node is drained for.
const MAX_GRACE: Seconds = Seconds::new(12 * 3600);
/// One million per minute: beyond it a limit limits nothing.
const MAX_PER_MINUTE: u64 = 1_000_000;

/// Reads a whole policy; faults stay in the reader.
pub(super) fn read(reader: &mut Reader, root: &Node) -> Option<PolicyFile> {
    let top = Path::default();
    let fields = reader.fields(root, &top, FIELDS)?;
    match fields.get("version") {
        Some((node, path)) => match &node.value {
            Value::Scalar(ScalarKind::Integer, text) if text == "1" => {}
            _ => reader.violations.push(
                Violation::new(
                    Code::UnsupportedVersion,
                    path.as_str(),
                    "this version of Runway reads `version: 1`",
                )
                .requested(node.to_json())
                .one_of([1])
                .fix(1),
            ),
        },
        None => reader.missing(&top.join("version"), "write `version: 1`"),
    }
    Some(PolicyFile {
        version: 1,
        limits: base_limits(reader, &fields),
        default_class: fields
            .get("default_class")
            .and_then(|(node, path)| parsed(reader, node, &path, name_fault)),
        classes: named(reader, &fields, "classes", |reader, node, path| {
            let fields = reader.fields(node, path, LIMIT_FIELDS)?;
            Some(limits(reader, &fields))
        }),
        gpu_types: gpu_types(reader, &fields),
        default_gpu_type: fields
            .get("default_gpu_type")
            .and_then(|(node, path)| reader.text(node, &path))
            .map(str::to_owned),
        networks: networks(reader, &fields),
        rates: rates(reader, &fields),
        rate_limit: rate_limit(reader, &fields).unwrap_or(RateLimit::DEFAULT),
        quota: {
            let written = quota(reader, &fields, "quota", &["gpus", "concurrent_jobs"]);
            Quota {
                gpus: written.gpus.unwrap_or(GpuCount::new(4)),
                concurrent_jobs: written.concurrent_jobs.unwrap_or(10),
            }
        },
        capacity: capacity(reader, &fields),
        images: images(reader, &fields),
        unknown_tenants: fields
            .get("unknown_tenants")
            .and_then(|(node, path)| {
                let choices = [("allow", UnknownTenants::Allow), ("deny", UnknownTenants::Deny)];
                choice(reader, node, &path, &choices)
            })
            .unwrap_or(UnknownTenants::Allow),
        tenants: named(reader, &fields, "tenants", tenant),
        run: run(reader, &fields),
    })
}

/// The base, where the bounds that nothing else could supply must be written.
fn base_limits(reader: &mut Reader, fields: &Fields<'_>) -> LimitsLayer {
    let Some((node, path)) = fields.get("limits") else {
        reader.missing(
            &Path::default().join("limits"),
            "write the bounds that hold where no class says otherwise",
        );
        return LimitsLayer::default();
    };
    let Some(fields) = reader.fields(node, &path, LIMIT_FIELDS) else {
        return LimitsLayer::default();
    };
    for field in ["cpu", "memory", "timeout"] {
        let bound = fields.get(field);
        let has_max = bound.as_ref().is_some_and(|(node, _)| match &node.value {
            Value::Map(entries) => entries.iter().any(|(key, node)| key.text == "max" && !node.is_null()),
            _ => true, // told as a wrong type
        });
        if !has_max {
            reader.missing(&path.join(field).join("max"), "every job needs an upper bound for this");
        }
    }
    limits(reader, &fields)
}

fn limits(reader: &mut Reader, fields: &Fields<'_>) -> LimitsLayer {
    LimitsLayer {
        cpu: bound(reader, fields, "cpu", above_zero::<CpuMillis>),
        memory: bound(reader, fields, "memory", above_zero::<MemoryBytes>),
        ephemeral_storage: bound(reader, fields, "ephemeral_storage", above_zero::<MemoryBytes>),
        gpu: bound(reader, fields, "gpu", quantity),
        timeout: bound(reader, fields, "timeout", above_zero::<Seconds>),
        retries: bound(reader, fields, "retries", |reader, node, path| {
            whole(reader, node, path, 0, MAX_RETRIES).and_then(|n| u32::try_from(n).ok())
        }),
        network: fields.get("network").and_then(|(node, path)| network_list(reader, node, &path)),
    }
}

fn bound<T: Display>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    read: impl Fn(&mut Reader, &Node, &Path) -> Option<T>,
) -> BoundLayer<T> {
    let Some(fields) =
        fields.get(name).and_then(|(node, path)| reader.fields(node, &path, &["min", "max", "default"]))
    else {
        return BoundLayer::default();
    };
    let mut part = |name: &str| fields.get(name).and_then(|(node, path)| read(reader, node, &path));
    BoundLayer { min: part("min"), max: part("max"), default: part("default") }
}

/// A quantity or duration in the unit of its type.
fn quantity<T: FromStr<Err: Display>>(reader: &mut Reader, node: &Node, path: &Path) -> Option<T> {
    let (_, text) = reader.number(node, path)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let message = format!("`{}` {error}", shortened(text));
            reader.violations.push(
                Violation::new(Code::InvalidQuantity, path.as_str(), message).requested(node.to_json()),
            );
            None
        }
    }
}

/// A quantity that must not be zero: to Kubernetes a limit of zero is no limit.
fn above_zero<T: FromStr<Err: Display> + Default + PartialEq>(
    reader: &mut Reader,
    node: &Node,
    path: &Path,
) -> Option<T> {
    let value = quantity(reader, node, path)?;
    if value != T::default() {
        return Some(value);
    }
    let message = "a bound of zero would be no bound: Kubernetes takes a limit of zero for none";
    reader
        .violations
        .push(Violation::new(Code::InvalidQuantity, path.as_str(), message).requested(node.to_json()));
    None
}

/// A whole number within bounds.
fn whole(reader: &mut Reader, node: &Node, path: &Path, min: u64, max: u64) -> Option<u64> {
    let count: GpuCount = quantity(reader, node, path)?;
    let count = count.units();
    if (min..=max).contains(&count) {
        return Some(count);
    }
    let message = format!("{count} is not between {min} and {max}");
    reader.violations.push(
        Violation::new(Code::InvalidQuantity, path.as_str(), message)
            .requested(node.to_json())
            .range(min, max)
            .fix(count.clamp(min, max)),
    );
    None
}

fn count32(reader: &mut Reader, fields: &Fields<'_>, name: &str, min: u64, max: u64) -> Option<u32> {
    let (node, path) = fields.get(name)?;
    u32::try_from(whole(reader, node, &path, min, max.min(u64::from(u32::MAX)))?).ok()
}

/// A text that is parsed further, with the words for what is wrong with it.
fn parsed<T: FromStr>(
    reader: &mut Reader,
    node: &Node,
    path: &Path,
    fault: impl Fn(&str, T::Err) -> (Code, String, Json),
) -> Option<T> {
    let text = reader.text(node, path)?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            let (code, message, fix) = fault(text, error);
            reader.violations.push(Violation::new(code, path.as_str(), message).requested(text).fix(fix));
            None
        }
    }
}

fn name_fault(text: &str, error: NameError) -> (Code, String, Json) {
    (Code::InvalidName, format!("`{}` {error}", shortened(text)), Json::Null)
}

fn cidr_fault(text: &str, error: CidrError) -> (Code, String, Json) {
    let fix = match error {
        CidrError::HostBits(range) => range.to_string().into(),
        CidrError::Malformed => Json::Null,
    };
    (Code::InvalidCidr, format!("`{}` {error}", shortened(text)), fix)
}

/// One of a few words.
fn choice<T: Copy>(reader: &mut Reader, node: &Node, path: &Path, choices: &[(&str, T)]) -> Option<T> {
    let text = reader.text(node, path)?;
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    if found.is_none() {
        let names = choices.iter().map(|(name, _)| *name);
        let near = crate::violation::nearest(text, names.clone());
        let message = format!("`{}` is not one of the words that can stand here", shortened(text));
        reader.violations.push(
            Violation::new(Code::WrongType, path.as_str(), message).requested(text).one_of(names).fix(near),
        );
    }
    found
}

fn boolean(reader: &mut Reader, fields: &Fields<'_>, name: &str) -> Option<bool> {
    let (node, path) = fields.get(name)?;
    match &node.value {
        Value::Scalar(ScalarKind::Bool, text) => Some(text.eq_ignore_ascii_case("true")),
        _ => reader.wrong_type(node, &path, "`true` or `false`"),
    }
}

/// A mapping from names of one kind to values of one kind.
fn named<K: FromStr<Err = NameError> + Ord, V>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    read: impl Fn(&mut Reader, &Node, &Path) -> Option<V>,
) -> BTreeMap<K, V>
where
    V: Default,
{
    let Some((node, path)) = fields.get(name) else {
        return BTreeMap::new();
    };
    let entries: &[(Key, Node)] = reader.entries(node, &path).unwrap_or_default();
    let mut map = BTreeMap::new();
    for (key, node) in entries {
        let path = path.join(&key.text);
        let value = if node.is_null() { Some(V::default()) } else { read(reader, node, &path) };
        match key.text.parse() {
            Ok(key) => {
                value.map(|value| map.insert(key, value));
            }
            Err(error) => {
                let (code, message, _) = name_fault(&key.text, error);
                reader.violations.push(Violation::new(code, path.as_str(), message));
            }
        }
    }
    map
}

fn tenant(reader: &mut Reader, node: &Node, path: &Path) -> Option<TenantLayer> {
    let fields = reader.fields(node, path, TENANT_FIELDS)?;
    Some(TenantLayer {
        limits: limits(reader, &fields),
        classes: named(reader, &fields, "classes", |reader, node, path| {
            let fields = reader.fields(node, path, LIMIT_FIELDS)?;
            Some(limits(reader, &fields))
        }),
        quota: quota(reader, &fields, "quota", &["gpus", "concurrent_jobs"]),
        rate_limit: rate_limit(reader, &fields),
        networks: networks(reader, &fields),
    })
}

fn quota(reader: &mut Reader, fields: &Fields<'_>, name: &str, known: &[&str]) -> QuotaLayer {
    let Some(fields) = fields.get(name).and_then(|(node, path)| reader.fields(node, &path, known)) else {
        return QuotaLayer::default();
    };
    QuotaLayer {
        gpus: fields.get("gpus").and_then(|(node, path)| quantity(reader, node, &path)),
        concurrent_jobs: count32(reader, &fields, "concurrent_jobs", 0, u64::from(u32::MAX)),
    }
}

fn capacity(reader: &mut Reader, fields: &Fields<'_>) -> Capacity {
    let written = quota(reader, fields, "capacity", &["gpus", "concurrent_jobs", "rate_limit"]);
    let rate = fields.get("capacity").and_then(|(node, path)| match &node.value {
        // `quota` has told of everything else that is wrong with this mapping.
        Value::Map(_) => {
            let fields = Reader::default().fields(node, &path, &["gpus", "concurrent_jobs", "rate_limit"])?;
            rate_limit(reader, &fields)
        }
        _ => None,
    });
    Capacity {
        gpus: written.gpus.unwrap_or(GpuCount::new(64)),
        concurrent_jobs: written.concurrent_jobs.unwrap_or(500),
        rate_limit: rate.unwrap_or(RateLimit::SERVER_DEFAULT),
    }
}

fn rate_limit(reader: &mut Reader, fields: &Fields<'_>) -> Option<RateLimit> {
    let (node, path) = fields.get("rate_limit")?;
    let fields = reader.fields(node, &path, &["per_minute", "burst"])?;
    let mut part = |name: &str| {
        if fields.get(name).is_none() {
            reader.missing(&path.join(name), "a rate limit needs `per_minute` and `burst`");
        }
        count32(reader, &fields, name, 1, MAX_PER_MINUTE).and_then(NonZeroU32::new)
    };
    let (per_minute, burst) = (part("per_minute"), part("burst"));
    Some(RateLimit { per_minute: per_minute?, burst: burst? })
}

fn rates(reader: &mut Reader, fields: &Fields<'_>) -> Rates {
    let Some((node, path)) = fields.get("rates") else {
        reader.missing(&Path::default().join("rates"), "write the prices of CPU, memory and GPUs");
        return Rates::default();
    };
    let known = ["usd_per_cpu_second", "usd_per_gb_second", "usd_per_gpu_second"];
    let Some(fields) = reader.fields(node, &path, &known) else {
        return Rates::default();
    };
    let mut part = |name: &str| {
        if fields.get(name).is_none() {
            reader.missing(&path.join(name), "every resource needs a price; `\"0\"` is one");
        }
        fields.get(name).and_then(|(node, path)| rate(reader, node, &path)).unwrap_or_default()
    };
    Rates {
        usd_per_cpu_second: part("usd_per_cpu_second"),
        usd_per_gb_second: part("usd_per_gb_second"),
        usd_per_gpu_second: part("usd_per_gpu_second"),
    }
}

fn rate(reader: &mut Reader, node: &Node, path: &Path) -> Option<UsdRate> {
    let (_, text) = reader.number(node, path)?;
    text.parse()
        .map_err(|error| {
            let message = format!("`{}` {error}", shortened(text));
            reader
                .violations
                .push(Violation::new(Code::InvalidRate, path.as_str(), message).requested(node.to_json()));
        })
        .ok()
}

fn gpu_types(reader: &mut Reader, fields: &Fields<'_>) -> BTreeMap<String, GpuType> {
    let Some((node, path)) = fields.get("gpu_types") else {
        return BTreeMap::new();
    };
    let entries = reader.entries(node, &path).unwrap_or_default();
    let mut types = BTreeMap::new();
    for (key, node) in entries {
        let path = path.join(&key.text);
        if let Err(error) = ClassName::check(&key.text) {
            let (code, message, _) = name_fault(&key.text, error);
            reader.violations.push(Violation::new(code, path.as_str(), message));
        }
        let Some(fields) = reader.fields(node, &path, &["resource", "usd_per_gpu_second", "node_selector"])
        else {
            continue;
        };
        let resource = fields.get("resource").and_then(|(node, path)| reader.text(node, &path));
        let resource = resource.unwrap_or("nvidia.com/gpu").to_owned();
        if !is_qualified_name(&resource) || !resource.contains('/') {
            let message = format!(
                "`{}` is not the name of an extended resource such as `nvidia.com/gpu`",
                shortened(&resource)
            );
            reader.violations.push(Violation::new(
                Code::InvalidName,
                path.join("resource").as_str(),
                message,
            ));
        }
        let price = fields.get("usd_per_gpu_second");
        if price.is_none() {
            reader.missing(&path.join("usd_per_gpu_second"), "a GPU type needs a price");
        }
        let usd_per_gpu_second = price.and_then(|(node, path)| rate(reader, node, &path)).unwrap_or_default();
        let node_selector = node_selector(reader, &fields);
        types.insert(key.text.clone(), GpuType { resource, usd_per_gpu_second, node_selector });
    }
    types
}

fn node_selector(reader: &mut Reader, fields: &Fields<'_>) -> BTreeMap<String, String> {
    let Some((node, path)) = fields.get("node_selector") else {
        return BTreeMap::new();
    };
    let entries = reader.entries(node, &path).unwrap_or_default();
    let mut labels = BTreeMap::new();
    for (key, node) in entries {
        let path = path.join(&key.text);
        let Some(value) = reader.text(node, &path) else {
            continue;
        };
        if !is_qualified_name(&key.text) || !(value.is_empty() || is_label_value(value)) {
            let message = "this is not a label of a node: `prefix/name: value` of letters, digits, `-`, `_` and `.`, at most 63 each";
            reader.violations.push(Violation::new(Code::InvalidName, path.as_str(), message));
        }
        labels.insert(key.text.clone(), value.to_owned());
    }
    labels
}

/// A Kubernetes label value or the name part of a key (`IsValidLabelValue`): `[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?`.
fn is_label_value(text: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A Kubernetes qualified name: a label value behind an optional DNS name and `/`.
fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => {
            let label = |part: &str| DnsLabel::check(part).is_ok();
            prefix.len() <= 253 && prefix.split('.').all(label) && is_label_value(name)
        }
        None => is_label_value(text),
    }
}

fn networks(reader: &mut Reader, fields: &Fields<'_>) -> NetworksLayer {
    let internal = fields
        .get("networks")
        .and_then(|(node, path)| reader.fields(node, &path, &["internal"]))
        .and_then(|fields| fields.get("internal"))
        .and_then(|(node, path)| reader.fields(node, &path, &["cidrs"]));
    let Some(internal) = internal else {
        return NetworksLayer::default();
    };
    let mut cidrs: Vec<Cidr> = Vec::new();
    if let Some((node, path)) = internal.get("cidrs") {
        for (i, item) in reader.list(node, &path).unwrap_or_default().iter().enumerate() {
            cidrs.extend(parsed::<Cidr>(reader, item, &path.index(i), cidr_fault));
        }
    }
    NetworksLayer { internal: Some(InternalNetwork { cidrs }) }
}

fn network_list(reader: &mut Reader, node: &Node, path: &Path) -> Option<Vec<Network>> {
    let choices = Network::ALL.map(|network| (network.as_str(), network));
    let mut networks = Vec::new();
    for (i, item) in reader.list(node, path)?.iter().enumerate() {
        let network = choice(reader, item, &path.index(i), &choices)?;
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    Some(networks)
}

fn images(reader: &mut Reader, fields: &Fields<'_>) -> Images {
    let anything = || "**".parse::<ImagePattern>().into_iter().collect();
    let Some(fields) = fields
        .get("images")
        .and_then(|(node, path)| reader.fields(node, &path, &["allow", "require_digest"]))
    else {
        return Images { allow: anything(), require_digest: false };
    };
    let mut allow = Vec::new();
    let written = fields.get("allow");
    if let Some((node, path)) = &written {
        for (i, item) in reader.list(node, path).unwrap_or_default().iter().enumerate() {
            allow.extend(parsed::<ImagePattern>(reader, item, &path.index(i), |text, error| {
                (Code::InvalidPattern, format!("`{}` {error}", shortened(text)), Json::Null)
            }));
        }
    } else {
        allow = anything();
    }
    Images { allow, require_digest: boolean(reader, &fields, "require_digest").unwrap_or(false) }
}

fn run(reader: &mut Reader, fields: &Fields<'_>) -> RunSettings {
    let mut run = RunSettings {
        namespace: "runway-jobs".to_owned(),
        ttl_after_finished: Seconds::new(300),
        termination_grace: Seconds::new(30),
        run_as_user: 65532,
        image_pull_policy: ImagePullPolicy::IfNotPresent,
        image_pull_secrets: Vec::new(),
    };
    let known = [
        "namespace",
        "ttl_after_finished",
        "termination_grace",
        "run_as_user",
        "image_pull_policy",
        "image_pull_secrets",
    ];
    let Some(fields) = fields.get("run").and_then(|(node, path)| reader.fields(node, &path, &known)) else {
        return run;
    };
    if let Some((node, path)) = fields.get("namespace")
        && let Some(text) = reader.text(node, &path)
    {
        // With the shortest tenant; the lengths of the listed ones are checked when all is known.
        match DnsLabel::check(&text.replace("{tenant}", "t")) {
            Ok(()) => text.clone_into(&mut run.namespace),
            Err(error) => {
                let (code, message, _) = name_fault(text, error);
                reader.violations.push(Violation::new(code, path.as_str(), message).requested(text));
            }
        }
    }
    let mut duration = |name: &str, max: Seconds, into: &mut Seconds| {
        let Some((node, path)) = fields.get(name) else { return };
        let Some(value) = quantity::<Seconds>(reader, node, &path) else { return };
        if value > max {
            let message = format!("{value} is more than {max}");
            reader.violations.push(
                Violation::new(Code::InvalidQuantity, path.as_str(), message)
                    .requested(node.to_json())
                    .range("0s", max.to_string())
                    .fix(max.to_string()),
            );
        } else {
            *into = value;
        }
    };
    duration("ttl_after_finished", Seconds::new(i32::MAX.unsigned_abs().into()), &mut run.ttl_after_finished);
    duration("termination_grace", MAX_GRACE, &mut run.termination_grace);
    if let Some(user) = count32(reader, &fields, "run_as_user", 1, i32::MAX.unsigned_abs().into()) {
        run.run_as_user = user;
    }
    if let Some((node, path)) = fields.get("image_pull_policy") {
        let choices = ImagePullPolicy::ALL.map(|policy| (policy.as_str(), policy));
        run.image_pull_policy = choice(reader, node, &path, &choices).unwrap_or(run.image_pull_policy);
    }
    if let Some((node, path)) = fields.get("image_pull_secrets") {
        for (i, item) in reader.list(node, &path).unwrap_or_default().iter().enumerate() {
            let name = parsed::<DnsLabel>(reader, item, &path.index(i), name_fault);
            run.image_pull_secrets.extend(name.map(|name| name.to_string()));
        }
    }
    run
}
