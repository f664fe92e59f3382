//! REST over the submission loop.
//!
//! [`app`] makes a router of [`AppState`]; it needs neither sockets nor a cluster, so that tests and services can call
//! it as it is. [`server`] listens: with limits, with TLS, and with an orderly end. The binary of the same name wires the
//! two to a backend.
//!
//! Every route has a file below `routes`; what every request passes on its way there is below `request`.

pub mod audit;
pub mod flags;
pub mod loopback;
pub mod metrics;
mod openapi;
mod pages;
mod problem;
mod refusals;
pub mod reload;
mod request;
mod routes;
pub mod server;
mod state;

pub use openapi::document as openapi;
pub use request::access::{Access, NoRole, Role};
pub use routes::{app, ops};
pub use state::{AppState, RequestLimits};
