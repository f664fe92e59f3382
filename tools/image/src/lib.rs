//! Container images as the Open Container Initiative specifies them, the server's own image, and the bills of
//! materials of the programs. All of it is made without an engine, and the same sources give the same bytes.

mod epoch;
pub mod oci;
pub mod sbom;
mod server;

pub use epoch::Epoch;
pub use server::{Wanted, archive, usual_place};
