//! Random bytes of the operating system.

use runway_steps::ToolError;
use std::fs::File;
use std::io::Read as _;

/// Returns random bytes from `/dev/urandom`.
pub(crate) fn random_bytes<const BYTES: usize>() -> Result<[u8; BYTES], ToolError> {
    let mut bytes = [0; BYTES];
    let io_error = ToolError::io("`/dev/urandom`");
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).map_err(io_error)?;
    Ok(bytes)
}
