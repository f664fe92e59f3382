//! Benchmarks of the ledger with few and with many live holds: the lifecycle of one more hold, and the search
//! for blocking holds.
//!
//! A cycle reserves a hold of one to four hours for a random tenant. It confirms the hold five milliseconds
//! later, as after the cluster's response; this moves the deadline. Then it releases either this hold or a
//! random live one. The random one is not in the CPU caches. In both cases, the number of live holds stays
//! constant. A tenth of the jobs have GPUs. All random values are drawn before the measurement starts.

use crate::peers::random::Random;
use crate::timing::{BenchResult, Benchmark};
use runway_core::quota::{HoldRequest, Ledger, QuotaExceeded, QuotaKind};
use runway_core::units::{GpuCount, Seconds, Timestamp};
use runway_core::{HashSeed, JobId, Tenant};
use std::hint::black_box;

struct Cycle {
    id: JobId,
    request: HoldRequest,
    released: JobId,
}

/// The hold that is released at the end of a cycle.
#[derive(Clone, Copy)]
pub(crate) enum Released {
    /// The hold that this cycle reserved.
    Same,
    /// A random live hold.
    Random,
}

/// The number of tenants. It does not grow with the number of holds, so that two benchmarks differ only in
/// their number of holds.
const TENANTS: usize = 1_000;

/// A ledger with live holds, and the data for further reservations: the ids of the live holds, the tenants,
/// the random number generator and the current time.
struct LiveLedger {
    ledger: Ledger,
    live: Vec<JobId>,
    tenants: Vec<Tenant>,
    random: Random,
    now: Timestamp,
}

impl LiveLedger {
    fn new(holds: usize) -> BenchResult<Self> {
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

/// Finds the holds that block a request for four GPUs when no GPU is available. This search is the main cost
/// of a refusal for a quota.
pub(crate) fn blocking_holds(holds: usize, operations: usize) -> BenchResult<Benchmark> {
    let LiveLedger { ledger, .. } = LiveLedger::new(holds)?;
    let held = ledger.cluster_usage().gpus;
    let shortage = QuotaExceeded { kind: QuotaKind::ClusterGpus, requested: 4, held, limit: held };
    Ok(Benchmark::new(move |samples| {
        let found = samples.time(operations, || {
            BenchResult::Ok(
                (0..operations)
                    .map(|_| black_box(&ledger).blocking_holds("", &shortage).len())
                    .sum::<usize>(),
            )
        })?;
        assert!(found >= operations, "at least one hold blocks the request");
        Ok(())
    }))
}

/// Runs cycles with this number of live holds.
pub(crate) fn benchmark(holds: usize, released: Released, operations: usize) -> BenchResult<Benchmark> {
    let LiveLedger { mut ledger, mut live, tenants, mut random, mut now } = LiveLedger::new(holds)?;
    Ok(Benchmark::new(move |samples| {
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
            BenchResult::Ok(count)
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
        max_duration: Seconds::new(3600 + random.number() % (3 * 3600)),
    }
}
