//! Reads the modules of a workspace, finds import cycles between them, and renders a picture of dependencies.
//!
//! The children of a module form a graph. Child A uses child B if a file in A's subtree names something in
//! B's subtree, in a `use` declaration or in the code. A path through a re-export counts for the module that
//! defines the name. A module and its parent may use each other. Items that exist in tests only do not count.
//!
//! Limits: a method call names no module, so it does not count by itself. The tokens of macros are searched
//! for paths; single names among them are not resolved. Modules that a macro declares are not read.

mod graph;
mod picture;
mod resolve;
mod syntax;
mod tree;
mod workspace;

pub use graph::Cycle;
pub use picture::replace_picture;
pub use tree::TreeError;
pub use workspace::{Workspace, WorkspaceError};

#[cfg(test)]
mod tests;
