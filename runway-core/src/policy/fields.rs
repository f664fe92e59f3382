//! The fields of a policy, each declared once.
//!
//! The parser, the JSON Schema, the suggestions for unknown fields, the canonical form and the digest use the
//! tables in this module. To add a field, add it to the struct of its section and declare it in the table.

use super::file::{
    BoundLayer, Capacity, GpuType, Images, InternalNetwork, LimitsLayer, NetworksLayer, PolicyFile, Quota,
    QuotaLayer, RunSettings, TenantLayer,
};
use super::formats::{
    BOOLEAN, CIDRS, CLASS_NAME, CPU, EXTENDED_RESOURCE, GPU, GPU_COUNT, IMAGE_PATTERNS, MAX_I32, MEMORY,
    NAMESPACE, NETWORK_LIST, NODE_LABELS, PRICE, PULL_POLICY, RETRIES, SECRET_NAMES, SUBMISSIONS, TEXT,
    TIMEOUT, UNKNOWN_TENANTS, VERSION, count, seconds,
};
use super::section::{
    Canonical, Field, Format, entries, field, names, properties, read_fields, read_section, section_schema,
    write_section,
};
use super::values::{name_fault, named};
use crate::document::{Node, Value};
use crate::name::{ClassName, Tenant};
use crate::price::Rates;
use crate::rate::RateLimit;
use crate::reader::{Path, Reader};
use crate::shape::{CLASS, LABEL, object_of};
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds};
use crate::violation::Violation;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Twelve hours, which is longer than the drain of a node takes.
const MAX_GRACE: u64 = 12 * 3600;
const MAX_U32: u64 = u32::MAX as u64;

/// The format of a section, with its table and its value for a policy that omits the whole section.
macro_rules! section {
    ($fields:expr, $missing:expr) => {
        Format {
            read: |reader, node, path| read_section(reader, node, path, $fields, $missing),
            schema: || section_schema($fields),
            write: |section| write_section(section, $fields),
        }
    };
}

/// The format of the bounds of one quantity.
macro_rules! bounds {
    ($format:expr, $type:ty) => {{
        const BOUNDS: &[Field<BoundLayer<$type>>] = &[
            field!(min, $format, optional, ""),
            field!(max, $format, optional, ""),
            field!(default, $format, optional, ""),
        ];
        section!(BOUNDS, BoundLayer::default())
    }};
}

/// The top level of a policy.
pub(super) const POLICY: &[Field<PolicyFile>] = &[
    field!(version, VERSION, always, "The version of this format.", required: "write `version: 1`"),
    field!(
        limits,
        BASE,
        always,
        "The base: bounds that hold where nothing else is said. `cpu.max`, `memory.max` and `timeout.max` are needed.",
        required: "write the bounds that hold where no class says otherwise"
    ),
    field!(default_class, CLASS_NAME, optional, "The class of a job that names none."),
    field!(classes, CLASSES, always, "Bounds for kinds of work. They replace the base's, field by field."),
    field!(gpu_types, GPU_TYPES, always, "Kinds of GPU. Where there are any, a job with GPUs names one."),
    field!(default_gpu_type, TEXT, optional, "The GPU type of a job that names none."),
    field!(networks, section!(NETWORKS, NetworksLayer::default()), always, "What the named networks reach."),
    field!(
        rates,
        section!(RATES, Rates::default()),
        always,
        "Prices in USD.",
        required: "write the prices of CPU, memory and GPUs"
    ),
    field!(
        rate_limit,
        RATE_LIMIT,
        always,
        "How fast each tenant may submit. 60 a minute, 10 at once, where left out."
    ),
    field!(quota, QUOTA, always, "How much each tenant may hold at a time."),
    field!(
        capacity,
        section!(CAPACITY, Capacity::default()),
        always,
        "How much all tenants together may hold at a time."
    ),
    field!(images, section!(IMAGES, Images::default()), always, "Which images may run."),
    field!(
        unknown_tenants,
        UNKNOWN_TENANTS,
        always,
        "What becomes of tenants that are not listed. `allow` where left out."
    ),
    field!(
        tenants,
        TENANTS,
        always,
        "What single tenants have of their own. Bare bounds only narrow; `classes` replace."
    ),
    field!(run, section!(RUN, RunSettings::default()), always, "How jobs are run."),
];

/// The bounds that every layer can set.
const LIMITS: &[Field<LimitsLayer>] = &[
    field!(cpu, bounds!(CPU, CpuMillis), if_set, "Cores, to a thousandth."),
    field!(memory, bounds!(MEMORY, MemoryBytes), if_set, "Bytes of memory."),
    field!(
        ephemeral_storage,
        bounds!(MEMORY, MemoryBytes),
        if_set,
        "Bytes of scratch space and logs. At most 1Gi, and that by default, where left out."
    ),
    field!(gpu, bounds!(GPU, GpuCount), if_set, "Whole GPUs. None where left out."),
    field!(
        timeout,
        bounds!(TIMEOUT, Seconds),
        if_set,
        "From the start of the job to its end, retries included."
    ),
    field!(retries, bounds!(RETRIES, u32), if_set, "Repetitions of a failed attempt. None where left out."),
    field!(
        network,
        NETWORK_LIST,
        optional,
        "The networks that a job may choose; the first is the default. `[none]` where left out."
    ),
];

/// The fields of a tenant other than [`LIMITS`].
const TENANT: &[Field<TenantLayer>] = &[
    field!(classes, CLASSES, if_set, ""),
    field!(quota, section!(QUOTA_LAYER, QuotaLayer::default()), if_set, ""),
    field!(rate_limit, RATE_LIMIT, optional, ""),
    field!(networks, section!(NETWORKS, NetworksLayer::default()), if_set, ""),
];

const QUOTA_LAYER: &[Field<QuotaLayer>] = &[
    field!(gpus, GPU_COUNT, optional, "GPUs of all types together. 4 where left out."),
    field!(concurrent_jobs, count::<0, MAX_U32>(), optional, "Jobs that have not ended. 10 where left out."),
];

const CAPACITY: &[Field<Capacity>] = &[
    field!(gpus, GPU_COUNT, always, "GPUs of all tenants together. 64 where left out."),
    field!(
        concurrent_jobs,
        count::<0, MAX_U32>(),
        always,
        "Jobs of all tenants together. 500 where left out."
    ),
    field!(
        rate_limit,
        RATE_LIMIT,
        always,
        "Submissions of all tenants together. 6000 a minute, 500 at once, where left out."
    ),
];

const RATE_LIMITS: &[Field<RateLimit>] = &[
    field!(
        per_minute,
        SUBMISSIONS,
        always,
        "Submissions a minute in the long run: 1 to 1,000,000.",
        required: "a rate limit needs `per_minute` and `burst`"
    ),
    field!(
        burst,
        SUBMISSIONS,
        always,
        "Submissions at once: 1 to 1,000,000.",
        required: "a rate limit needs `per_minute` and `burst`"
    ),
];

const NO_PRICE: &str = "every resource needs a price; `\"0\"` is one";

const RATES: &[Field<Rates>] = &[
    field!(
        usd_per_cpu_second,
        PRICE,
        always,
        "The price of a core for a second, with at most 12 decimals.",
        required: NO_PRICE
    ),
    field!(
        usd_per_gb_second,
        PRICE,
        always,
        "The price of 10^9 bytes of memory for a second.",
        required: NO_PRICE
    ),
    field!(
        usd_per_gpu_second,
        PRICE,
        always,
        "The price of a GPU without a type for a second.",
        required: NO_PRICE
    ),
];

const NETWORKS: &[Field<NetworksLayer>] =
    &[field!(internal, section!(INTERNAL, InternalNetwork::default()), optional, "")];

const INTERNAL: &[Field<InternalNetwork>] = &[field!(
    cidrs,
    CIDRS,
    always,
    "Address ranges that jobs with `network: internal` may reach: `10.0.0.0/8`."
)];

const NO_GPU_PRICE: &str = "a GPU type needs a price";

const GPU_TYPE: &[Field<GpuType>] = &[
    field!(
        resource,
        EXTENDED_RESOURCE,
        always,
        "The extended resource of the device plugin. `nvidia.com/gpu` where left out."
    ),
    field!(
        usd_per_gpu_second,
        PRICE,
        always,
        "The price of one GPU for a second.",
        required: NO_GPU_PRICE
    ),
    field!(node_selector, NODE_LABELS, always, "Labels of the nodes that have it."),
];

const IMAGES: &[Field<Images>] = &[
    field!(
        allow,
        IMAGE_PATTERNS,
        always,
        "Patterns over the whole `host/path`: `*` within a segment, `**` across them. `[\"**\"]` where left out."
    ),
    field!(
        require_digest,
        BOOLEAN,
        always,
        "Whether images must be named by digest. `false` where left out."
    ),
];

const RUN: &[Field<RunSettings>] = &[
    field!(
        namespace,
        NAMESPACE,
        always,
        "Where jobs run; `{tenant}` stands for the tenant. `runway-jobs` where left out."
    ),
    field!(
        ttl_after_finished,
        seconds::<MAX_I32>(),
        always,
        "How long an ended job is kept. `300s` where left out."
    ),
    field!(
        termination_grace,
        seconds::<MAX_GRACE>(),
        always,
        "Between SIGTERM and SIGKILL. `30s` where left out, `12h` at most."
    ),
    field!(
        run_as_user,
        count::<1, MAX_I32>(),
        always,
        "The user id of the process, never 0. 65532 where left out."
    ),
    field!(image_pull_policy, PULL_POLICY, always, "`IfNotPresent` where left out."),
    field!(image_pull_secrets, SECRET_NAMES, always, "Secrets with registry credentials."),
];

/// The base bounds. They must contain each maximum that has no built-in value.
const BASE: Format<LimitsLayer> = Format {
    read: |reader, node, path| {
        let written = reader.fields(node, path, &names(LIMITS).collect::<Vec<_>>())?;
        for field in ["cpu", "memory", "timeout"] {
            let has_max = written.get(field).is_some_and(|(node, _)| match &node.value {
                Value::Map(entries) => entries.iter().any(|(key, node)| key.text == "max" && !node.is_null()),
                _ => true, // reported as a wrong type
            });
            if !has_max {
                reader.missing(&path.join(field).join("max"), "every job needs an upper bound for this");
            }
        }
        let mut limits = LimitsLayer::default();
        read_fields(reader, &written, path, LIMITS, &mut limits);
        Some(limits)
    },
    schema: limits_schema,
    write: |limits| write_section(limits, LIMITS),
};

fn limits_schema() -> Json {
    json!({"$ref": "#/$defs/limits"})
}

const CLASSES: Format<BTreeMap<ClassName, LimitsLayer>> = Format {
    read: |reader, node, path| {
        Some(named(reader, node, path, |reader, node, path| {
            read_section(reader, node, path, LIMITS, LimitsLayer::default())
        }))
    },
    schema: || map_schema(CLASS, limits_schema()),
    write: |classes| write_map(classes, |limits| write_section(limits, LIMITS)),
};

const TENANTS: Format<BTreeMap<Tenant, TenantLayer>> = Format {
    read: |reader, node, path| Some(named(reader, node, path, read_tenant)),
    schema: || {
        let mut fields = properties(LIMITS);
        fields.extend(properties(TENANT));
        map_schema(LABEL, object_of(fields.into(), &[]))
    },
    write: |tenants| {
        write_map(tenants, |tenant| {
            Canonical::Map(entries(&tenant.limits, LIMITS).chain(entries(tenant, TENANT)).collect())
        })
    },
};

fn read_tenant(reader: &mut Reader, node: &Node, path: &Path<'_>) -> Option<TenantLayer> {
    let written = reader.fields(node, path, &names(LIMITS).chain(names(TENANT)).collect::<Vec<_>>())?;
    let mut tenant = TenantLayer::default();
    read_fields(reader, &written, path, LIMITS, &mut tenant.limits);
    read_fields(reader, &written, path, TENANT, &mut tenant);
    Some(tenant)
}

const GPU_TYPES: Format<BTreeMap<String, GpuType>> = Format {
    read: |reader, node, path| Some(read_gpu_types(reader, node, path)),
    schema: || map_schema(CLASS, section_schema(GPU_TYPE)),
    write: |types| write_map(types, |gpu| write_section(gpu, GPU_TYPE)),
};

fn read_gpu_types(reader: &mut Reader, node: &Node, path: &Path<'_>) -> BTreeMap<String, GpuType> {
    let mut types = BTreeMap::new();
    for (key, node) in reader.entries(node, path).unwrap_or_default() {
        let path = path.join(&key.text);
        if let Err(error) = ClassName::check(&key.text) {
            let (code, message, _) = name_fault(&key.text, error);
            reader.violations.push(Violation::new(code, path.pointer(), message));
        }
        if node.is_null() {
            reader.missing(&path.join("usd_per_gpu_second"), NO_GPU_PRICE);
        }
        if let Some(gpu) = read_section(reader, node, &path, GPU_TYPE, GpuType::unpriced()) {
            types.insert(key.text.to_string(), gpu);
        }
    }
    types
}

const QUOTA: Format<Quota> = Format {
    read: |reader, node, path| {
        let written = read_section(reader, node, path, QUOTA_LAYER, QuotaLayer::default())?;
        let missing = Quota::default();
        Some(Quota {
            gpus: written.gpus.unwrap_or(missing.gpus),
            concurrent_jobs: written.concurrent_jobs.unwrap_or(missing.concurrent_jobs),
        })
    },
    schema: || section_schema(QUOTA_LAYER),
    write: |quota| {
        let Quota { gpus, concurrent_jobs } = *quota;
        let layer = QuotaLayer { gpus: Some(gpus), concurrent_jobs: Some(concurrent_jobs) };
        write_section(&layer, QUOTA_LAYER)
    },
};

const RATE_LIMIT: Format<RateLimit> = Format {
    read: |reader, node, path| read_section(reader, node, path, RATE_LIMITS, RateLimit::DEFAULT),
    schema: || json!({"$ref": "#/$defs/rate_limit"}),
    write: |limit| write_section(limit, RATE_LIMITS),
};

/// The names of the top-level fields of a policy.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
pub const FIELDS: &[&str] = &{
    let mut names = [""; POLICY.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = POLICY[i].name;
        i += 1;
    }
    names
};

/// Parses a policy. The decoder collects the violations.
pub(super) fn read(reader: &mut Reader, root: &Node) -> Option<PolicyFile> {
    read_section(reader, root, &Path::default(), POLICY, PolicyFile::default())
}

impl serde::Serialize for PolicyFile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_section(self, POLICY).serialize(serializer)
    }
}

/// Returns the JSON Schema of a policy, without its title.
pub(crate) fn schema() -> Json {
    let mut schema = section_schema(POLICY);
    if let Json::Object(schema) = &mut schema {
        let shared = json!({"limits": section_schema(LIMITS), "rate_limit": section_schema(RATE_LIMITS)});
        schema.insert("$defs".to_owned(), shared);
    }
    schema
}

/// Returns the JSON Schema of a mapping from names to values. A value can also be null.
fn map_schema(names: &str, value: Json) -> Json {
    json!({
        "type": "object",
        "propertyNames": {"pattern": names, "maxLength": 63},
        "additionalProperties": {"anyOf": [value, {"type": "null"}]},
    })
}

fn write_map<K: ToString, V>(map: &BTreeMap<K, V>, write: impl Fn(&V) -> Canonical) -> Canonical {
    Canonical::Map(map.iter().map(|(name, value)| (name.to_string(), write(value))).collect())
}
