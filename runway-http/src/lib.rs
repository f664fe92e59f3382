//! The HTTP server: the REST API over the control plane.
//!
//! [`app`] builds the router from an [`AppState`]. It needs neither sockets nor a cluster, so tests and other
//! services can call it directly. [`server`] accepts connections, enforces their limits, terminates TLS and
//! shuts down gracefully. The binary of the same name connects both to a backend.
//!
//! The handlers are in `routes`, one file per resource or page. Middleware and extractors are in `request`.

mod concurrency;
pub mod flags;
mod hosts;
mod limits;
pub mod loopback;
pub mod metrics;
mod openapi;
mod pages;
mod paths;
mod problem;
mod refusals;
pub mod reload;
mod request;
mod request_id;
mod routes;
mod scoped_cache;
pub mod server;
mod state;
mod streaming;
pub mod tasks;
mod view;

pub use hosts::HostRules;
pub use limits::RequestLimits;
pub use request::access::{Access, Role, RoleError};
pub use routes::{app, openapi, ops};
pub use state::AppState;
