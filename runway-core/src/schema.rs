//! JSON Schemas (draft 2020-12) of the files that people write, for their editors.
//!
//! A schema knows the shape and the names; whether a job is admitted only the [`gate`](crate::gate) can say.

use crate::policy::{ImagePullPolicy, Network, Policy};
use crate::shape::{CLASS, LABEL, described, duration, object_of, price, quantity};
use serde_json::{Value as Json, json};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The schema of a job file. The classes, GPU types and networks are those of the policy.
#[must_use]
pub fn job(policy: &Policy) -> Json {
    titled("A Runway job", crate::spec::schema::job(policy))
}

/// The schema of a policy file.
#[must_use]
pub fn policy() -> Json {
    let named = |value: Json| json!({"type": "object", "propertyNames": {"pattern": CLASS, "maxLength": 63}, "additionalProperties": {"anyOf": [value, {"type": "null"}]}});
    let rate_limit = json!({"$ref": "#/$defs/rate_limit"});
    let quota = json!({
        "gpus": described(quantity(), "GPUs of all types together. 4 where left out."),
        "concurrent_jobs": described(quantity(), "Jobs that have not ended. 10 where left out."),
    });
    let networks = object_of(
        json!({
            "internal": object_of(json!({
                "cidrs": {"type": "array", "items": {"type": "string"}, "description": "Address ranges that jobs with `network: internal` may reach: `10.0.0.0/8`."},
            }), &[]),
        }),
        &[],
    );
    let mut tenant = limits();
    let own = json!({
        "classes": named(json!({"$ref": "#/$defs/limits"})),
        "quota": object_of(quota.clone(), &[]),
        "rate_limit": rate_limit,
        "networks": networks,
    });
    if let (Some(Json::Object(bounds)), Json::Object(own)) = (tenant.get_mut("properties"), own) {
        bounds.extend(own);
    }
    let price = |what: &str| described(price(), what);
    let mut schema = titled(
        "A Runway policy",
        object_of(
            json!({
                "version": {"const": 1, "description": "The version of this format."},
                "limits": described(json!({"$ref": "#/$defs/limits"}), "The base: bounds that hold where nothing else is said. `cpu.max`, `memory.max` and `timeout.max` are needed."),
                "default_class": {"type": "string", "pattern": CLASS, "description": "The class of a job that names none."},
                "classes": described(named(json!({"$ref": "#/$defs/limits"})), "Bounds for kinds of work. They replace the base's, field by field."),
                "gpu_types": described(named(object_of(json!({
                    "resource": {"type": "string", "description": "The extended resource of the device plugin. `nvidia.com/gpu` where left out."},
                    "usd_per_gpu_second": price("The price of one GPU for a second."),
                    "node_selector": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Labels of the nodes that have it."},
                }), &["usd_per_gpu_second"])), "Kinds of GPU. Where there are any, a job with GPUs names one."),
                "default_gpu_type": {"type": "string", "description": "The GPU type of a job that names none."},
                "networks": described(networks, "What the named networks reach."),
                "rates": described(object_of(json!({
                    "usd_per_cpu_second": price("The price of a core for a second, with at most 12 decimals."),
                    "usd_per_gb_second": price("The price of 10^9 bytes of memory for a second."),
                    "usd_per_gpu_second": price("The price of a GPU without a type for a second."),
                }), &["usd_per_cpu_second", "usd_per_gb_second", "usd_per_gpu_second"]), "Prices in USD."),
                "rate_limit": described(rate_limit.clone(), "How fast each tenant may submit. 60 a minute, 10 at once, where left out."),
                "quota": described(object_of(quota, &[]), "How much each tenant may hold at a time."),
                "capacity": described(object_of(json!({
                    "gpus": described(quantity(), "GPUs of all tenants together. 64 where left out."),
                    "concurrent_jobs": described(quantity(), "Jobs of all tenants together. 500 where left out."),
                    "rate_limit": described(rate_limit, "Submissions of all tenants together. 6000 a minute, 500 at once, where left out."),
                }), &[]), "How much all tenants together may hold at a time."),
                "images": described(object_of(json!({
                    "allow": {"type": "array", "items": {"type": "string"}, "description": "Patterns over the whole `host/path`: `*` within a segment, `**` across them. `[\"**\"]` where left out."},
                    "require_digest": {"type": "boolean", "description": "Whether images must be named by digest. `false` where left out."},
                }), &[]), "Which images may run."),
                "unknown_tenants": {"enum": ["allow", "deny"], "description": "What becomes of tenants that are not listed. `allow` where left out."},
                "tenants": {
                    "type": "object",
                    "propertyNames": {"pattern": LABEL, "maxLength": 63},
                    "additionalProperties": {"anyOf": [tenant, {"type": "null"}]},
                    "description": "What single tenants have of their own. Bare bounds only narrow; `classes` replace.",
                },
                "run": described(object_of(json!({
                    "namespace": {"type": "string", "description": "Where jobs run; `{tenant}` stands for the tenant. `runway-jobs` where left out."},
                    "ttl_after_finished": described(duration(), "How long an ended job is kept. `300s` where left out."),
                    "termination_grace": described(duration(), "Between SIGTERM and SIGKILL. `30s` where left out, `12h` at most."),
                    "run_as_user": described(quantity(), "The user id of the process, never 0. 65532 where left out."),
                    "image_pull_policy": {"enum": ImagePullPolicy::ALL.map(ImagePullPolicy::as_str), "description": "`IfNotPresent` where left out."},
                    "image_pull_secrets": {"type": "array", "items": {"type": "string"}, "description": "Secrets with registry credentials."},
                }), &[]), "How jobs are run."),
            }),
            &["version", "limits", "rates"],
        ),
    );
    if let Json::Object(schema) = &mut schema {
        schema.insert(
            "$defs".to_owned(),
            json!({
                "limits": limits(),
                "rate_limit": object_of(json!({
                    "per_minute": described(quantity(), "Submissions a minute in the long run: 1 to 1,000,000."),
                    "burst": described(quantity(), "Submissions at once: 1 to 1,000,000."),
                }), &["per_minute", "burst"]),
            }),
        );
    }
    schema
}

/// The bounds that every layer may set.
fn limits() -> Json {
    let bound = |value: fn() -> Json, what: &str| {
        described(object_of(json!({"min": value(), "max": value(), "default": value()}), &[]), what)
    };
    object_of(
        json!({
            "cpu": bound(quantity, "Cores, to a thousandth."),
            "memory": bound(quantity, "Bytes of memory."),
            "ephemeral_storage": bound(quantity, "Bytes of scratch space and logs. At most 1Gi, and that by default, where left out."),
            "gpu": bound(quantity, "Whole GPUs. None where left out."),
            "timeout": bound(duration, "From the start of the job to its end, retries included."),
            "retries": bound(quantity, "Repetitions of a failed attempt. None where left out."),
            "network": {"type": "array", "items": {"enum": Network::ALL.map(Network::as_str)}, "minItems": 1, "description": "The networks that a job may choose; the first is the default. `[none]` where left out."},
        }),
        &[],
    )
}

fn titled(title: &str, mut schema: Json) -> Json {
    if let Json::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), DRAFT.into());
        schema.insert("title".to_owned(), title.into());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{FIELDS, RESOURCE_FIELDS};

    #[test]
    fn the_schemas_have_the_fields_that_are_read() {
        let names = |schema: &Json| {
            let mut names: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
            names.sort();
            names
        };
        let sorted = |names: &[&str]| {
            let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
            names.sort();
            names
        };
        let default = Policy::builtin();
        assert_eq!(names(&job(&default)), sorted(FIELDS));
        assert_eq!(names(&job(&default)["properties"]["resources"]), sorted(RESOURCE_FIELDS));
        assert_eq!(names(&policy()), sorted(crate::policy::FIELDS));
    }
}
