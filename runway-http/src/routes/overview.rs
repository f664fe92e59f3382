//! `/`: the read-only overview page for operators, with live updates through server-sent events.

use super::NO_STORE;
use crate::pages::SECURITY_POLICY;
use crate::pages::overview::{MAX_JOBS, MAX_TENANTS, Overview, RenderedOverview, page};
use crate::problem::{ApiError, ProblemKind};
use crate::request::tenant::TenantScope;
use crate::state::AppState;
use crate::streaming::StreamingResponse;
use crate::view::job_view;
use axum::Extension;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::StreamExt;
use runway_control::{JobFilter, TenantUsage};
use runway_core::Tenant;
use runway_core::status::Phase;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use utoipa_axum::router::OpenApiRouter;

/// Interval between two checks for changes of the page.
const UPDATE_INTERVAL: Duration = Duration::from_secs(2);

/// Interval of the `alive` events while the page does not change. The script reports an outage after 40 s
/// without an event.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Age up to which readers share the rendered parts of the page.
const MAX_AGE: Duration = Duration::from_secs(1);

const SCRIPT: &str = include_str!("../pages/overview.js");
const ICON: &[u8] = include_bytes!("../pages/favicon.ico");

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .route("/", get(index))
        .route("/overview.js", get(script))
        .route("/favicon.ico", get(icon))
        .route("/overview/events", get(events))
}

async fn index(State(state): State<AppState>, scope: TenantScope) -> Response {
    let slot = state.overview().slot(scope.0.as_ref());
    let overview = slot.get(MAX_AGE, || render(&state, &scope)).await;
    let page = page(&overview).into_string();
    ([NO_STORE, (CONTENT_SECURITY_POLICY, SECURITY_POLICY)], axum::response::Html(page)).into_response()
}

async fn script() -> Response {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), (CACHE_CONTROL, "no-cache")], SCRIPT).into_response()
}

/// Browsers request this path for every page, including responses in JSON.
async fn icon() -> Response {
    ([(CONTENT_TYPE, "image/x-icon"), (CACHE_CONTROL, "max-age=86400")], ICON).into_response()
}

/// Sends the parts of the page as JSON when they differ from the last event.
async fn events(State(state): State<AppState>, scope: TenantScope) -> Result<Response, ApiError> {
    let Some(permit) = state.concurrency().try_acquire_log_reader() else {
        return Err(ApiError::new(
            ProblemKind::Overloaded,
            "too many log readers are connected; retry later",
        )
        .with_retry_after(5));
    };
    let mut draining = state.subscribe_draining();
    let drained = Box::pin(async move {
        // `wait_for` fails only if the sender is dropped, which also means that the server is exiting.
        let _ = draining.wait_for(|draining| *draining).await;
    });
    let slot = state.overview().slot(scope.0.as_ref());
    let no_event: Option<Arc<RenderedOverview>> = None;
    let updates = futures::stream::unfold((slot, no_event), move |(slot, last)| {
        let (state, scope) = (state.clone(), scope.clone());
        async move {
            loop {
                // Send the first event immediately.
                if last.is_some() {
                    tokio::time::sleep(UPDATE_INTERVAL).await;
                }
                let now = slot.get(MAX_AGE, || render(&state, &scope)).await;
                if last.as_ref().is_none_or(|last| last.json != now.json) {
                    return Some((Arc::clone(&now), (slot, Some(now))));
                }
            }
        }
    });
    let events = updates.take_until(drained).map(move |overview| {
        let _permit = &permit;
        Ok::<_, Infallible>(Event::default().data(&overview.json))
    });
    // By default, axum sends comments. Scripts cannot observe them, and so cannot detect a silent connection.
    let alive =
        KeepAlive::new().interval(ALIVE_INTERVAL).event(Event::default().event("alive").data("alive"));
    let events = Sse::new(events).keep_alive(alive);
    Ok((Extension(StreamingResponse), [NO_STORE], events).into_response())
}

fn render(state: &AppState, scope: &TenantScope) -> RenderedOverview {
    RenderedOverview::new(&build_overview(state, scope))
}

/// Removes the tenants beyond [`MAX_TENANTS`]: those that hold the fewest GPUs, then the fewest jobs. Returns
/// their number.
fn omit_tenants(tenants: &mut BTreeMap<Tenant, TenantUsage>) -> usize {
    let omitted = tenants.len().saturating_sub(MAX_TENANTS);
    if omitted > 0 {
        let mut by_usage: Vec<_> = tenants
            .iter()
            .map(|(tenant, usage)| (usage.held.gpus, usage.held.jobs, tenant.clone()))
            .collect();
        by_usage.sort_unstable_by_key(|usage| (usage.0, usage.1));
        for (_, _, tenant) in by_usage.into_iter().take(omitted) {
            tenants.remove(&tenant);
        }
    }
    omitted
}

/// Collects the current data of the page.
fn build_overview(state: &AppState, scope: &TenantScope) -> Overview {
    let plane = state.plane();
    let now = plane.now();
    let watch = plane.watch_state();
    let records = plane.jobs(&JobFilter { tenant: scope.0.clone(), ..JobFilter::default() }).items;
    let (mut phases, mut per_hour, mut ceilings) = (BTreeMap::new(), Vec::new(), Vec::new());
    for phase in Phase::ALL {
        phases.insert(phase, 0);
    }
    for record in records.iter().filter(|record| !record.gone) {
        let status = &record.snapshot.status;
        *phases.entry(status.phase).or_default() += 1;
        if let Some(quote) = record.snapshot.quote.as_ref().filter(|_| status.occupies_resources) {
            ceilings.push(quote.ceiling);
            if status.phase == Phase::Running {
                per_hour.push(quote.per_hour);
            }
        }
    }
    // Active jobs come first. `records` is sorted from newest to oldest, and so are both parts.
    let (active, finished): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.snapshot.status.occupies_resources);
    let shown = active.into_iter().chain(finished).take(MAX_JOBS);
    let shows_all_tenants = scope.0.is_none();
    let (held, _) = plane.cluster_usage();
    let policy = plane.policy();
    let mut tenants = plane.tenants();
    tenants.retain(|tenant, _| scope.includes(tenant.as_str()));
    let omitted_tenants = omit_tenants(&mut tenants);
    Overview {
        now,
        connected: watch.connected,
        last_event_at: watch.last_event_at,
        ready: plane.is_ready(),
        policy: policy.digest(),
        phases,
        usd_per_hour: per_hour.into_iter().sum(),
        total_ceiling: ceilings.into_iter().sum(),
        gpus: shows_all_tenants.then(|| (held.gpus, policy.capacity().gpus.units())),
        tenants,
        omitted_tenants,
        jobs: shown.map(|record| job_view(record, now)).collect(),
        omitted_jobs: records.len().saturating_sub(MAX_JOBS),
        refusals: shows_all_tenants.then(|| state.metrics().refusals_last_hour(now)),
    }
}
