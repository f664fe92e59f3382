//! Converts jobs of the control plane to the representation of the API.

use runway_api::{JobFacts, JobView};
use runway_control::JobRecord;
use runway_core::units::Timestamp;

/// Returns the API view of a job at the time `now`.
pub(crate) fn job_view(record: &JobRecord, now: Timestamp) -> JobView {
    let seen = &record.seen;
    JobView::from(JobFacts {
        id: seen.id,
        name: &seen.name,
        tenant: &seen.tenant,
        class: seen.class.as_ref(),
        created_at: seen.created_at,
        quote: seen.quote.as_ref(),
        status: &seen.status,
        cost_usd: record.bill(now).map(|bill| bill.usd),
        observed_at: record.observed_at,
    })
}
