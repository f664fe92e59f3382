//! The normalised job: parsed and complete with defaults. It is not necessarily admitted.

use crate::image::ImageRef;
use crate::name::{ClassName, JobName, Tenant};
use crate::policy::{Network, Policy};
use crate::price::{Amounts, Quote};
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds};

/// A normalised job.
///
/// The JSON form has `name`, `tenant`, `class`, `image`, `workdir` (if set), `resources` (`cpu_millis`,
/// `memory_bytes`, `ephemeral_storage_bytes`, `gpu`), `timeout_seconds`, `retries` and `network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The job's name.
    pub name: JobName,
    /// The tenant that owns the job.
    pub tenant: Tenant,
    /// The policy class; `None` if the job names no class and the policy has no default class.
    pub class: Option<ClassName>,
    /// The container image. Its short name is completed, as in `docker.io/library/busybox`.
    pub image: ImageRef,
    /// The working directory of the command; `None` selects the default of the image or the machine.
    pub workdir: Option<String>,
    /// The requested resources.
    pub resources: Resources,
    /// The GPU type; `None` if the job has no GPUs or the policy defines no types.
    pub gpu_type: Option<String>,
    /// The time limit of the whole job, all retries included.
    pub timeout: Seconds,
    /// The number of retries after a failed attempt.
    pub retries: u32,
    /// The network that the job may use.
    pub network: Network,
}

/// The resources of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// CPU, in thousandths of a core.
    pub cpu: CpuMillis,
    /// Memory in bytes.
    pub memory: MemoryBytes,
    /// Scratch space and logs, in bytes.
    pub ephemeral_storage: MemoryBytes,
    /// Number of whole GPUs.
    pub gpu: GpuCount,
    /// Shared memory in bytes. It counts towards `memory`.
    pub shm: Option<MemoryBytes>,
}

impl Job {
    /// Returns the price of the job's maximum duration under this policy. Returns `None` if the price
    /// overflows, which never happens for an admitted job.
    #[must_use]
    pub fn quote(&self, policy: &Policy) -> Option<Quote> {
        let Resources { cpu, memory, gpu, .. } = self.resources;
        let gpu_rate = policy.gpu_price(self.gpu_type.as_deref());
        Quote::new(Amounts { cpu, memory, gpu }, policy.unit_prices(), gpu_rate, self.max_duration(policy))
    }

    /// Returns the longest time that the job can occupy its resources: the timeout plus the termination grace
    /// period.
    #[must_use]
    pub const fn max_duration(&self, policy: &Policy) -> Seconds {
        self.timeout.saturating_add(policy.run_settings().termination_grace)
    }
}
