//! Middleware and extractors for requests.

pub(crate) mod access;
pub(crate) mod body;
pub(crate) mod idempotency_key;
pub(crate) mod layers;
pub(crate) mod rate_limit;
pub(crate) mod tenant;
