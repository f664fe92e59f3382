//! The formats of single values of a policy, and of lists of them.

use super::file::{Cidr, ImagePullPolicy, Network, UnknownTenants};
use super::section::{Canonical, Format};
use super::values::{
    above_zero, boolean, choice, cidr_fault, is_dns_subdomain, is_extended_resource, is_label_value,
    is_qualified_name, name_fault, parsed, quantity, rate, timeout, whole,
};
use crate::code::Code;
use crate::document::{Node, ScalarKind, Value};
use crate::image::ImagePattern;
use crate::name::{ClassName, DnsLabel};
use crate::reader::{Path, Reader, shortened};
use crate::shape::{self, CLASS};
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds, UsdRate};
use crate::violation::Violation;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// The largest user id, number of retries and TTL in seconds that Kubernetes accepts.
pub(super) const MAX_I32: u64 = i32::MAX.unsigned_abs() as u64;
/// One million submissions per minute. A higher limit would have no effect.
const MAX_PER_MINUTE: u64 = 1_000_000;

pub(super) const VERSION: Format<u8> = Format {
    read: |reader, node, path| {
        if !matches!(&node.value, Value::Scalar(ScalarKind::Integer, text) if text == "1") {
            let message = "this version of Runway supports only `version: 1`";
            let violation = Violation::new(Code::UnsupportedVersion, path.pointer(), message);
            reader.violations.push(violation.requested(node.to_json()).one_of([1]).fix(1));
        }
        Some(1)
    },
    schema: || json!({"const": 1}),
    write: |version| Canonical::Number((*version).into()),
};

pub(super) const CPU: Format<CpuMillis> =
    Format { read: above_zero, schema: shape::quantity, write: display };

pub(super) const MEMORY: Format<MemoryBytes> =
    Format { read: above_zero, schema: shape::quantity, write: display };

pub(super) const GPU: Format<GpuCount> = Format { read: quantity, schema: shape::quantity, write: display };

pub(super) const GPU_COUNT: Format<GpuCount> =
    Format { read: quantity, schema: shape::quantity, write: |gpus| Canonical::Number(gpus.units()) };

pub(super) const TIMEOUT: Format<Seconds> = Format { read: timeout, schema: shape::duration, write: display };

pub(super) const RETRIES: Format<u32> = Format { write: display, ..count::<0, MAX_I32>() };

pub(super) const PRICE: Format<UsdRate> = Format { read: rate, schema: shape::price, write: display };

pub(super) const TEXT: Format<String> = Format {
    read: |reader, node, path| reader.text(node, path).map(str::to_owned),
    schema: shape::text,
    write: display,
};

pub(super) const BOOLEAN: Format<bool> =
    Format { read: boolean, schema: || json!({"type": "boolean"}), write: |value| Canonical::Bool(*value) };

pub(super) const CLASS_NAME: Format<ClassName> = Format {
    read: |reader, node, path| parsed(reader, node, path, name_fault),
    schema: || json!({"type": "string", "pattern": CLASS}),
    write: display,
};

/// A number of submissions, for a rate or a burst.
pub(super) const SUBMISSIONS: Format<NonZeroU32> = Format {
    read: |reader, node, path| {
        let count = whole(reader, node, path, 1, MAX_PER_MINUTE)?;
        NonZeroU32::new(u32::try_from(count).ok()?)
    },
    schema: shape::quantity,
    write: |count| Canonical::Number(count.get().into()),
};

/// A whole number from `MIN` to `MAX`.
pub(super) const fn count<const MIN: u64, const MAX: u64>() -> Format<u32> {
    Format {
        read: |reader, node, path| u32::try_from(whole(reader, node, path, MIN, MAX)?).ok(),
        schema: shape::quantity,
        write: |count| Canonical::Number((*count).into()),
    }
}

/// A duration of at most `MAX` seconds.
pub(super) const fn seconds<const MAX: u64>() -> Format<Seconds> {
    Format {
        read: |reader, node, path| {
            let (value, max) = (quantity::<Seconds>(reader, node, path)?, Seconds::new(MAX));
            if value <= max {
                return Some(value);
            }
            let message = format!("{value} is more than {max}");
            let violation = Violation::new(Code::InvalidQuantity, path.pointer(), message);
            let violation = violation.requested(node.to_json()).range("0s", max.to_string());
            reader.violations.push(violation.fix(max.to_string()));
            None
        },
        schema: shape::duration,
        write: display,
    }
}

pub(super) const NETWORK_LIST: Format<Vec<Network>> = Format {
    read: |reader, node, path| {
        let choices = Network::ALL.map(|network| (network.as_str(), network));
        let mut networks = Vec::new();
        for (i, item) in reader.list(node, path)?.iter().enumerate() {
            let network = choice(reader, item, &path.index(i), &choices)?;
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        Some(networks)
    },
    schema: || json!({"type": "array", "items": shape::one_of(Network::ALL.map(Network::as_str)), "minItems": 1}),
    write: |networks| list(networks),
};

pub(super) const CIDRS: Format<Vec<Cidr>> = Format {
    read: |reader, node, path| Some(items(reader, node, path, |r, n, p| parsed(r, n, p, cidr_fault))),
    schema: shape::texts,
    write: |cidrs| list(cidrs),
};

pub(super) const IMAGE_PATTERNS: Format<Vec<ImagePattern>> = Format {
    read: |reader, node, path| {
        Some(items(reader, node, path, |reader, node, path| {
            parsed(reader, node, path, |text, error| {
                (Code::InvalidPattern, format!("`{}` {error}", shortened(text)), Json::Null)
            })
        }))
    },
    schema: shape::texts,
    write: |patterns| list(patterns),
};

pub(super) const SECRET_NAMES: Format<Vec<String>> = Format {
    read: |reader, node, path| {
        Some(items(reader, node, path, |reader, node, path| {
            let name = reader.text(node, path)?;
            if is_dns_subdomain(name) {
                return Some(name.to_owned());
            }
            let message = format!("`{}` is not a valid Secret name", shortened(name));
            let violation = Violation::new(Code::InvalidName, path.pointer(), message);
            reader.violations.push(violation.requested(name));
            None
        }))
    },
    schema: shape::texts,
    write: |names| list(names),
};

const UNKNOWN: [(&str, UnknownTenants); 2] =
    [("allow", UnknownTenants::Allow), ("deny", UnknownTenants::Deny)];

pub(super) const UNKNOWN_TENANTS: Format<UnknownTenants> = Format {
    read: |reader, node, path| choice(reader, node, path, &UNKNOWN),
    schema: || shape::one_of(UNKNOWN.map(|(name, _)| name)),
    write: |value| {
        let name = UNKNOWN.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name);
        Canonical::Text(name.to_owned())
    },
};

pub(super) const PULL_POLICY: Format<ImagePullPolicy> = Format {
    read: |reader, node, path| {
        choice(reader, node, path, &ImagePullPolicy::ALL.map(|policy| (policy.as_str(), policy)))
    },
    schema: || shape::one_of(ImagePullPolicy::ALL.map(ImagePullPolicy::as_str)),
    write: |policy| Canonical::Text(policy.as_str().to_owned()),
};

pub(super) const NAMESPACE: Format<String> = Format {
    read: |reader, node, path| {
        let text = reader.text(node, path)?;
        // Check with the shortest tenant name. The lengths with the listed tenants are checked later.
        let message = match DnsLabel::check(&text.replace("{tenant}", "t")) {
            Ok(()) if text.starts_with("kube-") || text == "default" => {
                format!("jobs cannot run in the Kubernetes namespace `{text}`; use another namespace")
            }
            Ok(()) => return Some(text.to_owned()),
            Err(error) => name_fault(text, error).1,
        };
        let violation = Violation::new(Code::InvalidName, path.pointer(), message);
        reader.violations.push(violation.requested(text));
        None
    },
    schema: shape::text,
    write: display,
};

pub(super) const EXTENDED_RESOURCE: Format<String> = Format {
    read: |reader, node, path| {
        let resource = reader.text(node, path)?;
        if !is_extended_resource(resource) {
            let resource = shortened(resource);
            let message =
                format!("`{resource}` is not the name of an extended resource such as `nvidia.com/gpu`");
            reader.violations.push(Violation::new(Code::InvalidName, path.pointer(), message));
        }
        Some(resource.to_owned())
    },
    schema: shape::text,
    write: display,
};

/// Labels of nodes.
pub(super) const NODE_LABELS: Format<BTreeMap<String, String>> = Format {
    read: |reader, node, path| {
        let mut labels = BTreeMap::new();
        for (key, node) in reader.entries(node, path).unwrap_or_default() {
            let path = path.join(&key.text);
            let Some(value) = reader.text(node, &path) else { continue };
            if !is_qualified_name(&key.text) || !(value.is_empty() || is_label_value(value)) {
                let message = "expected a node label `prefix/name: value` with letters, digits, `-`, `_` and `.`, at most 63 characters each";
                reader.violations.push(Violation::new(Code::InvalidName, path.pointer(), message));
            }
            labels.insert(key.text.to_string(), value.to_owned());
        }
        Some(labels)
    },
    schema: || json!({"type": "object", "additionalProperties": shape::text()}),
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
    reader: &mut Reader,
    node: &Node,
    path: &Path<'_>,
    read: impl Fn(&mut Reader, &Node, &Path<'_>) -> Option<T>,
) -> Vec<T> {
    let items = reader.list(node, path).unwrap_or_default();
    items.iter().enumerate().filter_map(|(i, item)| read(reader, item, &path.index(i))).collect()
}
