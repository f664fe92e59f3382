//! Policies for tests. A test that needs another value replaces it in the text.

use runway_core::Policy;
use runway_core::policy::PriceOverrides;
use std::sync::Arc;

/// Returns the text of a policy: the bounds and prices that several policies share, and the rest.
macro_rules! with_bounds {
    ($rest:literal) => {
        concat!(
            "
version: 1
limits:
  cpu: {max: '4', default: 500m}
  memory: {max: 8Gi, default: 512Mi}
  gpu: {max: 4}
  timeout: {max: 1h, default: 10m}
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
",
            $rest
        )
    };
}

/// A policy with small quotas and a small capacity. No test reaches its rate limits.
pub const SMALL: &str = with_bounds!(
    "rate_limit: {per_minute: 6000, burst: 1000}
quota: {gpus: 4, concurrent_jobs: 3}
capacity: {gpus: 6, concurrent_jobs: 6, rate_limit: {per_minute: 60000, burst: 10000}}
"
);

/// A policy with small quotas and a small rate limit. The tenant `listed` has a higher job quota and a higher
/// rate limit.
pub const LISTED_TENANT: &str = with_bounds!(
    "rate_limit: {per_minute: 60, burst: 10}
quota: {gpus: 4, concurrent_jobs: 3}
tenants: {listed: {quota: {concurrent_jobs: 100}, rate_limit: {per_minute: 6000, burst: 1000}}}
"
);

/// A policy without GPUs. No test reaches its quotas, its capacity and its rate limits.
pub const UNLIMITED: &str = r#"
version: 1
limits:
  cpu: {min: 10m, max: "4", default: 500m}
  memory: {min: 16Mi, max: 8Gi, default: 512Mi}
  gpu: {max: 0}
  timeout: {min: 1s, max: 1h, default: 10m}
rates: {usd_per_cpu_second: "0.00001", usd_per_gb_second: "0.000001", usd_per_gpu_second: "0.0007"}
rate_limit: {per_minute: 600000, burst: 100000}
quota: {gpus: 0, concurrent_jobs: 100000}
capacity: {gpus: 0, concurrent_jobs: 100000, rate_limit: {per_minute: 1000000, burst: 1000000}}
"#;

/// The policy of the cluster tests. It contains the placeholder `NAMESPACE`; see [`in_namespace`].
pub const CLUSTER: &str = r#"
version: 1
limits:
  cpu: {min: 10m, max: "1000", default: 10m}
  memory: {min: 8Mi, max: 8Gi, default: 16Mi}
  ephemeral_storage: {min: 1Mi, max: 1Gi, default: 16Mi}
  gpu: {max: 8}
  timeout: {min: 1s, max: 1h, default: 5m}
  retries: {max: 3, default: 0}
rates: {usd_per_cpu_second: "0.00001", usd_per_gb_second: "0.000001", usd_per_gpu_second: "0.0007"}
rate_limit: {per_minute: 60000, burst: 10000}
quota: {gpus: 8, concurrent_jobs: 500}
capacity: {gpus: 64, concurrent_jobs: 1000, rate_limit: {per_minute: 600000, burst: 100000}}
run: {namespace: NAMESPACE, ttl_after_finished: 600s, termination_grace: 1s}
"#;

/// The policy of tests that run jobs on this machine. No test reaches its quotas and rate limits.
pub const MACHINE: &str = "
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

/// Returns the text of [`CLUSTER`] for a namespace.
#[must_use]
pub fn in_namespace(namespace: &str) -> String {
    CLUSTER.replace("NAMESPACE", namespace)
}

/// Parses a policy.
#[must_use]
pub fn parse(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(text.as_bytes(), PriceOverrides::default()).unwrap())
}
