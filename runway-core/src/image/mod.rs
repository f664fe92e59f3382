//! Names of container images, and the patterns that allow them.

mod pattern;
mod reference;

pub use pattern::{ImagePattern, PatternError};
pub use reference::{ImageError, ImageRef};
