//! What a job prints: one file that only grows, so that a byte has one place for ever, and an index beside it that tells
//! which stream of which attempt each part came from.
//!
//! The index has a record for each change of stream, written before the bytes it is about: whoever takes the length of the
//! file first and reads the index then knows of every byte where it came from.

mod index;
mod reader;
mod writer;

pub use index::Stream;
pub use reader::{Chunk, Reader};
pub(crate) use writer::{Pumped, Writer, conclude};

const DATA: &str = "output";
const INDEX: &str = "index";
