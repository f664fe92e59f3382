//! Reads the modules of a workspace, finds import cycles between them, and renders a picture of the
//! dependencies.
//!
//! The children of a module form a graph. Child A uses child B if a file in A's subtree names an item of B's
//! subtree, in a `use` declaration or in code. A path through a re-export counts for the module that defines
//! the item. A module and its parent may use each other. Code that is compiled only for tests is ignored.
//!
//! Limits: a method call names no module, so it does not count. The tokens of macros are searched for paths,
//! but single names among them are not resolved. Modules that a macro declares are not read.

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
