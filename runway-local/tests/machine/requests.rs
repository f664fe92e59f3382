//! Job specs and create requests, for the tests and for the test launcher. The launcher is a program, so it
//! cannot use the development dependency `runway-testing`.

use runway_control::backend::CreateRequest;
use runway_core::policy::PriceOverrides;
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission, units::Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// Returns a request to create a job that the policy must admit.
pub fn create_request(policy: &str, spec: JobSpec) -> CreateRequest {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let policy = Arc::new(Policy::parse(policy.as_bytes(), PriceOverrides::default()).unwrap());
    let bits = (u128::from(std::process::id()) << 64) | u128::from(COUNT.fetch_add(1, Ordering::Relaxed));
    let id = JobId::from_random(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let mut gate = Gate::new(Arc::clone(&policy), HashSeed(1, 2));
    let decision = gate.submit(id, &Submission::from(spec), Timestamp::from_seconds(1_795_248_000)).unwrap();
    let admitted = decision.admitted().unwrap_or_else(|| panic!("{:?}", decision.violations())).clone();
    CreateRequest { id, admitted, policy }
}
