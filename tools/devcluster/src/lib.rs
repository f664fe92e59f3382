//! `cargo xtask cluster …`: a real Kubernetes of one checkout, on this machine.
//!
//! The program that calls [`main`] starts itself again as the guard of a [`Session`], with the arguments
//! `cluster guard`. So it must hand each `cluster` command to [`main`].

mod api;
mod binaries;
mod build;
mod cgroup;
mod command;
mod control_plane;
mod go;
mod image;
mod kubectl;
mod lifecycle;
mod network;
mod node;
mod process;
mod random;
mod release;
mod remains;
mod session;
mod state;

pub use command::main;
pub use kubectl::Kubectl;
pub use lifecycle::{Up, check_prerequisites};
pub use release::Release;
pub use session::Session;
