//! A job whose every part could be read, with defaults filled in; whether it may run is another matter.

use crate::image::ImageRef;
use crate::name::{ClassName, JobName, Tenant};
use crate::policy::{Network, Policy};
use crate::price::{Amounts, Quote};
use crate::units::{CpuMillis, GpuCount, MemoryBytes, Seconds};

/// A normalised job.
///
/// Serialized, it has `name`, `tenant`, `class`, `image`, `workdir` (if set), `resources` (`cpu_millis`, `memory_bytes`,
/// `ephemeral_storage_bytes`, `gpu`), `timeout_seconds`, `retries` and `network`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub name: JobName,
    /// Whose it is.
    pub tenant: Tenant,
    /// The class it runs under; `None` where the policy has no default class and the job names none.
    pub class: Option<ClassName>,
    /// Its image, the name completed.
    pub image: ImageRef,
    /// The working directory of its command; `None` leaves it to the image or the machine.
    pub workdir: Option<String>,
    /// What it asks for.
    pub resources: Resources,
    /// The kind of GPU, where it has any and the policy knows kinds.
    pub gpu_type: Option<String>,
    /// How long it may take, retries included.
    pub timeout: Seconds,
    /// How often a failed attempt is repeated.
    pub retries: u32,
    /// What it may connect to.
    pub network: Network,
}

/// The resources of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Cores, in thousandths.
    pub cpu: CpuMillis,
    /// Bytes of memory.
    pub memory: MemoryBytes,
    /// Bytes of scratch space and logs.
    pub ephemeral_storage: MemoryBytes,
    /// Whole GPUs.
    pub gpu: GpuCount,
    /// Bytes of shared memory, within `memory`.
    pub shm: Option<MemoryBytes>,
}

impl Job {
    /// The most it can cost under a policy: for its timeout and the time it has to end after that. `None` where the
    /// price does not fit, which no admitted job's does.
    #[must_use]
    pub fn quote(&self, policy: &Policy) -> Option<Quote> {
        let Resources { cpu, memory, gpu, .. } = self.resources;
        let gpu_rate = policy.gpu_rate(self.gpu_type.as_deref());
        Quote::new(Amounts { cpu, memory, gpu }, policy.rates(), gpu_rate, self.term(policy))
    }

    /// How long it can hold what it has: its timeout and the time it has to end after that.
    #[must_use]
    pub const fn term(&self, policy: &Policy) -> Seconds {
        self.timeout.saturating_add(policy.run().termination_grace)
    }
}
