//! What every request passes on its way to a route and back.

pub(crate) mod access;
pub(crate) mod body;
pub(crate) mod key;
pub(crate) mod layers;
pub(crate) mod rate;
pub(crate) mod tenant;
