//! Maps whose hasher is keyed from outside.
//!
//! Keys come from tenants, so the hash must not be guessable; the core has no source of randomness, so whoever
//! composes it passes a [`HashSeed`]. What is decided never depends on the seed, only how fast.

use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// The key of the hash function: 128 bits, drawn at random once a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashSeed(pub u64, pub u64);

/// A hash map keyed with a [`HashSeed`].
pub(crate) type KeyedMap<K, V> = HashMap<K, V, HashSeed>;

impl BuildHasher for HashSeed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
