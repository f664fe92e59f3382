//! Resolves a path to the modules that it names. Follows re-exports.

use crate::syntax::{Import, Reference, ReferenceKind};
use crate::tree::{ModuleId, ModuleTree};
use std::collections::BTreeSet;

/// The result of a lookup: a module, or an item of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resolved {
    Module(ModuleId),
    ItemOf(ModuleId),
}

impl Resolved {
    const fn module(self) -> ModuleId {
        match self {
            Self::Module(id) | Self::ItemOf(id) => id,
        }
    }
}

/// Resolves paths in one crate.
pub(crate) struct Resolver<'a> {
    tree: &'a ModuleTree,
    /// Active lookups. A nested lookup of the same name finds nothing, so circular re-exports end.
    pending: Vec<(ModuleId, String)>,
}

impl<'a> Resolver<'a> {
    pub(crate) const fn new(tree: &'a ModuleTree) -> Self {
        Self { tree, pending: Vec::new() }
    }

    /// Returns the modules that a reference in module `from` names, and the module that defines the last name
    /// of the path. The result is empty if the path leads out of the crate.
    pub(crate) fn modules(&mut self, from: ModuleId, reference: &Reference) -> BTreeSet<ModuleId> {
        let mut named = Vec::new();
        let found = match reference.path.as_slice() {
            // A `use` declaration brings a single name into the module, and this declaration has already been
            // counted. Only a name from a glob import is not counted yet.
            [name] if reference.kind == ReferenceKind::Inline && !is_keyword(name) => {
                self.lookup_through_globs(from, name)
            }
            path => self.resolve(from, path, &mut named),
        };
        named.into_iter().chain(found.into_iter().map(Resolved::module)).collect()
    }

    fn resolve(&mut self, from: ModuleId, path: &[String], named: &mut Vec<ModuleId>) -> Vec<Resolved> {
        let mut current = from;
        let mut names = path;
        while let Some((first, rest)) = names.split_first() {
            match first.as_str() {
                "crate" => current = ModuleTree::root(),
                "self" => {}
                "super" => match self.tree.module(current).and_then(|module| module.parent) {
                    Some(parent) => current = parent,
                    None => return Vec::new(),
                },
                _ => break,
            }
            names = rest;
        }
        while let Some((name, rest)) = names.split_first() {
            let found = self.lookup(current, from, name);
            let inner = found.iter().find_map(|found| match found {
                Resolved::Module(id) => Some(*id),
                Resolved::ItemOf(_) => None,
            });
            match inner {
                Some(id) if !rest.is_empty() => {
                    named.push(id);
                    current = id;
                }
                // The rest of the path is inside of an item, such as a variant or an associated function.
                _ => return found,
            }
            names = rest;
        }
        vec![Resolved::Module(current)]
    }

    /// Looks up a name in a module, as far as module `from` can see it.
    fn lookup(&mut self, id: ModuleId, from: ModuleId, name: &str) -> Vec<Resolved> {
        let Some(module) = self.tree.module(id) else { return Vec::new() };
        let key = (id, name.to_owned());
        if self.pending.contains(&key) {
            return Vec::new();
        }
        self.pending.push(key);
        let mut found: Vec<Resolved> =
            module.children.get(name).map(|child| Resolved::Module(*child)).into_iter().collect();
        if module.items.contains(name) {
            found.push(Resolved::ItemOf(id));
        }
        let mut is_declared = !found.is_empty();
        for import in &module.imports {
            if import.name.as_deref() == Some(name) && self.is_visible(import, id, from) {
                is_declared = true;
                found.extend(self.resolve(id, &import.path, &mut Vec::new()));
            }
        }
        if !is_declared {
            found = self.search_globs(id, from, name);
        }
        self.pending.pop();
        found
    }

    /// Looks up a name in the glob imports of a module, unless the module declares the name itself.
    fn lookup_through_globs(&mut self, id: ModuleId, name: &str) -> Vec<Resolved> {
        let Some(module) = self.tree.module(id) else { return Vec::new() };
        let is_declared = module.children.contains_key(name)
            || module.items.contains(name)
            || module.imports.iter().any(|import| import.name.as_deref() == Some(name));
        if is_declared { Vec::new() } else { self.search_globs(id, id, name) }
    }

    fn search_globs(&mut self, id: ModuleId, from: ModuleId, name: &str) -> Vec<Resolved> {
        let Some(module) = self.tree.module(id) else { return Vec::new() };
        let mut found = Vec::new();
        for import in &module.imports {
            if import.name.is_some() || !self.is_visible(import, id, from) {
                continue;
            }
            for source in self.resolve(id, &import.path, &mut Vec::new()) {
                if let Resolved::Module(source) = source
                    && source != id
                {
                    found.extend(self.lookup(source, id, name));
                }
            }
        }
        found
    }

    /// Whether module `from` can see an import. Private imports are visible in their own module and below it.
    fn is_visible(&self, import: &Import, owner: ModuleId, from: ModuleId) -> bool {
        import.is_public || self.tree.ancestry(from).any(|id| id == owner)
    }
}

fn is_keyword(name: &str) -> bool {
    matches!(name, "crate" | "self" | "super")
}
