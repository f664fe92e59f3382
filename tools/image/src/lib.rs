//! Builds container images in the format of the Open Container Initiative (OCI), the server's own image, and
//! the SBOMs of the programs. No container engine is needed, and the same sources give the same bytes.

mod epoch;
pub mod oci;
pub mod sbom;
mod server;

pub use epoch::SourceEpoch;
pub use server::{ImageCommand, default_archive, write_archive};
