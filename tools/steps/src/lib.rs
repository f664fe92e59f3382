//! Shared code of the development tools: steps that print their name, directories of the project, and
//! programs of the system.

mod error;
mod packages;
mod programs;
mod steps;

pub use error::{ToolError, last_lines};
pub use packages::{install_packages, run_logged, find_or_install};
pub use programs::{ProgramPaths, cache_dir, is_executable, is_static, locate, search_path};
pub use steps::{StepError, ChildGuard, run_cargo, cargo_command, workspace_root, run_step, target_dir};
