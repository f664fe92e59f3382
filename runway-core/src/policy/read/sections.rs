//! The sections of a policy that are not bounds: GPU types, networks, images, and how jobs are run.

use super::values::{
    boolean, choice, cidr_fault, count32, is_dns_subdomain, is_extended_resource, is_label_value,
    is_qualified_name, name_fault, parsed, quantity, rate,
};
use crate::code::Code;
use crate::image::ImagePattern;
use crate::name::{ClassName, DnsLabel};
use crate::policy::file::{
    Cidr, GpuType, ImagePullPolicy, Images, InternalNetwork, NetworksLayer, RunSettings,
};
use crate::reader::{Fields, Reader, shortened};
use crate::units::Seconds;
use crate::violation::Violation;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Twelve hours: longer than any node is drained for.
const MAX_GRACE: Seconds = Seconds::new(12 * 3600);

pub(super) fn gpu_types(reader: &mut Reader, fields: &Fields<'_, '_>) -> BTreeMap<String, GpuType> {
    let Some((node, path)) = fields.get("gpu_types") else {
        return BTreeMap::new();
    };
    let entries = reader.entries(node, &path).unwrap_or_default();
    let mut types = BTreeMap::new();
    for (key, node) in entries {
        let path = path.join(&key.text);
        if let Err(error) = ClassName::check(&key.text) {
            let (code, message, _) = name_fault(&key.text, error);
            reader.violations.push(Violation::new(code, path.pointer(), message));
        }
        if node.is_null() {
            reader.missing(&path.join("usd_per_gpu_second"), "a GPU type needs a price");
        }
        let known = ["resource", "usd_per_gpu_second", "node_selector"];
        let Some(fields) = reader.fields(node, &path, &known) else {
            continue;
        };
        let resource = fields.get("resource").and_then(|(node, path)| reader.text(node, &path));
        let resource = resource.unwrap_or("nvidia.com/gpu").to_owned();
        if !is_extended_resource(&resource) {
            let message = format!(
                "`{}` is not the name of an extended resource such as `nvidia.com/gpu`",
                shortened(&resource)
            );
            reader.violations.push(Violation::new(
                Code::InvalidName,
                path.join("resource").pointer(),
                message,
            ));
        }
        let price = fields.get("usd_per_gpu_second");
        if price.is_none() {
            reader.missing(&path.join("usd_per_gpu_second"), "a GPU type needs a price");
        }
        let usd_per_gpu_second = price.and_then(|(node, path)| rate(reader, node, &path)).unwrap_or_default();
        let node_selector = node_selector(reader, &fields);
        types.insert(key.text.to_string(), GpuType { resource, usd_per_gpu_second, node_selector });
    }
    types
}

pub(super) fn node_selector(reader: &mut Reader, fields: &Fields<'_, '_>) -> BTreeMap<String, String> {
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
            reader.violations.push(Violation::new(Code::InvalidName, path.pointer(), message));
        }
        labels.insert(key.text.to_string(), value.to_owned());
    }
    labels
}

pub(super) fn networks(reader: &mut Reader, fields: &Fields<'_, '_>) -> NetworksLayer {
    let networks = fields.get("networks").and_then(|(node, path)| reader.fields(node, &path, &["internal"]));
    let internal = networks.as_ref().and_then(|networks| networks.get("internal"));
    let Some(internal) = internal.and_then(|(node, path)| reader.fields(node, &path, &["cidrs"])) else {
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

pub(super) fn images(reader: &mut Reader, fields: &Fields<'_, '_>) -> Images {
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

pub(super) fn run(reader: &mut Reader, fields: &Fields<'_, '_>) -> RunSettings {
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
            Ok(()) if text.starts_with("kube-") || text == "default" => {
                let message = format!("`{text}` is Kubernetes' own: jobs need a namespace of theirs");
                reader
                    .violations
                    .push(Violation::new(Code::InvalidName, path.pointer(), message).requested(text));
            }
            Ok(()) => text.clone_into(&mut run.namespace),
            Err(error) => {
                let (code, message, _) = name_fault(text, error);
                reader.violations.push(Violation::new(code, path.pointer(), message).requested(text));
            }
        }
    }
    let mut duration = |name: &str, max: Seconds, into: &mut Seconds| {
        let Some((node, path)) = fields.get(name) else { return };
        let Some(value) = quantity::<Seconds>(reader, node, &path) else { return };
        if value > max {
            let message = format!("{value} is more than {max}");
            reader.violations.push(
                Violation::new(Code::InvalidQuantity, path.pointer(), message)
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
            let path = path.index(i);
            let Some(name) = reader.text(item, &path) else { continue };
            if is_dns_subdomain(name) {
                run.image_pull_secrets.push(name.to_owned());
            } else {
                let message = format!("`{}` is not the name of a Secret", shortened(name));
                reader
                    .violations
                    .push(Violation::new(Code::InvalidName, path.pointer(), message).requested(name));
            }
        }
    }
    run
}
