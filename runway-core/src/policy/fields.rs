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
    NAMESPACE, NETWORK_LIST, NODE_LABELS, PRICE, PULL_POLICY, RETRIES, SECRET_NAMES, STRING, SUBMISSIONS,
    TIMEOUT, UNKNOWN_TENANTS, VERSION, count, seconds,
};
use super::section::{
    Canonical, Field, Format, canonical_entries, field, field_names, read_fields, read_section,
    schema_properties, section_schema, write_section,
};
use super::values::{describe_name_error, name_map};
use crate::decoder::{Decoder, Path};
use crate::document::{Node, Value};
use crate::name::{ClassName, Tenant};
use crate::price::UnitPrices;
use crate::rate::RateLimit;
use crate::schema_parts::{CLASS_PATTERN, LABEL_PATTERN, object};
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds};
use crate::violation::Violation;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// The maximum termination grace in seconds: twelve hours, which is longer than the drain of a node usually
/// takes.
const MAX_GRACE: u64 = 12 * 3600;
const MAX_U32: u64 = u32::MAX as u64;

/// The format of a section, with its table and its value for a policy that omits the whole section.
macro_rules! section {
    ($fields:expr, $missing:expr) => {
        Format {
            read: |decoder, node, path| read_section(decoder, node, path, $fields, $missing),
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
    field!(version, VERSION, always, "Version of the policy format.", required: "the policy needs `version: 1`"),
    field!(
        limits,
        BASE_LIMITS,
        always,
        "Base bounds, unless a class or tenant replaces them. `cpu.max`, `memory.max` and `timeout.max` are required.",
        required: "the policy needs `limits`, the base bounds of jobs"
    ),
    field!(default_class, CLASS_NAME, optional, "Class of a job that does not set one."),
    field!(classes, CLASSES, always, "Bounds per class. They replace the base bounds, field by field."),
    field!(
        gpu_types,
        GPU_TYPES,
        always,
        "GPU types. If the policy has any, every job with GPUs needs a type."
    ),
    field!(default_gpu_type, STRING, optional, "GPU type of a job that does not set one."),
    field!(
        networks,
        section!(NETWORKS, NetworksLayer::default()),
        always,
        "Address ranges of the named networks."
    ),
    field!(
        rates,
        section!(UNIT_PRICES, UnitPrices::default()),
        always,
        "Prices in USD.",
        required: "the policy needs `rates`, the prices of CPU, memory and GPUs"
    ),
    field!(rate_limit, RATE_LIMIT, always, "Rate limit of each tenant. Default: 60 per minute, burst of 10."),
    field!(quota, QUOTA, always, "GPUs and jobs that each tenant may hold at the same time."),
    field!(
        capacity,
        section!(CAPACITY, Capacity::default()),
        always,
        "GPUs and jobs that all tenants together may hold at the same time."
    ),
    field!(images, section!(IMAGES, Images::default()), always, "Images that jobs may use."),
    field!(
        unknown_tenants,
        UNKNOWN_TENANTS,
        always,
        "Rule for tenants that are not listed. Default: `allow`."
    ),
    field!(
        tenants,
        TENANTS,
        always,
        "Settings of single tenants. Bounds can only narrow; bounds in `classes` replace."
    ),
    field!(run, section!(RUN, RunSettings::default()), always, "Settings for running jobs."),
];

/// The bounds that every layer can set.
const LIMITS: &[Field<LimitsLayer>] = &[
    field!(cpu, bounds!(CPU, CpuMillis), if_set, "Cores, in steps of a thousandth."),
    field!(memory, bounds!(MEMORY, MemoryBytes), if_set, "Bytes of memory."),
    field!(
        ephemeral_storage,
        bounds!(MEMORY, MemoryBytes),
        if_set,
        "Bytes of scratch space and logs. The maximum and the default are 1Gi unless set."
    ),
    field!(gpu, bounds!(GPU, GpuCount), if_set, "Whole GPUs. The maximum is 0 unless set."),
    field!(
        timeout,
        bounds!(TIMEOUT, Seconds),
        if_set,
        "Time from the start to the end of the job, retries included."
    ),
    field!(
        retries,
        bounds!(RETRIES, u32),
        if_set,
        "Retries after a failed attempt. The maximum is 0 unless set."
    ),
    field!(
        network,
        NETWORK_LIST,
        optional,
        "Networks that a job may choose; a job that sets none gets the first. Default: `[none]`."
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
    field!(gpus, GPU_COUNT, optional, "GPUs of all types together. Default: 4."),
    field!(concurrent_jobs, count::<0, MAX_U32>(), optional, "Jobs at the same time. Default: 10."),
];

const CAPACITY: &[Field<Capacity>] = &[
    field!(gpus, GPU_COUNT, always, "GPUs of all tenants together. Default: 64."),
    field!(concurrent_jobs, count::<0, MAX_U32>(), always, "Jobs of all tenants together. Default: 500."),
    field!(
        rate_limit,
        RATE_LIMIT,
        always,
        "Rate limit of all tenants together. Default: 6000 per minute, burst of 500."
    ),
];

const RATE_LIMITS: &[Field<RateLimit>] = &[
    field!(
        per_minute,
        SUBMISSIONS,
        always,
        "Sustained submissions per minute: 1 to 1,000,000.",
        required: "a rate limit needs `per_minute` and `burst`"
    ),
    field!(
        burst,
        SUBMISSIONS,
        always,
        "Submissions at the same time: 1 to 1,000,000.",
        required: "a rate limit needs `per_minute` and `burst`"
    ),
];

const MISSING_PRICE: &str = "a price is required; use `\"0\"` if the resource is free";

const UNIT_PRICES: &[Field<UnitPrices>] = &[
    field!(
        usd_per_cpu_second,
        PRICE,
        always,
        "Price of one core for one second, with at most 12 decimals.",
        required: MISSING_PRICE
    ),
    field!(
        usd_per_gb_second,
        PRICE,
        always,
        "Price of 10^9 bytes of memory for one second.",
        required: MISSING_PRICE
    ),
    field!(
        usd_per_gpu_second,
        PRICE,
        always,
        "Price of a GPU without a type for one second.",
        required: MISSING_PRICE
    ),
];

const NETWORKS: &[Field<NetworksLayer>] =
    &[field!(internal, section!(INTERNAL, InternalNetwork::default()), optional, "")];

const INTERNAL: &[Field<InternalNetwork>] = &[field!(
    cidrs,
    CIDRS,
    always,
    "Address ranges that jobs with `network: internal` may reach, such as `10.0.0.0/8`."
)];

const MISSING_GPU_PRICE: &str = "a GPU type needs a price";

const GPU_TYPE: &[Field<GpuType>] = &[
    field!(
        resource,
        EXTENDED_RESOURCE,
        always,
        "Extended resource of the device plugin. Default: `nvidia.com/gpu`."
    ),
    field!(
        usd_per_gpu_second,
        PRICE,
        always,
        "Price of one GPU for one second.",
        required: MISSING_GPU_PRICE
    ),
    field!(node_selector, NODE_LABELS, always, "Labels of the nodes with this GPU type."),
];

const IMAGES: &[Field<Images>] = &[
    field!(
        allow,
        IMAGE_PATTERNS,
        always,
        "Patterns for the whole `host/path`: `*` within a segment, `**` across segments. Default: `[\"**\"]`."
    ),
    field!(require_digest, BOOLEAN, always, "Whether images must be named by digest. Default: `false`."),
];

const RUN: &[Field<RunSettings>] = &[
    field!(
        namespace,
        NAMESPACE,
        always,
        "Namespace of the jobs; `{tenant}` stands for the tenant. Default: `runway-jobs`."
    ),
    field!(
        ttl_after_finished,
        seconds::<MAX_I32>(),
        always,
        "Time after which a finished job is deleted. Default: `300s`."
    ),
    field!(
        termination_grace,
        seconds::<MAX_GRACE>(),
        always,
        "Time between SIGTERM and SIGKILL. Default: `30s`. Maximum: `12h`."
    ),
    field!(run_as_user, count::<1, MAX_I32>(), always, "User id of the process, never 0. Default: 65532."),
    field!(
        image_pull_policy,
        PULL_POLICY,
        always,
        "Kubernetes pull policy of the image. Default: `IfNotPresent`."
    ),
    field!(image_pull_secrets, SECRET_NAMES, always, "Secrets with registry credentials."),
];

/// The base bounds. They must contain the maximum of `cpu`, `memory` and `timeout`, which have no built-in
/// maximum.
const BASE_LIMITS: Format<LimitsLayer> = Format {
    read: |decoder, node, path| {
        let present = decoder.fields(node, path, &field_names(LIMITS).collect::<Vec<_>>())?;
        for field in ["cpu", "memory", "timeout"] {
            let has_max = present.get(field).is_some_and(|(node, _)| match &node.value {
                Value::Map(entries) => entries.iter().any(|(key, node)| key.text == "max" && !node.is_null()),
                _ => true, // reported as a wrong type
            });
            if !has_max {
                decoder.missing_field(&path.join(field).join("max"), "this maximum is required");
            }
        }
        let mut limits = LimitsLayer::default();
        read_fields(decoder, &present, path, LIMITS, &mut limits);
        Some(limits)
    },
    schema: limits_schema,
    write: |limits| write_section(limits, LIMITS),
};

fn limits_schema() -> Json {
    json!({"$ref": "#/$defs/limits"})
}

const CLASSES: Format<BTreeMap<ClassName, LimitsLayer>> = Format {
    read: |decoder, node, path| {
        Some(name_map(decoder, node, path, |decoder, node, path| {
            read_section(decoder, node, path, LIMITS, LimitsLayer::default())
        }))
    },
    schema: || map_schema(CLASS_PATTERN, limits_schema()),
    write: |classes| write_map(classes, |limits| write_section(limits, LIMITS)),
};

const TENANTS: Format<BTreeMap<Tenant, TenantLayer>> = Format {
    read: |decoder, node, path| Some(name_map(decoder, node, path, read_tenant)),
    schema: || {
        let mut fields = schema_properties(LIMITS);
        fields.extend(schema_properties(TENANT));
        map_schema(LABEL_PATTERN, object(fields.into(), &[]))
    },
    write: |tenants| {
        write_map(tenants, |tenant| {
            Canonical::Map(
                canonical_entries(&tenant.limits, LIMITS).chain(canonical_entries(tenant, TENANT)).collect(),
            )
        })
    },
};

fn read_tenant(decoder: &mut Decoder, node: &Node, path: &Path<'_>) -> Option<TenantLayer> {
    let present =
        decoder.fields(node, path, &field_names(LIMITS).chain(field_names(TENANT)).collect::<Vec<_>>())?;
    let mut tenant = TenantLayer::default();
    read_fields(decoder, &present, path, LIMITS, &mut tenant.limits);
    read_fields(decoder, &present, path, TENANT, &mut tenant);
    Some(tenant)
}

const GPU_TYPES: Format<BTreeMap<String, GpuType>> = Format {
    read: |decoder, node, path| Some(read_gpu_types(decoder, node, path)),
    schema: || map_schema(CLASS_PATTERN, section_schema(GPU_TYPE)),
    write: |types| write_map(types, |gpu| write_section(gpu, GPU_TYPE)),
};

fn read_gpu_types(decoder: &mut Decoder, node: &Node, path: &Path<'_>) -> BTreeMap<String, GpuType> {
    let mut types = BTreeMap::new();
    for (key, node) in decoder.entries(node, path).unwrap_or_default() {
        let path = path.join(&key.text);
        if let Err(error) = ClassName::check(&key.text) {
            let (code, message, _) = describe_name_error(&key.text, error);
            decoder.violations.push(Violation::new(code, path.pointer(), message));
        }
        if node.is_null() {
            decoder.missing_field(&path.join("usd_per_gpu_second"), MISSING_GPU_PRICE);
        }
        if let Some(gpu) = read_section(decoder, node, &path, GPU_TYPE, GpuType::unpriced()) {
            types.insert(key.text.to_string(), gpu);
        }
    }
    types
}

const QUOTA: Format<Quota> = Format {
    read: |decoder, node, path| {
        let layer = read_section(decoder, node, path, QUOTA_LAYER, QuotaLayer::default())?;
        let defaults = Quota::default();
        Some(Quota {
            gpus: layer.gpus.unwrap_or(defaults.gpus),
            concurrent_jobs: layer.concurrent_jobs.unwrap_or(defaults.concurrent_jobs),
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
    read: |decoder, node, path| read_section(decoder, node, path, RATE_LIMITS, RateLimit::DEFAULT),
    schema: || json!({"$ref": "#/$defs/rate_limit"}),
    write: |limit| write_section(limit, RATE_LIMITS),
};

/// The names of the top-level fields of a policy.
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated at compile time, which rejects an index out of bounds"
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
pub(super) fn read(decoder: &mut Decoder, root: &Node) -> Option<PolicyFile> {
    read_section(decoder, root, &Path::default(), POLICY, PolicyFile::default())
}

/// Returns the canonical form of a policy with the settings of at most this tenant.
pub(super) fn canonical_for(file: &PolicyFile, tenant: &str) -> Canonical {
    let own = file.tenants.get_key_value(tenant);
    let tenants: BTreeMap<_, _> =
        own.map(|(name, layer)| (name.clone(), layer.clone())).into_iter().collect();
    let entries = POLICY.iter().filter_map(|field| {
        let value = match field.name {
            "tenants" => (TENANTS.write)(&tenants),
            _ => (field.write)(file)?,
        };
        Some((field.name.to_owned(), value))
    });
    Canonical::Map(entries.collect())
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
