//! Middleware and extractors for requests.

pub(crate) mod access;
pub(crate) mod body;
pub(crate) mod key;
pub(crate) mod layers;
pub(crate) mod rate;
pub(crate) mod tenant;
