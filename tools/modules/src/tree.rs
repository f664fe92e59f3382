//! The modules of one crate, read from its sources.

use crate::syntax::{Import, ModuleSource, Reference, parse};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

/// The index of a module in its crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModuleId(usize);

/// An error while reading a crate.
#[derive(Debug)]
pub enum TreeError {
    /// A source file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        error: io::Error,
    },
    /// A source file is not Rust.
    Parse {
        /// The file.
        path: PathBuf,
        /// The parse error.
        error: syn::Error,
    },
    /// A declared module has no file.
    NoFile {
        /// The file with the declaration.
        path: PathBuf,
        /// The name of the module.
        module: String,
    },
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, error } => write!(f, "cannot read `{}`: {error}", path.display()),
            Self::Parse { path, error } => {
                write!(f, "cannot parse `{}`: line {}: {error}", path.display(), error.span().start().line)
            }
            Self::NoFile { path, module } => {
                write!(f, "`{}` declares `mod {module}`, which has no file", path.display())
            }
        }
    }
}

impl std::error::Error for TreeError {}

/// A module: its position in the tree, its names, and the paths that it contains.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) parent: Option<ModuleId>,
    pub(crate) file: PathBuf,
    pub(crate) children: BTreeMap<String, ModuleId>,
    /// Names of the module's own items.
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    pub(crate) references: Vec<Reference>,
}

/// The module tree of one target of a package, without modules that are compiled only for tests.
#[derive(Debug)]
pub(crate) struct ModuleTree {
    name: String,
    /// The directory to which the paths in messages are relative.
    base: PathBuf,
    modules: Vec<Module>,
}

/// The file of a module, and the directories in which the files of its child modules are found.
#[derive(Debug, Clone)]
struct Location {
    file: PathBuf,
    /// The directory with the file of a child that is declared as `mod name;`.
    children: PathBuf,
    /// The directory to which the `#[path]` attribute of a child is relative.
    attribute: PathBuf,
}

impl ModuleTree {
    /// Reads a crate from the file of its root module. Messages show paths relative to `base`.
    ///
    /// # Errors
    /// [`TreeError`] if a file of the crate is missing, cannot be read, or is not Rust.
    pub(crate) fn read(name: &str, base: &Path, root: &Path) -> Result<Self, TreeError> {
        let mut tree = Self { name: name.to_owned(), base: base.to_owned(), modules: Vec::new() };
        tree.add_file("crate", None, root, true)?;
        Ok(tree)
    }

    pub(crate) const fn root() -> ModuleId {
        ModuleId(0)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ModuleId> + use<> {
        (0..self.modules.len()).map(ModuleId)
    }

    /// Returns the module with this id; `None` if the tree does not contain it.
    pub(crate) fn module(&self, id: ModuleId) -> Option<&Module> {
        self.modules.get(id.0)
    }

    /// Returns the module and the modules that contain it; the root is last.
    pub(crate) fn ancestry(&self, id: ModuleId) -> impl Iterator<Item = ModuleId> {
        std::iter::successors(Some(id), |id| self.module(*id)?.parent)
    }

    /// The display path of a module, such as `runway-cli::commands`.
    pub(crate) fn path(&self, id: ModuleId) -> String {
        let names =
            self.ancestry(id).filter_map(|id| self.module(id).filter(|module| module.parent.is_some()));
        let mut names: Vec<&str> = names.map(|module| module.name.as_str()).collect();
        names.push(&self.name);
        names.reverse();
        names.join("::")
    }

    fn add_file(
        &mut self,
        name: &str,
        parent: Option<ModuleId>,
        file: &Path,
        is_directory_owner: bool,
    ) -> Result<ModuleId, TreeError> {
        let text =
            fs::read_to_string(file).map_err(|error| TreeError::Read { path: file.to_owned(), error })?;
        let source = parse(&text).map_err(|error| TreeError::Parse { path: file.to_owned(), error })?;
        let directory = file.parent().unwrap_or(Path::new("")).to_owned();
        let own = if is_directory_owner || file.file_name().is_some_and(|name| name == "mod.rs") {
            directory.clone()
        } else {
            file.with_extension("")
        };
        self.add(
            name,
            parent,
            &Location { file: file.to_owned(), children: own, attribute: directory },
            source,
        )
    }

    fn add(
        &mut self,
        name: &str,
        parent: Option<ModuleId>,
        location: &Location,
        source: ModuleSource,
    ) -> Result<ModuleId, TreeError> {
        let id = ModuleId(self.modules.len());
        self.modules.push(Module {
            name: name.to_owned(),
            parent,
            file: location.file.strip_prefix(&self.base).unwrap_or(&location.file).to_owned(),
            children: BTreeMap::new(),
            items: source.items,
            imports: source.imports,
            references: source.references,
        });
        for declared in source.modules {
            let child = match declared.content {
                Some(content) => {
                    let children = location.children.join(&declared.name);
                    let inner = Location { attribute: children.clone(), children, ..location.clone() };
                    self.add(&declared.name, Some(id), &inner, content)?
                }
                None => {
                    let (file, is_owner) = match declared.path {
                        Some(path) => (location.attribute.join(path), true),
                        None => (find_module_file(location, &declared.name)?, false),
                    };
                    self.add_file(&declared.name, Some(id), &file, is_owner)?
                }
            };
            if let Some(module) = self.modules.get_mut(id.0) {
                module.children.insert(declared.name, child);
            }
        }
        Ok(id)
    }
}

/// Finds the file of `mod name;`.
fn find_module_file(location: &Location, name: &str) -> Result<PathBuf, TreeError> {
    let candidates =
        [location.children.join(format!("{name}.rs")), location.children.join(name).join("mod.rs")];
    let found = candidates.into_iter().find(|file| file.is_file());
    found.ok_or_else(|| TreeError::NoFile { path: location.file.clone(), module: name.to_owned() })
}
