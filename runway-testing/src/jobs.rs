//! Job specs and create requests for tests.

use crate::env::START;
use runway_control::backend::CreateRequest;
use runway_control::{Env, SystemEnv};
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy};
use std::sync::Arc;

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

/// Returns a request to create a job. A new gate must admit the job. This gate holds no other jobs and does
/// not check the features of a backend.
#[must_use]
pub fn create_request(policy: &Arc<Policy>, id: JobId, spec: JobSpec) -> CreateRequest {
    let gate = Gate::new(Arc::clone(policy), HashSeed::default());
    let decision = gate.preview(&spec.into(), START);
    let admitted = decision.admitted().unwrap_or_else(|| panic!("{:?}", decision.violations())).clone();
    CreateRequest { id, admitted, policy: Arc::clone(policy) }
}

/// Returns a unique id.
#[must_use]
pub fn unique_id() -> JobId {
    JobId::from_random(SystemEnv.random())
}
