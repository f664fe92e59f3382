//! The dependencies between sibling modules, and their cycles.

use crate::resolve::Resolver;
use crate::syntax::ReferenceKind;
use crate::tree::{ModuleId, ModuleTree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::PathBuf;

/// A source line on which one module names another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Occurrence {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// The dependencies between the children of one module.
#[derive(Debug)]
pub(crate) struct SiblingGraph {
    /// The path of the parent, such as `runway-cli::commands`.
    pub(crate) parent: String,
    pub(crate) modules: Vec<String>,
    /// Pairs of children in which the first uses the second, with the first use in each file.
    pub(crate) uses: BTreeMap<(String, String), Vec<Occurrence>>,
}

/// A cycle: each module uses the next one, and the last one uses the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    parent: String,
    steps: Vec<(String, Vec<Occurrence>)>,
}

/// Formats the cycle as `crate: a -> b (file:line imports path) -> a`.
impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.parent)?;
        let names = self.steps.iter().map(|(name, _)| name);
        for ((name, occurrences), next) in self.steps.iter().zip(names.clone().cycle().skip(1)) {
            if Some(name) == names.clone().next() {
                write!(f, " {name}")?;
            }
            write!(f, " -> {next}")?;
            if let Some(first) = occurrences.first() {
                write!(f, " ({}:{} imports {}", first.file.display(), first.line, first.path)?;
                match occurrences.len() - 1 {
                    0 => write!(f, ")")?,
                    1 => write!(f, ", and 1 more file)")?,
                    more => write!(f, ", and {more} more files)")?,
                }
            }
        }
        Ok(())
    }
}

/// Returns one graph for each module of a crate that has children.
pub(crate) fn graphs(tree: &ModuleTree) -> Vec<SiblingGraph> {
    let mut uses: BTreeMap<ModuleId, BTreeMap<(ModuleId, ModuleId), Vec<Occurrence>>> = BTreeMap::new();
    let mut resolver = Resolver::new(tree);
    for from in tree.ids() {
        let Some(module) = tree.module(from) else { continue };
        for reference in &module.references {
            let targets = resolver.modules(from, reference);
            let edges: BTreeSet<_> =
                targets.into_iter().filter_map(|target| siblings(tree, from, target)).collect();
            for (parent, user, used) in edges {
                let occurrences = uses.entry(parent).or_default().entry((user, used)).or_default();
                if occurrences.iter().all(|known| known.file != module.file) {
                    let mut path = reference.path.join("::");
                    if reference.kind == ReferenceKind::Glob {
                        path.push_str("::*");
                    }
                    occurrences.push(Occurrence { file: module.file.clone(), line: reference.line, path });
                }
            }
        }
    }
    let name = |id: ModuleId| tree.module(id).map(|module| module.name.clone()).unwrap_or_default();
    let parents =
        tree.ids().filter_map(|id| Some((id, tree.module(id).filter(|one| !one.children.is_empty())?)));
    parents
        .map(|(id, module)| SiblingGraph {
            parent: tree.path(id),
            modules: module.children.keys().cloned().collect(),
            uses: uses
                .remove(&id)
                .unwrap_or_default()
                .into_iter()
                .map(|((user, used), occurrences)| ((name(user), name(used)), occurrences))
                .collect(),
        })
        .collect()
}

/// Returns the closest module that contains both modules, the child that contains `user`, and the child that
/// contains `used`. Returns `None` if `user` and `used` are equal, or if one contains the other.
fn siblings(tree: &ModuleTree, user: ModuleId, used: ModuleId) -> Option<(ModuleId, ModuleId, ModuleId)> {
    let chain = |id| {
        let mut chain: Vec<ModuleId> = tree.ancestry(id).collect();
        chain.reverse();
        chain
    };
    let (user, used) = (chain(user), chain(used));
    let shared = user.iter().zip(&used).take_while(|(a, b)| a == b).count();
    Some((*user.get(shared.checked_sub(1)?)?, *user.get(shared)?, *used.get(shared)?))
}

impl SiblingGraph {
    /// Returns the shortest cycle through each use that is part of a cycle. Shorter cycles come first.
    pub(crate) fn cycles(&self) -> Vec<Cycle> {
        let mut found: BTreeSet<(usize, Vec<&str>)> = BTreeSet::new();
        for (user, used) in self.uses.keys() {
            if let Some(mut cycle) = self.shortest_path(used, user) {
                let first = cycle.iter().enumerate().min_by_key(|(_, name)| **name).map(|(at, _)| at);
                cycle.rotate_left(first.unwrap_or_default());
                found.insert((cycle.len(), cycle));
            }
        }
        let step = |user: &str, used: &str| {
            let occurrences = self.uses.get(&(user.to_owned(), used.to_owned()));
            (user.to_owned(), occurrences.cloned().unwrap_or_default())
        };
        let cycle = |(_, names): (usize, Vec<&str>)| Cycle {
            parent: self.parent.clone(),
            steps: names
                .iter()
                .zip(names.iter().cycle().skip(1))
                .map(|(user, used)| step(user, used))
                .collect(),
        };
        found.into_iter().map(cycle).collect()
    }

    /// Returns the shortest path from one module to another, including both.
    fn shortest_path<'a>(&'a self, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
        let mut predecessors: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from, None)]);
        let mut queue = VecDeque::from([from]);
        while let Some(current) = queue.pop_front() {
            if current == to {
                let mut path: Vec<&str> =
                    std::iter::successors(Some(current), |name| predecessors.get(name).copied().flatten())
                        .collect();
                path.reverse();
                return Some(path);
            }
            for (user, used) in self.uses.keys() {
                if user == current && !predecessors.contains_key(used.as_str()) {
                    predecessors.insert(used, Some(current));
                    queue.push_back(used);
                }
            }
        }
        None
    }
}
