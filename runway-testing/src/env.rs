//! Virtual time and reproducible randomness.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use runway_control::Env;
use runway_core::units::Timestamp;
use std::future::Future;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

/// The start of virtual time: 2026-11-21T08:00:00Z.
pub const START: Timestamp = Timestamp::from_seconds(1_795_248_000);

/// An `Env` with the paused clock of the runtime, and random bits from a seed.
#[derive(Debug)]
pub struct VirtualEnv {
    start: Instant,
    random: Mutex<StdRng>,
}

impl VirtualEnv {
    /// Creates an environment whose clock starts at [`START`].
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), random: Mutex::new(StdRng::seed_from_u64(seed)) })
    }
}

impl Env for VirtualEnv {
    fn now(&self) -> Timestamp {
        START.saturating_add_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap())
    }

    fn random(&self) -> u128 {
        let mut random = self.random.lock().unwrap();
        u128::from(random.next_u64()) << 64 | u128::from(random.next_u64())
    }
}

/// Runs a future to completion with a paused clock. When all tasks wait, the clock advances to the next
/// timer.
pub fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}
