//! The packages of the workspace, as `cargo metadata` prints them.

use crate::graph::{Cycle, SiblingGraph, graphs};
use crate::tree::{ModuleTree, TreeError};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// An error while reading the workspace.
#[derive(Debug)]
pub enum WorkspaceError {
    /// The output of `cargo metadata` lacks a field, or the field has another type.
    Metadata {
        /// The name of the field.
        field: &'static str,
    },
    /// A crate cannot be read.
    Tree(TreeError),
}

impl fmt::Display for WorkspaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata { field } => {
                write!(f, "cannot read the output of `cargo metadata`: it has no `{field}`")
            }
            Self::Tree(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WorkspaceError {}

/// A library or a program of a package, with the dependencies between its modules.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) graphs: Vec<SiblingGraph>,
}

/// A package of the workspace.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The packages of the workspace on which this one depends, without development dependencies.
    pub(crate) dependencies: BTreeSet<String>,
    pub(crate) targets: Vec<Target>,
}

/// All packages of a workspace, with their modules.
#[derive(Debug)]
pub struct Workspace {
    pub(crate) packages: Vec<Package>,
}

impl Workspace {
    /// Reads the sources of all packages that `cargo metadata --no-deps --format-version 1` lists.
    ///
    /// # Errors
    /// [`WorkspaceError`] if `metadata` lacks a field, or a source file is missing, cannot be read, or is not
    /// Rust.
    pub fn read(metadata: &Value) -> Result<Self, WorkspaceError> {
        let base = text(metadata, "workspace_root")?;
        let listed = list(metadata, "packages")?;
        let names: BTreeSet<&str> =
            listed.iter().filter_map(|package| package.get("name")?.as_str()).collect();
        let packages = listed.iter().map(|package| read_package(package, Path::new(base), &names));
        Ok(Self { packages: packages.collect::<Result<_, _>>()? })
    }

    /// Returns the import cycles between sibling modules.
    #[must_use]
    pub fn cycles(&self) -> Vec<Cycle> {
        let targets = self.packages.iter().flat_map(|package| &package.targets);
        targets.flat_map(|target| &target.graphs).flat_map(SiblingGraph::cycles).collect()
    }
}

fn read_package(package: &Value, base: &Path, names: &BTreeSet<&str>) -> Result<Package, WorkspaceError> {
    let name = text(package, "name")?;
    let dependencies = list(package, "dependencies")?.iter().filter_map(|dependency| {
        let name = dependency.get("name")?.as_str()?;
        let is_for_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
        (names.contains(name) && !is_for_tests).then(|| name.to_owned())
    });
    let is = |target: &Value, kind: &str| {
        let kinds = target.get("kind").and_then(Value::as_array);
        kinds.is_some_and(|kinds| kinds.iter().any(|found| found == kind))
    };
    let is_library = |target: &Value| is(target, "lib") || is(target, "proc-macro");
    let has_library = list(package, "targets")?.iter().any(is_library);
    let mut targets = Vec::new();
    for target in list(package, "targets")? {
        if !is_library(target) && !is(target, "bin") {
            continue;
        }
        let target_name = text(target, "name")?;
        let shown = match target_name == name {
            _ if is_library(target) => name.to_owned(),
            true if has_library => format!("{name} (program)"),
            true => name.to_owned(),
            false => format!("{name} (program {target_name})"),
        };
        let tree = ModuleTree::read(&shown, base, Path::new(text(target, "src_path")?))
            .map_err(WorkspaceError::Tree)?;
        targets.push(Target { graphs: graphs(&tree) });
    }
    Ok(Package { name: name.to_owned(), dependencies: dependencies.collect(), targets })
}

fn text<'a>(value: &'a Value, field: &'static str) -> Result<&'a str, WorkspaceError> {
    value.get(field).and_then(Value::as_str).ok_or(WorkspaceError::Metadata { field })
}

fn list<'a>(value: &'a Value, field: &'static str) -> Result<&'a [Value], WorkspaceError> {
    let list = value.get(field).and_then(Value::as_array);
    list.map(Vec::as_slice).ok_or(WorkspaceError::Metadata { field })
}
