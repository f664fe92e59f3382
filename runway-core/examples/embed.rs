//! A service that embeds the gate. It provides the clock, the lock and the random seed, which the core does
//! not have.
//!
//! `cargo run -p runway-core --example embed`

#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the service provides the clock, the lock and the randomness"
)]

use runway_core::gate::replay_line;
use runway_core::policy::PriceOverrides;
use runway_core::spec::SecretLiterals;
use runway_core::units::{Seconds, Timestamp};
use runway_core::{AdmittedJob, Decision, Gate, HashSeed, JobId, JobSpec, Policy, Quote, Submission};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

const POLICY: &str = r#"
version: 1
limits:
  cpu: {max: "4", default: "1"}
  memory: {max: 16Gi, default: 1Gi}
  gpu: {max: 2}
  timeout: {max: 1h, default: 10m}
rates: {usd_per_cpu_second: "0.0000112444", usd_per_gb_second: "0.0000012347", usd_per_gpu_second: "0.00069"}
quota: {gpus: 2, concurrent_jobs: 5}
"#;

const TRAIN: &str =
    "{name: train, tenant: vision, image: registry.internal/train:3, resources: {gpu: 2}, timeout: 30m}";
const TOO_LARGE: &str =
    "{name: greedy, tenant: vision, image: registry.internal/train:3, resources: {cpu: 6, gpu: 3}}";

/// A service whose gate decides on each submission.
struct Service {
    gate: Mutex<Gate>,
}

impl Service {
    fn new(policy: &str) -> Result<Self, Box<dyn Error>> {
        let policy = Policy::parse(policy.as_bytes(), PriceOverrides::default())?;
        let seed = HashSeed(getrandom::u64()?, getrandom::u64()?);
        Ok(Self { gate: Mutex::new(Gate::new(Arc::new(policy), seed)) })
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the decision that a submission would get now. The gate does not change.
    fn preview(&self, job: &str) -> Result<Decision, Box<dyn Error>> {
        let submission = parse_job(job)?;
        Ok(self.gate().preview(&submission, now()?))
    }

    /// Decides on a job, and starts it if it is admitted.
    fn submit(
        &self,
        id: JobId,
        job: &str,
        start: impl FnOnce(&AdmittedJob) -> Result<(), Box<dyn Error>>,
    ) -> Result<Decision, Box<dyn Error>> {
        let submission = parse_job(job)?;
        // `submit` reserves the GPUs of an admitted job. So the lock can be released before the job starts.
        let decision = self.gate().submit(id, &submission, now()?)?;
        if let Some(admitted) = decision.admitted() {
            match start(admitted) {
                Ok(()) => self.gate().confirm(id, now()?)?,
                Err(error) => {
                    self.gate().abort(id)?;
                    return Err(error);
                }
            }
        }
        Ok(decision)
    }

    /// Releases the resources of a job that has ended. Repeated calls have no effect.
    fn release(&self, id: JobId) {
        self.gate().release(id);
    }
}

/// Parses the job of a request. The service's own API carries secrets as values.
fn parse_job(job: &str) -> Result<Submission, Box<dyn Error>> {
    let mut parsed = JobSpec::parse_all(job.as_bytes(), SecretLiterals::Require).into_iter();
    match (parsed.next(), parsed.next()) {
        (Some(spec), None) => Ok(Submission::from(spec)),
        _ => Err("a request must contain one job".into()),
    }
}

fn now() -> Result<Timestamp, Box<dyn Error>> {
    Ok(SystemTime::now().try_into()?)
}

fn print_decision(decision: &Decision) {
    match decision.quote() {
        Some(Quote { ceiling, per_hour, .. }) => println!("at most {ceiling} USD, {per_hour} USD an hour"),
        None => println!("the price cannot be computed"),
    }
    for violation in decision.violations() {
        println!("refused: {} at {}: {}", violation.code, violation.path, violation.message);
        if !violation.fix.is_null() {
            println!("  write {}", violation.fix);
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let service = Service::new(POLICY)?;

    println!("# preview a job");
    print_decision(&service.preview(TRAIN)?);

    println!("# submit it");
    let id = JobId::from_key(&"vision".parse()?, "train-2026-11-21");
    let decision = service.submit(id, TRAIN, |admitted| {
        println!("started: {}", admitted.job().name);
        Ok(())
    })?;

    println!("# preview a job that requests too much");
    print_decision(&service.preview(TOO_LARGE)?);

    println!("# preview a job that must wait");
    print_decision(&service.preview(TRAIN)?);

    println!("# bill the first job after 90 seconds");
    service.release(id);
    if let Some(quote) = decision.quote() {
        println!("{} USD", quote.bill(Seconds::new(90)).usd);
    }

    println!("# replay the decision from its log line");
    let line = serde_json::to_string(&decision)?;
    let policy = Arc::clone(service.gate().policy());
    let result = replay_line(&policy, &line)?;
    println!("{} bytes, {result}", line.len());
    Ok(())
}
