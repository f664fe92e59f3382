//! Job specs for tests.

use runway_core::JobSpec;

/// Returns the spec of a job that requests this number of GPUs, which can be 0.
#[must_use]
pub fn spec(tenant: &str, name: &str, gpus: u64) -> JobSpec {
    let mut spec = JobSpec {
        name: Some(name.into()),
        tenant: Some(tenant.into()),
        image: Some("registry.internal/embed:1.8.0".into()),
        ..JobSpec::default()
    };
    spec.resources.gpu = Some(gpus.into());
    spec
}
