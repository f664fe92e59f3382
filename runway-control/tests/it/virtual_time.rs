//! Time that jumps, randomness that repeats, and what every test starts from.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use runway_control::Surroundings;
use runway_core::policy::RateOverrides;
use runway_core::units::Timestamp;
use runway_core::{JobSpec, Policy};
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// A clock that follows the runtime's, which is paused, and randomness from a seed.
pub struct Virtual {
    began: Instant,
    random: Mutex<StdRng>,
}

impl Virtual {
    #[expect(clippy::disallowed_methods, reason = "the runtime's paused clock")]
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), random: Mutex::new(StdRng::seed_from_u64(seed)) })
    }
}

impl Surroundings for Virtual {
    fn now(&self) -> Timestamp {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap();
        Timestamp::from_seconds(1_795_248_000).saturating_add_nanos(nanos)
    }

    fn random(&self) -> u128 {
        let mut random = self.random.lock().unwrap();
        u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
    }
}

/// Runs a history to its end, its hours in milliseconds.
pub fn in_virtual_time<T>(history: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(history)
}

pub const POLICY: &str = "
version: 1
limits:
  cpu: {max: '4', default: 500m}
  memory: {max: 8Gi, default: 512Mi}
  gpu: {max: 4}
  timeout: {max: 1h, default: 10m}
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
rate_limit: {per_minute: 6000, burst: 1000}
quota: {gpus: 4, concurrent_jobs: 3}
capacity: {gpus: 6, concurrent_jobs: 6, rate_limit: {per_minute: 60000, burst: 10000}}
";

pub fn policy() -> Arc<Policy> {
    Arc::new(Policy::parse(POLICY.as_bytes(), RateOverrides::default()).unwrap())
}

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
