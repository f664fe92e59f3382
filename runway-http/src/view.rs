//! Converts jobs of the control plane to the representation of the API.

use runway_api::{JobFacts, JobView};
use runway_control::JobRecord;
use runway_core::units::Timestamp;

/// Returns the API view of a job at the time `now`.
pub(crate) fn job_view(record: &JobRecord, now: Timestamp) -> JobView {
    let snapshot = &record.snapshot;
    JobView::from(JobFacts {
        id: snapshot.id,
        name: &snapshot.name,
        tenant: &snapshot.tenant,
        class: snapshot.class.as_ref(),
        created_at: snapshot.created_at,
        quote: snapshot.quote.as_ref(),
        status: &snapshot.status,
        cost_usd: record.bill(now).map(|bill| bill.usd),
        observed_at: record.observed_at,
    })
}
