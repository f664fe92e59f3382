//! A hold's whole life in the ledger, with few and with many others alive.
//!
//! A new job of a random tenant is reserved for one to four hours and confirmed five milliseconds later, as when the
//! cluster has answered, which moves its deadline. Then either this job is released, or some random other one, which
//! finds nothing of it in the processor's caches; in both, the number of live holds stays. A tenth of the jobs have
//! GPUs. All that is random is drawn before the clock starts.

use crate::peers::random::Random;
use crate::timing::{Contender, Outcome};
use runway_core::quota::{HoldRequest, Ledger, QuotaKind, Shortage};
use runway_core::units::{GpuCount, Seconds, Timestamp};
use runway_core::{HashSeed, JobId, Tenant};
use std::hint::black_box;

struct Cycle {
    id: JobId,
    request: HoldRequest,
    released: JobId,
}

/// Which job is released at the end of a cycle.
#[derive(Clone, Copy)]
pub(crate) enum Released {
    /// The one that was reserved.
    Same,
    /// Any that is alive.
    Random,
}

/// The tenants who submit, however many jobs are alive: only the number of holds is to make a difference.
const TENANTS: usize = 1_000;

/// A ledger with live holds, and what goes on with it.
struct Alive {
    ledger: Ledger,
    live: Vec<JobId>,
    tenants: Vec<Tenant>,
    random: Random,
    now: Timestamp,
}

impl Alive {
    fn new(holds: usize) -> Outcome<Self> {
        let tenants =
            (0..TENANTS).map(|i| format!("tenant-{i:04}").parse()).collect::<Result<Vec<Tenant>, _>>()?;
        let mut random = Random(3);
        let mut ledger = Ledger::new(HashSeed(0x5eed, 0xfeed));
        let now = Timestamp::from_seconds(1_795_248_000);
        let mut live = Vec::with_capacity(holds);
        for _ in 0..holds {
            let id = random.id();
            ledger.reserve(id, request(&mut random, &tenants), now)?;
            ledger.confirm(id, now)?;
            live.push(id);
        }
        Ok(Self { ledger, live, tenants, random, now })
    }
}

/// Finding the holds in the way of a job that wants four GPUs more than there are: the price of a refusal for quota.
pub(crate) fn refusing(holds: usize, operations: usize) -> Outcome<Contender> {
    let Alive { ledger, .. } = Alive::new(holds)?;
    let held = ledger.cluster_usage().gpus;
    let shortage = Shortage { kind: QuotaKind::ClusterGpus, requested: 4, held, limit: held };
    Ok(Contender::new(move |samples| {
        let found = samples.time(operations, || {
            Outcome::Ok(
                (0..operations).map(|_| black_box(&ledger).in_the_way("", &shortage).len()).sum::<usize>(),
            )
        })?;
        assert!(found >= operations, "some hold is in the way");
        Ok(())
    }))
}

/// Cycles with `holds` alive.
pub(crate) fn contender(holds: usize, released: Released, operations: usize) -> Outcome<Contender> {
    let Alive { mut ledger, mut live, tenants, mut random, mut now } = Alive::new(holds)?;
    Ok(Contender::new(move |samples| {
        let mut cycle = |_| {
            let id = random.id();
            let released = match released {
                Released::Same => id,
                Released::Random => std::mem::replace(&mut live[random.below(holds)], id),
            };
            Cycle { id, request: request(&mut random, &tenants), released }
        };
        let cycles: Vec<_> = (0..operations).map(&mut cycle).collect();
        let released = samples.time(operations, || {
            let mut count = 0;
            for Cycle { id, request, released } in cycles {
                now = now.saturating_add_nanos(1_000_000);
                ledger.reserve(id, request, now)?;
                ledger.confirm(id, now.saturating_add_nanos(5_000_000))?;
                count += usize::from(ledger.release(released).is_some());
            }
            Outcome::Ok(count)
        })?;
        assert_eq!(released, operations, "every hold is released");
        assert_eq!(ledger.cluster_usage().jobs, holds as u64);
        Ok(())
    }))
}

fn request(random: &mut Random, tenants: &[Tenant]) -> HoldRequest {
    let gpus = if random.below(10) == 0 { 1 + random.number() % 8 } else { 0 };
    HoldRequest {
        tenant: tenants[random.below(tenants.len())].clone(),
        gpus: GpuCount::new(gpus),
        term: Seconds::new(3600 + random.number() % (3 * 3600)),
    }
}
