//! From a tree to a [`PolicyFile`], collecting every fault.

mod sections;
mod values;

use super::file::{
    BoundLayer, Capacity, LimitsLayer, Network, PolicyFile, Quota, QuotaLayer, TenantLayer, UnknownTenants,
};
use crate::code::Code;
use crate::document::{Node, ScalarKind, Value};
use crate::price::Rates;
use crate::rate::RateLimit;
use crate::reader::{Fields, Path, Reader};
use crate::units::{CpuMillis, GpuCount, MemoryBytes};
use crate::violation::Violation;
use sections::{gpu_types, images, networks, run};
use std::fmt::Display;
use std::num::NonZeroU32;
use values::{above_zero, choice, count32, name_fault, named, parsed, quantity, rate, timeout, whole};

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
                    path.pointer(),
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
fn base_limits(reader: &mut Reader, fields: &Fields<'_, '_>) -> LimitsLayer {
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

fn limits(reader: &mut Reader, fields: &Fields<'_, '_>) -> LimitsLayer {
    LimitsLayer {
        cpu: bound(reader, fields, "cpu", above_zero::<CpuMillis>),
        memory: bound(reader, fields, "memory", above_zero::<MemoryBytes>),
        ephemeral_storage: bound(reader, fields, "ephemeral_storage", above_zero::<MemoryBytes>),
        gpu: bound(reader, fields, "gpu", quantity),
        timeout: bound(reader, fields, "timeout", timeout),
        retries: bound(reader, fields, "retries", |reader, node, path| {
            whole(reader, node, path, 0, MAX_RETRIES).and_then(|n| u32::try_from(n).ok())
        }),
        network: fields.get("network").and_then(|(node, path)| network_list(reader, node, &path)),
    }
}

fn bound<T: Display>(
    reader: &mut Reader,
    fields: &Fields<'_, '_>,
    name: &str,
    read: impl Fn(&mut Reader, &Node, &Path<'_>) -> Option<T>,
) -> BoundLayer<T> {
    let Some(fields) =
        fields.get(name).and_then(|(node, path)| reader.fields(node, &path, &["min", "max", "default"]))
    else {
        return BoundLayer::default();
    };
    let mut part = |name: &str| fields.get(name).and_then(|(node, path)| read(reader, node, &path));
    BoundLayer { min: part("min"), max: part("max"), default: part("default") }
}

fn tenant(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<TenantLayer> {
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

fn quota(reader: &mut Reader, fields: &Fields<'_, '_>, name: &str, known: &[&str]) -> QuotaLayer {
    let Some(fields) = fields.get(name).and_then(|(node, path)| reader.fields(node, &path, known)) else {
        return QuotaLayer::default();
    };
    QuotaLayer {
        gpus: fields.get("gpus").and_then(|(node, path)| quantity(reader, node, &path)),
        concurrent_jobs: count32(reader, &fields, "concurrent_jobs", 0, u64::from(u32::MAX)),
    }
}

fn capacity(reader: &mut Reader, fields: &Fields<'_, '_>) -> Capacity {
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

fn rate_limit(reader: &mut Reader, fields: &Fields<'_, '_>) -> Option<RateLimit> {
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

fn rates(reader: &mut Reader, fields: &Fields<'_, '_>) -> Rates {
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

fn network_list(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<Vec<Network>> {
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
