//! The output of a job: an append-only data file, and an index of the stream and attempt of each part.
//!
//! The index has an entry for each change of the stream or the attempt, and one for the end of the output.
//! The writer appends an entry before the bytes that the entry describes. A reader that first reads the
//! length of the data and then the index therefore knows the source of every byte.

mod index;
mod reader;
mod writer;

pub use index::Stream;
pub use reader::{LogChunk, LogReader};
pub(crate) use writer::{LogWriter, PumpOutcome, finish_abandoned};

const DATA_FILE: &str = "output";
const INDEX_FILE: &str = "index";
