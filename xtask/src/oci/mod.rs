//! Container images as the Open Container Initiative specifies them, made without any engine. The same content gives the same
//! bytes: whoever makes an image says what time it is of.

mod archive;
mod documents;
mod layer;

pub(crate) use archive::Archive;
pub(crate) use documents::{Empty, Start};
pub(crate) use layer::Layer;

use crate::epoch::Epoch;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// One image: what is in it, how it is started, and what it tells of itself.
pub(crate) struct Image<'a> {
    /// Registry, repository and tag; as many as are wanted.
    pub(crate) names: &'a [&'a str],
    pub(crate) layer: &'a Layer,
    pub(crate) start: Start,
    pub(crate) created: Epoch,
    pub(crate) annotations: BTreeMap<String, String>,
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
