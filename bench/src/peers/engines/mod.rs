//! Three policy engines, each with the same ten admission rules.
//!
//! The rules are one conjunction with literal bounds. Every engine evaluates this form fastest. The policies
//! are compiled and the inputs are parsed in advance. So an engine does less work than Runway does for a
//! decision.

pub(crate) mod cedar;
pub(crate) mod cel;
pub(crate) mod rego;

use crate::timing::{BenchResult, Benchmark};
use std::hint::black_box;

/// The number of different inputs in a benchmark.
const INPUTS: u32 = 1_000;

/// The input of the rules. The units are thousandths of a core, bytes, GPUs and seconds.
#[derive(Clone)]
struct JobInputs {
    cpu: i64,
    memory: i64,
    gpu: i64,
    timeout: i64,
    retries: i64,
    network: &'static str,
    image: String,
}

impl JobInputs {
    /// Returns a job that all rules allow.
    fn allowed(number: u32) -> Self {
        Self {
            cpu: 500 + i64::from(number),
            memory: (1 << 31) + i64::from(number),
            gpu: 0,
            timeout: 600,
            retries: 2,
            network: "internal",
            image: format!("registry.internal/search/embed:1.{number}.0"),
        }
    }

    /// Returns the numbers with their names in the rules.
    fn numbers(&self) -> [(&'static str, i64); 5] {
        [
            ("cpu", self.cpu),
            ("memory", self.memory),
            ("gpu", self.gpu),
            ("timeout", self.timeout),
            ("retries", self.retries),
        ]
    }

    /// Returns the texts with their names in the rules.
    fn texts(&self) -> [(&'static str, &str); 2] {
        [("network", self.network), ("image", &self.image)]
    }

    /// Returns ten jobs, in the order of the rules. Only the rule at the same position refuses the job.
    fn refused() -> [Self; 10] {
        let job = || Self::allowed(0);
        [
            Self { cpu: 9, ..job() },
            Self { cpu: 4_001, ..job() },
            Self { memory: (16 << 20) - 1, ..job() },
            Self { memory: (8 << 30) + 1, ..job() },
            Self { gpu: 1, ..job() },
            Self { timeout: 0, ..job() },
            Self { timeout: 901, ..job() },
            Self { retries: 4, ..job() },
            Self { network: "internet", ..job() },
            Self { image: "docker.io/library/busybox:latest".to_owned(), ..job() },
        ]
    }
}

/// Returns a benchmark that runs `allows` on prepared inputs. Before that, the function asserts that each of
/// the ten rules refuses its job.
fn benchmark<I: 'static>(
    operations: usize,
    prepare: impl Fn(&JobInputs) -> BenchResult<I>,
    mut allows: impl FnMut(&I) -> BenchResult<bool> + 'static,
) -> BenchResult<Benchmark> {
    for (rule, facts) in JobInputs::refused().iter().enumerate() {
        assert!(!allows(&prepare(facts)?)?, "rule {rule} refuses");
    }
    let inputs =
        (0..INPUTS).map(|number| prepare(&JobInputs::allowed(number))).collect::<BenchResult<Vec<_>>>()?;
    Ok(Benchmark::new(move |samples| {
        let allowed = samples.time(operations, || {
            let mut allowed = 0;
            for input in inputs.iter().cycle().take(operations) {
                allowed += usize::from(allows(black_box(input))?);
            }
            BenchResult::Ok(allowed)
        })?;
        assert_eq!(allowed, operations, "every job is allowed");
        Ok(())
    }))
}
