//! `cargo xtask cluster …`: a real Kubernetes cluster for development, one for each checkout.
//!
//! A [`Session`] starts the current program a second time as its guard, with the arguments `cluster guard`.
//! So the program must pass each `cluster` command to [`run_command`].

mod api;
mod binaries;
mod build;
mod cgroup;
mod command;
mod control_plane;
mod go;
mod image;
mod kubectl;
mod leftovers;
mod lifecycle;
mod network;
mod node;
mod process;
mod random;
mod release;
mod session;
mod state;

pub use command::run_command;
pub use kubectl::Kubectl;
pub use lifecycle::{UpOptions, check_prerequisites};
pub use release::Release;
pub use session::Session;
