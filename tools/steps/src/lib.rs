//! Shared code of the development tools: steps that print their name, directories of the project, and
//! programs of the system.

mod error;
mod free_space;
mod packages;
mod programs;
mod steps;

pub use error::{ToolError, last_lines};
pub use free_space::check_free_space;
pub use packages::{find_or_install, install_packages, run_logged};
pub use programs::{ProgramPaths, cache_dir, is_executable, is_static, locate, search_path};
pub use steps::{ChildGuard, StepError, cargo_command, run_cargo, run_step, target_dir, workspace_root};
