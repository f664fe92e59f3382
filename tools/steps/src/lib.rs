//! Shared code of the development tools: steps that print their name, directories of the project, and
//! programs of the system.

mod failure;
mod packages;
mod programs;
mod steps;

pub use failure::{Failure, tail};
pub use packages::{install, logged, on_the_system};
pub use programs::{Programs, cache_folder, is_program, is_static, locate, search_path};
pub use steps::{Failed, Running, cargo, command, root, run, target_folder};
