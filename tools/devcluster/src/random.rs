//! Random bytes of the operating system.

use runway_steps::Failure;
use std::fs::File;
use std::io::Read as _;

/// Returns random bytes from `/dev/urandom`.
pub(crate) fn random<const BYTES: usize>() -> Result<[u8; BYTES], Failure> {
    let mut bytes = [0; BYTES];
    let told = Failure::io("`/dev/urandom`");
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).map_err(told)?;
    Ok(bytes)
}
