//! Container image references, and patterns that match them.

mod pattern;
mod reference;

pub use pattern::{ImagePattern, PatternError};
pub use reference::{ImageError, ImageRef};
