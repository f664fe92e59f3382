//! LimitRange: the resources that one container and one pod may request, and their defaults.

use super::{NamespaceScope, OBJECT_NAME};
use crate::policy::{Bounds, Limits};
use crate::render::quantity;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::fmt::Display;

/// The bounds of one resource over all jobs.
struct ResourceRange {
    min: Quantity,
    max: Quantity,
    default: Quantity,
}

/// Returns the range from the smallest to the largest request of any job, with requests equal to limits. A
/// pod has the same maximum as a container, because several containers would otherwise bypass it. Returns
/// `None` if no job can be admitted.
///
/// GPUs are left out. In a LimitRange, the maximum is also the default limit, so every pod without GPUs would
/// get the maximum. With a default of zero, autoscalers and some admission plugins would still treat every
/// pod as a GPU pod. The quota limits GPUs instead.
pub(super) fn limit_range(scope: &NamespaceScope<'_>) -> Option<LimitRange> {
    let ranges = [
        ("cpu", resource_range(scope, |limits| &limits.cpu)?),
        ("memory", resource_range(scope, |limits| &limits.memory)?),
        ("ephemeral-storage", resource_range(scope, |limits| &limits.ephemeral_storage)?),
    ];
    let all = |pick: fn(&ResourceRange) -> Quantity| {
        let amounts = ranges.iter().map(|(resource, range)| ((*resource).to_owned(), pick(range)));
        Some(amounts.collect::<BTreeMap<_, _>>())
    };
    let max = all(|range| range.max.clone());
    let container = LimitRangeItem {
        type_: "Container".to_owned(),
        min: all(|range| range.min.clone()),
        max: max.clone(),
        default: all(|range| range.default.clone()),
        default_request: all(|range| range.default.clone()),
        max_limit_request_ratio: all(|_| quantity(1)),
    };
    let pod = LimitRangeItem { type_: "Pod".to_owned(), max, ..LimitRangeItem::default() };
    Some(LimitRange {
        metadata: scope.metadata(OBJECT_NAME),
        spec: Some(LimitRangeSpec { limits: vec![container, pod] }),
    })
}

fn resource_range<T: Ord + Copy + Display>(
    scope: &NamespaceScope<'_>,
    pick: fn(&Limits) -> &Bounds<T>,
) -> Option<ResourceRange> {
    let min = scope.limits().map(|limits| pick(limits).min.value).min()?;
    let max = scope.limits().map(|limits| pick(limits).max.value).max()?;
    let defaults = scope.tenants.iter().filter_map(|bounds| bounds.default_limits);
    let default =
        defaults.filter_map(|limits| pick(limits).default.as_ref()).map(|default| default.value).min();
    Some(ResourceRange {
        min: quantity(min),
        max: quantity(max),
        // If the policy has no default, the default is the minimum.
        default: quantity(default.unwrap_or(min)),
    })
}
