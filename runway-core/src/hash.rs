//! Hash maps with an external seed.
//!
//! Tenants choose the keys, so the hash must not be predictable. The core has no source of randomness, so the
//! caller passes a [`HashSeed`]. The seed affects only the speed of a decision, never its result.

use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::hash::BuildHasher;

/// The 128-bit key of the hash function. A process draws it at random once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashSeed(pub u64, pub u64);

/// A hash map that uses a [`HashSeed`].
pub(crate) type KeyedMap<K, V> = HashMap<K, V, HashSeed>;

impl BuildHasher for HashSeed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
