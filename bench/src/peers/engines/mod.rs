//! Three policy engines, each with the same ten admission rules and nothing else to do.
//!
//! The rules are written as one conjunction, which every engine answers quickest, with their bounds as literals. Policies
//! are compiled and inputs made beforehand, amounts already read as numbers: less than what a decision of Runway does.

pub(crate) mod cedar;
pub(crate) mod cel;
pub(crate) mod rego;

use crate::timing::{Contender, Outcome};
use std::hint::black_box;

/// How many inputs are gone through.
const INPUTS: u32 = 1_000;

/// What the rules look at: thousandths of a core, bytes, GPUs, seconds.
#[derive(Clone)]
struct Facts {
    cpu: i64,
    memory: i64,
    gpu: i64,
    timeout: i64,
    retries: i64,
    network: &'static str,
    image: String,
}

impl Facts {
    /// A job that every rule allows.
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

    /// For each of the ten rules a job that it alone does not allow.
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

/// Goes through prepared inputs with `allows`, once it has been seen that all ten rules are kept.
fn contender<I: 'static>(
    operations: usize,
    prepare: impl Fn(&Facts) -> Outcome<I>,
    mut allows: impl FnMut(&I) -> Outcome<bool> + 'static,
) -> Outcome<Contender> {
    for (rule, facts) in Facts::refused().iter().enumerate() {
        assert!(!allows(&prepare(facts)?)?, "rule {rule} refuses");
    }
    let inputs = (0..INPUTS).map(|number| prepare(&Facts::allowed(number))).collect::<Outcome<Vec<_>>>()?;
    Ok(Contender::new(move |samples| {
        let allowed = samples.time(operations, || {
            let mut allowed = 0;
            for input in inputs.iter().cycle().take(operations) {
                allowed += usize::from(allows(black_box(input))?);
            }
            Outcome::Ok(allowed)
        })?;
        assert_eq!(allowed, operations, "every job is allowed");
        Ok(())
    }))
}
