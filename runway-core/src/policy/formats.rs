//! The formats of single values of a policy, and of lists of them.

use super::file::{Cidr, ImagePullPolicy, Network, UnknownTenants};
use super::section::{Canonical, Format};
use super::values::{
    boolean, choice, describe_cidr_error, describe_name_error, integer, is_dns_subdomain,
    is_extended_resource, is_label_value, is_qualified_name, non_zero, parsed, quantity, timeout, unit_price,
};
use crate::code::Code;
use crate::decoder::{Decoder, Path, shorten};
use crate::document::{Node, ScalarKind, Value};
use crate::image::ImagePattern;
use crate::name::{ClassName, DnsLabel};
use crate::schema_parts::{self, CLASS_PATTERN};
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds, UnitPrice};
use crate::violation::Violation;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// The largest user id, number of retries and TTL in seconds that Kubernetes accepts.
pub(super) const MAX_I32: u64 = i32::MAX.unsigned_abs() as u64;
/// The maximum of a rate limit per minute and of a burst. A higher limit would have no effect in practice.
const MAX_PER_MINUTE: u64 = 1_000_000;

pub(super) const VERSION: Format<u8> = Format {
    read: |decoder, node, path| {
        if !matches!(&node.value, Value::Scalar(ScalarKind::Integer, text) if text == "1") {
            let message = "this version of Runway supports only `version: 1`";
            let violation = Violation::new(Code::UnsupportedVersion, path.pointer(), message);
            decoder.violations.push(violation.requested(node.to_json()).one_of([1]).fix(1));
        }
        Some(1)
    },
    schema: || json!({"const": 1}),
    write: |version| Canonical::Number((*version).into()),
};

pub(super) const CPU: Format<CpuMillis> =
    Format { read: non_zero, schema: schema_parts::quantity, write: display };

pub(super) const MEMORY: Format<MemoryBytes> =
    Format { read: non_zero, schema: schema_parts::quantity, write: display };

pub(super) const GPU: Format<GpuCount> =
    Format { read: quantity, schema: schema_parts::quantity, write: display };

pub(super) const GPU_COUNT: Format<GpuCount> =
    Format { read: quantity, schema: schema_parts::quantity, write: |gpus| Canonical::Number(gpus.units()) };

pub(super) const TIMEOUT: Format<Seconds> =
    Format { read: timeout, schema: schema_parts::duration, write: display };

pub(super) const RETRIES: Format<u32> = Format { write: display, ..count::<0, MAX_I32>() };

pub(super) const PRICE: Format<UnitPrice> =
    Format { read: unit_price, schema: schema_parts::price, write: display };

pub(super) const STRING: Format<String> = Format {
    read: |decoder, node, path| decoder.string(node, path).map(str::to_owned),
    schema: schema_parts::string,
    write: display,
};

pub(super) const BOOLEAN: Format<bool> =
    Format { read: boolean, schema: || json!({"type": "boolean"}), write: |value| Canonical::Bool(*value) };

pub(super) const CLASS_NAME: Format<ClassName> = Format {
    read: |decoder, node, path| parsed(decoder, node, path, describe_name_error),
    schema: || json!({"type": "string", "pattern": CLASS_PATTERN}),
    write: display,
};

/// A number of submissions, for a rate or a burst.
pub(super) const SUBMISSIONS: Format<NonZeroU32> = Format {
    read: |decoder, node, path| {
        let count = integer(decoder, node, path, 1, MAX_PER_MINUTE)?;
        NonZeroU32::new(u32::try_from(count).ok()?)
    },
    schema: schema_parts::quantity,
    write: |count| Canonical::Number(count.get().into()),
};

/// A whole number from `MIN` to `MAX`.
pub(super) const fn count<const MIN: u64, const MAX: u64>() -> Format<u32> {
    Format {
        read: |decoder, node, path| u32::try_from(integer(decoder, node, path, MIN, MAX)?).ok(),
        schema: schema_parts::quantity,
        write: |count| Canonical::Number((*count).into()),
    }
}

/// A duration of at most `MAX` seconds.
pub(super) const fn seconds<const MAX: u64>() -> Format<Seconds> {
    Format {
        read: |decoder, node, path| {
            let (value, max) = (quantity::<Seconds>(decoder, node, path)?, Seconds::new(MAX));
            if value <= max {
                return Some(value);
            }
            let message = format!("{value} is more than {max}");
            let violation = Violation::new(Code::InvalidQuantity, path.pointer(), message);
            let violation = violation.requested(node.to_json()).range("0s", max.to_string());
            decoder.violations.push(violation.fix(max.to_string()));
            None
        },
        schema: schema_parts::duration,
        write: display,
    }
}

pub(super) const NETWORK_LIST: Format<Vec<Network>> = Format {
    read: |decoder, node, path| {
        let choices = Network::ALL.map(|network| (network.as_str(), network));
        let mut networks = Vec::new();
        for (i, item) in decoder.list(node, path)?.iter().enumerate() {
            let network = choice(decoder, item, &path.index(i), &choices)?;
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        Some(networks)
    },
    schema: || json!({"type": "array", "items": schema_parts::one_of(Network::ALL.map(Network::as_str)), "minItems": 1}),
    write: |networks| list(networks),
};

pub(super) const CIDRS: Format<Vec<Cidr>> = Format {
    read: |decoder, node, path| {
        Some(items(decoder, node, path, |r, n, p| parsed(r, n, p, describe_cidr_error)))
    },
    schema: schema_parts::strings,
    write: |cidrs| list(cidrs),
};

pub(super) const IMAGE_PATTERNS: Format<Vec<ImagePattern>> = Format {
    read: |decoder, node, path| {
        Some(items(decoder, node, path, |decoder, node, path| {
            parsed(decoder, node, path, |text, error| {
                (Code::InvalidPattern, format!("`{}` {error}", shorten(text)), Json::Null)
            })
        }))
    },
    schema: schema_parts::strings,
    write: |patterns| list(patterns),
};

pub(super) const SECRET_NAMES: Format<Vec<String>> = Format {
    read: |decoder, node, path| {
        Some(items(decoder, node, path, |decoder, node, path| {
            let name = decoder.string(node, path)?;
            if is_dns_subdomain(name) {
                return Some(name.to_owned());
            }
            let message = format!("`{}` is not a valid Secret name", shorten(name));
            let violation = Violation::new(Code::InvalidName, path.pointer(), message);
            decoder.violations.push(violation.requested(name));
            None
        }))
    },
    schema: schema_parts::strings,
    write: |names| list(names),
};

const UNKNOWN_TENANT_CHOICES: [(&str, UnknownTenants); 2] =
    [("allow", UnknownTenants::Allow), ("deny", UnknownTenants::Deny)];

pub(super) const UNKNOWN_TENANTS: Format<UnknownTenants> = Format {
    read: |decoder, node, path| choice(decoder, node, path, &UNKNOWN_TENANT_CHOICES),
    schema: || schema_parts::one_of(UNKNOWN_TENANT_CHOICES.map(|(name, _)| name)),
    write: |value| {
        let name =
            UNKNOWN_TENANT_CHOICES.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name);
        Canonical::Text(name.to_owned())
    },
};

pub(super) const PULL_POLICY: Format<ImagePullPolicy> = Format {
    read: |decoder, node, path| {
        choice(decoder, node, path, &ImagePullPolicy::ALL.map(|policy| (policy.as_str(), policy)))
    },
    schema: || schema_parts::one_of(ImagePullPolicy::ALL.map(ImagePullPolicy::as_str)),
    write: |policy| Canonical::Text(policy.as_str().to_owned()),
};

pub(super) const NAMESPACE: Format<String> = Format {
    read: |decoder, node, path| {
        let text = decoder.string(node, path)?;
        // Check the namespace with the shortest tenant name. The lengths of the namespaces of the listed
        // tenants are checked when the policy is resolved.
        let message = match DnsLabel::check(&text.replace("{tenant}", "t")) {
            Ok(()) if text.starts_with("kube-") || text == "default" => {
                format!("jobs cannot run in the Kubernetes namespace `{text}`; use another namespace")
            }
            Ok(()) => return Some(text.to_owned()),
            Err(error) => describe_name_error(text, error).1,
        };
        let violation = Violation::new(Code::InvalidName, path.pointer(), message);
        decoder.violations.push(violation.requested(text));
        None
    },
    schema: schema_parts::string,
    write: display,
};

pub(super) const EXTENDED_RESOURCE: Format<String> = Format {
    read: |decoder, node, path| {
        let resource = decoder.string(node, path)?;
        if !is_extended_resource(resource) {
            let resource = shorten(resource);
            let message =
                format!("`{resource}` is not the name of an extended resource such as `nvidia.com/gpu`");
            decoder.violations.push(Violation::new(Code::InvalidName, path.pointer(), message));
        }
        Some(resource.to_owned())
    },
    schema: schema_parts::string,
    write: display,
};

/// Labels of nodes.
pub(super) const NODE_LABELS: Format<BTreeMap<String, String>> = Format {
    read: |decoder, node, path| {
        let mut labels = BTreeMap::new();
        for (key, node) in decoder.entries(node, path).unwrap_or_default() {
            let path = path.join(&key.text);
            let Some(value) = decoder.string(node, &path) else { continue };
            if !is_qualified_name(&key.text) || !(value.is_empty() || is_label_value(value)) {
                let message = "expected a node label `prefix/name: value` with letters, digits, `-`, `_` and `.`, at most 63 characters each";
                decoder.violations.push(Violation::new(Code::InvalidName, path.pointer(), message));
            }
            labels.insert(key.text.to_string(), value.to_owned());
        }
        Some(labels)
    },
    schema: || json!({"type": "object", "additionalProperties": schema_parts::string()}),
    write: |labels| {
        Canonical::Map(labels.iter().map(|(name, value)| (name.clone(), display(value))).collect())
    },
};

fn display<T: ToString>(value: &T) -> Canonical {
    Canonical::Text(value.to_string())
}

fn list<T: ToString>(values: &[T]) -> Canonical {
    Canonical::List(values.iter().map(display).collect())
}

/// Parses the items of a list, and omits the invalid ones.
fn items<T>(
    decoder: &mut Decoder,
    node: &Node,
    path: &Path<'_>,
    read: impl Fn(&mut Decoder, &Node, &Path<'_>) -> Option<T>,
) -> Vec<T> {
    let items = decoder.list(node, path).unwrap_or_default();
    items.iter().enumerate().filter_map(|(i, item)| read(decoder, item, &path.index(i))).collect()
}
