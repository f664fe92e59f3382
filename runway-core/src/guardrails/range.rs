//! LimitRange: the resources that one container and one pod may request, and their defaults.

use super::{NAME, Site};
use crate::policy::{Bounds, Limits};
use crate::render::quantity;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;
use std::fmt::Display;

/// The bounds of one resource over all jobs.
struct Span {
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
pub(super) fn range(site: &Site<'_>) -> Option<LimitRange> {
    let spans = [
        ("cpu", span(site, |limits| &limits.cpu)?),
        ("memory", span(site, |limits| &limits.memory)?),
        ("ephemeral-storage", span(site, |limits| &limits.ephemeral_storage)?),
    ];
    let all = |pick: fn(&Span) -> Quantity| {
        let amounts = spans.iter().map(|(resource, span)| ((*resource).to_owned(), pick(span)));
        Some(amounts.collect::<BTreeMap<_, _>>())
    };
    let max = all(|span| span.max.clone());
    let container = LimitRangeItem {
        type_: "Container".to_owned(),
        min: all(|span| span.min.clone()),
        max: max.clone(),
        default: all(|span| span.default.clone()),
        default_request: all(|span| span.default.clone()),
        max_limit_request_ratio: all(|_| quantity(1)),
    };
    let pod = LimitRangeItem { type_: "Pod".to_owned(), max, ..LimitRangeItem::default() };
    Some(LimitRange {
        metadata: site.metadata(NAME),
        spec: Some(LimitRangeSpec { limits: vec![container, pod] }),
    })
}

fn span<T: Ord + Copy + Display>(site: &Site<'_>, pick: fn(&Limits) -> &Bounds<T>) -> Option<Span> {
    let min = site.limits().map(|limits| pick(limits).min.value).min()?;
    let max = site.limits().map(|limits| pick(limits).max.value).max()?;
    let defaults = site.residents.iter().filter_map(|resident| resident.default);
    let default =
        defaults.filter_map(|limits| pick(limits).default.as_ref()).map(|default| default.value).min();
    Some(Span {
        min: quantity(min),
        max: quantity(max),
        // If the policy has no default, the default is the minimum.
        default: quantity(default.unwrap_or(min)),
    })
}
