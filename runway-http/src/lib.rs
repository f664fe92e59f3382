//! REST over the submission loop.
//!
//! [`app`] makes a router of [`AppState`]; it needs neither sockets nor a cluster, so that tests and services can call
//! it as it is. [`server`] listens: with limits, with TLS, and with an orderly end. The binary of the same name wires the
//! two to a backend.
//!
//! Every route has a file below `routes`; what every request passes on its way there is below `request`.

mod capacity;
pub mod flags;
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
pub mod server;
mod state;
mod view;

pub use limits::RequestLimits;
pub use request::access::{Access, NoRole, Role};
pub use routes::{app, openapi, ops};
pub use state::AppState;
