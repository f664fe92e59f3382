//! Clock and randomness, injected so that tests can control them.

use runway_core::HashSeed;
use runway_core::units::Timestamp;

/// A clock and a source of randomness.
///
/// Code that waits uses `tokio::time` directly. Tests can pause the clock of tokio; the clock of a test's
/// `Env` then follows it.
pub trait Env: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
    /// Returns 128 unpredictable random bits.
    fn random(&self) -> u128;

    /// Returns a random seed for hash maps.
    fn hash_seed(&self) -> HashSeed {
        let [a, b] = [self.random(), self.random()].map(|bits| {
            let [_, _, _, _, _, _, _, _, low @ ..] = bits.to_be_bytes();
            u64::from_be_bytes(low)
        });
        HashSeed(a, b)
    }
}

/// The clock and the randomness of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnv;

impl Env for SystemEnv {
    #[expect(clippy::disallowed_methods, reason = "only this function reads the clock")]
    fn now(&self) -> Timestamp {
        let since_epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::expect_used, reason = "without randomness, ids would be predictable")]
    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system provides randomness");
        u128::from_ne_bytes(bytes)
    }
}
