//! Paths of routes that other modules refer to.

pub(crate) const LOGS: &str = "/v1/jobs/{id}/logs";
pub(crate) const QUOTES: &str = "/v1/quotes";
