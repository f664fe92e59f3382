//! Benchmarks of `Gate::submit` and `Gate::release` for parsed jobs, with or without rendering the admitted
//! job.

use crate::peers::random::Random;
use crate::timing::{BenchResult, Benchmark};
use runway_core::policy::PriceOverrides;
use runway_core::spec::ResourceSpec;
use runway_core::units::Timestamp;
use runway_core::{AdmittedJob, Gate, HashSeed, JobId, JobSpec, Policy, Submission, render::render};
use std::hint::black_box;
use std::sync::Arc;

const TENANTS: usize = 1_000;

/// Returns the benchmark that decides on jobs and does not render them.
pub(crate) fn decide(operations: usize) -> BenchResult<Benchmark> {
    benchmark(operations, |_, _, _| true)
}

/// Returns the benchmark that decides on jobs and renders their Kubernetes objects.
pub(crate) fn decide_and_render(operations: usize) -> BenchResult<Benchmark> {
    benchmark(operations, |job, id, policy| black_box(render(job, id, policy)).is_ok())
}

/// Returns a benchmark that submits jobs and calls `then` for each admitted job. It releases each job before
/// the next submission. The clock advances by 1 ms per submission.
fn benchmark(
    operations: usize,
    then: impl Fn(&AdmittedJob, JobId, &Policy) -> bool + 'static,
) -> BenchResult<Benchmark> {
    let policy = Arc::new(policy()?);
    let submissions: Vec<_> = (0..TENANTS).map(submission).collect();
    let mut gate = Gate::new(Arc::clone(&policy), HashSeed(0x5eed, 0xfeed));
    let mut random = Random(1);
    let mut now = Timestamp::from_seconds(1_795_248_000);
    Ok(Benchmark::new(move |samples| {
        let ids: Vec<_> = (0..operations).map(|_| random.id()).collect();
        let done = samples.time(operations, || {
            let mut done = 0;
            for (id, submission) in ids.iter().zip(submissions.iter().cycle()) {
                now = now.saturating_add_nanos(1_000_000);
                let decision = black_box(gate.submit(*id, black_box(submission), now)?);
                done += usize::from(decision.admitted().is_some_and(|job| then(job, *id, &policy)));
                black_box(gate.release(*id));
            }
            BenchResult::Ok(done)
        })?;
        assert_eq!(done, operations, "every job is admitted");
        Ok(())
    }))
}

/// Returns the built-in policy with rate limits that no run reaches.
fn policy() -> BenchResult<Policy> {
    const HIGH_RATE_LIMIT: &str = "rate_limit: {per_minute: 1000000, burst: 1000000}";
    let mut text = include_str!("../../../fixtures/policies/default.yaml").to_owned();
    for limit in ["rate_limit: {per_minute: 60, burst: 10}", "rate_limit: {per_minute: 6000, burst: 500}"] {
        assert!(text.contains(limit), "the built-in policy has the line `{limit}`");
        text = text.replace(limit, HIGH_RATE_LIMIT);
    }
    Ok(Policy::parse(text.as_bytes(), PriceOverrides::default())?)
}

fn submission(number: usize) -> Submission {
    Submission::from(JobSpec {
        name: Some(format!("embed-docs-{number}")),
        tenant: Some(format!("tenant-{number:04}")),
        class: Some("cpu_long".into()),
        image: Some("registry.internal/search/embed:1.8.0".into()),
        command: vec!["python".into(), "/app/embed.py".into()],
        args: vec!["--shard".into(), number.to_string()],
        env: [("LOG_LEVEL", "info"), ("OMP_NUM_THREADS", "2")].map(|(k, v)| (k.into(), v.into())).into(),
        resources: ResourceSpec {
            cpu: Some("1500m".into()),
            memory: Some("2Gi".into()),
            ephemeral_storage: Some("4Gi".into()),
            ..ResourceSpec::default()
        },
        timeout: Some("10m".into()),
        retries: Some(2.into()),
        network: Some("internal".into()),
        ..JobSpec::default()
    })
}
