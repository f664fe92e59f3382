//! The default limits in `docs/project_spec.md` are those of the built-in policy for a job without GPUs.

use crate::documents::submission;
use runway_core::units::{CpuMillis, MemoryBytes, Seconds, Timestamp};
use runway_core::{Code, Gate, HashSeed, Policy};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The figures in the row `Default limits` of the specification.
struct StatedLimits {
    max_cpu: CpuMillis,
    max_memory: MemoryBytes,
    max_timeout: Seconds,
    max_retries: u32,
    min_cpu: CpuMillis,
    min_memory: MemoryBytes,
    min_timeout: Seconds,
}

impl StatedLimits {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/project_spec.md");
        let page = std::fs::read_to_string(file).unwrap();
        let row = page.lines().find_map(|line| line.strip_prefix("| Default limits | At most ")).unwrap();
        let (most, least) = row.trim_end_matches(" |").split_once("; at least ").unwrap();
        let (most, least): (Vec<_>, Vec<_>) = (most.split(", ").collect(), least.split(", ").collect());
        assert_eq!((most.len(), least.len(), most[3]), (5, 3, "no GPU"), "{row}");
        let cpu = |text: &str| text.strip_suffix(" CPU").unwrap().parse().unwrap();
        Self {
            max_cpu: cpu(most[0]),
            max_memory: most[1].parse().unwrap(),
            max_timeout: most[2].parse().unwrap(),
            max_retries: most[4].strip_suffix(" retries").unwrap().parse().unwrap(),
            min_cpu: cpu(least[0]),
            min_memory: least[1].parse().unwrap(),
            min_timeout: least[2].parse().unwrap(),
        }
    }

    fn largest_job(&self) -> Value {
        job(self.max_cpu, self.max_memory, self.max_timeout, self.max_retries)
    }

    fn smallest_job(&self) -> Value {
        job(self.min_cpu, self.min_memory, self.min_timeout, 0)
    }
}

/// Returns a job without a class, so it has the default class, and without GPUs.
fn job(cpu: CpuMillis, memory: MemoryBytes, timeout: Seconds, retries: u32) -> Value {
    json!({
        "name": "a",
        "tenant": "t",
        "image": "busybox",
        "resources": { "cpu": cpu.to_string(), "memory": memory.to_string(), "gpu": 0 },
        "timeout": timeout.to_string(),
        "retries": retries,
    })
}

fn codes(document: &Value) -> Vec<Code> {
    let gate = Gate::new(Arc::new(Policy::builtin()), HashSeed::default());
    let decision = gate.preview(&submission(document), Timestamp::from_seconds(1));
    decision.violations().iter().map(|violation| violation.code).collect()
}

#[test]
fn cpu_jobs_at_the_stated_limits_are_admitted() {
    let stated = StatedLimits::read();
    for document in [stated.largest_job(), stated.smallest_job()] {
        assert!(codes(&document).is_empty(), "{document}: {:?}", codes(&document));
    }
}

#[test]
fn cpu_jobs_beyond_a_stated_limit_are_refused() {
    let stated = StatedLimits::read();
    let (largest, smallest) = (stated.largest_job(), stated.smallest_job());
    let cpu = |millis: u64| json!(CpuMillis::new(millis).to_string());
    for (job, path, value, code) in [
        (&largest, "/resources/cpu", cpu(stated.max_cpu.units() + 1), Code::CpuAboveMax),
        (&largest, "/resources/memory", json!(stated.max_memory.units() + 1), Code::MemoryAboveMax),
        (&largest, "/timeout", json!(stated.max_timeout.get() + 1), Code::TimeoutAboveMax),
        (&largest, "/retries", json!(stated.max_retries + 1), Code::RetriesAboveMax),
        (&largest, "/resources/gpu", json!(1), Code::GpuAboveMax),
        (&smallest, "/resources/cpu", cpu(stated.min_cpu.units() - 1), Code::CpuBelowMin),
        (&smallest, "/resources/memory", json!(stated.min_memory.units() - 1), Code::MemoryBelowMin),
        (&smallest, "/timeout", json!(stated.min_timeout.get() - 1), Code::TimeoutBelowMin),
    ] {
        let mut document = job.clone();
        *document.pointer_mut(path).unwrap() = value;
        assert!(codes(&document).contains(&code), "{document}: {:?}", codes(&document));
    }
}
