//! What one container and one pod may ask for, and what they get that ask for nothing.

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

/// From the least to the most that any job here may have, requests equal to limits. The pod has the maximum of the
/// container, since many containers would go round it. `None` where no job can be admitted.
///
/// GPUs are not here. To Kubernetes a maximum is also the default limit: every pod without GPUs would get the maximum of
/// them, or with a default of zero be taken for one of those that have some, by autoscalers and by the tolerations that
/// some clusters add. The quota bounds them.
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
        // Where the policy wants it said, nothing that goes unsaid should get more than the least.
        default: quantity(default.unwrap_or(min)),
    })
}
