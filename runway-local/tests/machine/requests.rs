//! Builds job specs and create requests for the tests. A gate with a test policy admits each spec first.

use runway_control::backend::CreateRequest;
use runway_core::policy::PriceOverrides;
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission, units::Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const POLICY: &str = "
version: 1
limits:
  cpu: {min: 10m, max: '4', default: '1'}
  memory: {min: 1Mi, max: 4Gi, default: 64Mi}
  ephemeral_storage: {min: 1Mi, max: 20Gi, default: 64Mi}
  gpu: {max: 8}
  timeout: {min: 1s, max: 10m, default: 60s}
  retries: {max: 3, default: 0}
  network: [none, internal, open]
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
quota: {gpus: 1000, concurrent_jobs: 1000}
capacity: {gpus: 1000, concurrent_jobs: 1000}
rate_limit: {per_minute: 60000, burst: 1000}
run: {termination_grace: 2s, run_as_user: 65532}
";

/// Returns the spec of a job that runs a shell script.
pub fn script(text: &str) -> JobSpec {
    command(&["sh", "-c", text])
}

pub fn command(words: &[&str]) -> JobSpec {
    JobSpec {
        name: Some("job".into()),
        tenant: Some("search".into()),
        image: Some("busybox".into()),
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        ..JobSpec::default()
    }
}

pub fn create_request(spec: JobSpec) -> CreateRequest {
    create_request_with_policy(POLICY, spec)
}

pub fn create_request_with_policy(policy: &str, spec: JobSpec) -> CreateRequest {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let policy = Arc::new(Policy::parse(policy.as_bytes(), PriceOverrides::default()).unwrap());
    let bits = (u128::from(std::process::id()) << 64) | u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    let id = JobId::from_random(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let mut gate = Gate::new(Arc::clone(&policy), HashSeed(1, 2));
    let decision = gate.submit(id, &Submission::from(spec), Timestamp::from_seconds(1_795_248_000)).unwrap();
    let admitted = decision.admitted().unwrap_or_else(|| panic!("{:?}", decision.violations())).clone();
    CreateRequest { id, admitted, policy }
}
