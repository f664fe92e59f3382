//! A [`Machine`] with its state in a temporary directory, for all benchmarks of one process.

use crate::timing::BenchResult;
use runway_control::backend::CreateRequest;
use runway_core::policy::PriceOverrides;
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission, units::Timestamp};
use runway_local::{Job, LocalSettings, Machine, Supervision};
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

const POLICY: &[u8] = b"
version: 1
limits:
  cpu: {max: '64', default: '2'}
  memory: {max: 8Gi, default: 512Mi}
  ephemeral_storage: {max: 64Gi, default: 8Gi}
  timeout: {max: 1h, default: 10m}
rates: {usd_per_cpu_second: '0.00001', usd_per_gb_second: '0.000001', usd_per_gpu_second: '0.0007'}
rate_limit: {per_minute: 1000000, burst: 100000}
quota: {gpus: 0, concurrent_jobs: 100000}
capacity: {gpus: 0, concurrent_jobs: 100000}
";

pub(super) struct Harness {
    pub(super) machine: Machine,
    pub(super) directory: PathBuf,
    policy: Arc<Policy>,
    count: Cell<u64>,
}

impl Harness {
    pub(super) fn new() -> BenchResult<Self> {
        let directory = std::env::temp_dir().join(format!("runway-bench-local-{}", std::process::id()));
        let mut settings = LocalSettings::new(&directory);
        settings.max_log_bytes = runway_core::units::MemoryBytes::new(4 << 30);
        let machine = Machine::open(settings)?;
        let policy = Arc::new(Policy::parse(POLICY, PriceOverrides::default())?);
        Ok(Self { machine, directory, policy, count: Cell::new(0) })
    }

    pub(super) fn create_request(&self, command: &[&str]) -> BenchResult<CreateRequest> {
        let number = self.count.get() + 1;
        self.count.set(number);
        let spec = JobSpec {
            name: Some("job".into()),
            tenant: Some("bench".into()),
            image: Some("busybox".into()),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            ..JobSpec::default()
        };
        let bits = (u128::from(std::process::id()) << 64) | u128::from(number);
        let id = JobId::from_random(bits.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        let mut gate = Gate::new(Arc::clone(&self.policy), HashSeed(1, 2));
        let decision = gate.submit(id, &Submission::from(spec), Timestamp::from_seconds(1_795_248_000))?;
        let admitted = decision.admitted().ok_or("the job was refused")?.clone();
        Ok(CreateRequest { id, admitted, policy: Arc::clone(&self.policy) })
    }

    pub(super) fn start(&self, command: &[&str]) -> BenchResult<Job> {
        Ok(Job::start(&self.machine, &self.create_request(command)?, Supervision::Attached)?)
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("{}: {error}", self.directory.display());
        }
    }
}
