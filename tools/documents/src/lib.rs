//! Checks the pages for users: runs every command, compares its output with the page, and checks that every
//! excerpt matches its file.

mod block;
mod likeness;
mod page;
mod shell;

use page::Page;
use runway_devcluster::{Kubectl, Session};
use runway_steps::{Failed, cargo, root};
use std::path::PathBuf;
use std::process::Command;

/// Pages whose blocks are run, in addition to those in `docs/how-to/`.
const PAGES: [&str; 3] = ["README.md", "docs/tutorial.md", "docs/server.md"];

/// Blocks that are not run: the page, the beginning of the block, and the reason.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("README.md", "cargo xtask test\n", "this command runs the documents"),
    ("docs/tutorial.md", "cargo install ", "the built programs are on the search path"),
    ("docs/tutorial.md", "cargo xtask cluster down\n", "other tests need the cluster"),
    ("docs/how-to/embed.md", "[dependencies]\n", "the path of the project is an example"),
];

/// The target on which blocks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// This machine, without a cluster.
    Here,
    /// The cluster of `KUBECONFIG`. Only pages with at least one `cluster` block are run.
    Cluster,
}

/// Runs the pages without a cluster.
///
/// # Errors
/// [`StepError`] if a program cannot be built, or a page does not match.
pub fn check() -> Result<(), Failed> {
    build()?;
    run(Place::Here)
}

/// Runs the pages that need a cluster on the session's cluster.
///
/// # Errors
/// [`StepError`] if a program cannot be built, or a page does not match.
pub fn on_a_cluster(session: &mut Session) -> Result<(), Failed> {
    build()?;
    let program = std::env::current_exe().map_err(|error| not_started("the documents", error))?;
    session.run("the documents on a cluster", Command::new(program).args(["documents", "--cluster"]))
}

/// Runs the pages that need a cluster on the cluster of `KUBECONFIG`.
///
/// # Errors
/// [`StepError`] if there is no `kubectl`, or a page does not match.
pub fn run_on_the_cluster() -> Result<(), Failed> {
    let kubectl = Kubectl::new()?;
    let ran = run(Place::Cluster);
    // The namespace of the pages is deleted, so that later steps find the cluster unchanged.
    let removed = kubectl.call(&["delete", "namespace", "runway-jobs", "--ignore-not-found"], None);
    ran.and(removed.map(drop).map_err(|what| wrong("the documents", what)))
}

fn build() -> Result<(), Failed> {
    let programs = ["build", "--locked", "-p", "runway-cli", "-p", "runway-http", "--bins"];
    cargo("the programs for the documents", &programs)
}

fn run(place: Place) -> Result<(), Failed> {
    eprintln!("\nxtask: running the documents");
    let mut untrue = String::new();
    for page in pages()? {
        if place == Place::Here || page.needs_a_cluster() {
            match page.run(place) {
                Ok(ran) => eprintln!("xtask: {}: {ran} blocks", page.name()),
                Err(faults) => untrue.push_str(&format!("\n{}:{faults}", page.name())),
            }
        }
    }
    if untrue.is_empty() { Ok(()) } else { Err(wrong("the documents", untrue)) }
}

fn pages() -> Result<Vec<Page>, Failed> {
    let folder = root().join("docs/how-to");
    let told = |error| not_started("the how-to pages", error);
    let mut names: Vec<PathBuf> = PAGES.iter().map(PathBuf::from).collect();
    let mut how_to = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(told)? {
        how_to.push(PathBuf::from("docs/how-to").join(entry.map_err(told)?.file_name()));
    }
    how_to.sort();
    names.extend(how_to);
    names
        .iter()
        .map(|name| Page::read(name).map_err(|what| wrong(&name.display().to_string(), what)))
        .collect()
}

fn wrong(step: &str, what: String) -> Failed {
    Failed::Wrong { step: step.to_owned(), what }
}

fn not_started(step: &str, error: std::io::Error) -> Failed {
    Failed::NotStarted { step: step.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::{NOT_RUN, pages};
    use runway_steps::root;
    use std::path::Path;

    #[test]
    fn every_block_is_run_or_has_its_reason() {
        for page in pages().unwrap() {
            page.plan().unwrap();
        }
    }

    #[test]
    fn no_reason_is_without_its_block() {
        let pages = pages().unwrap();
        for (name, start, _) in NOT_RUN {
            let page = pages.iter().find(|page| page.name() == *name).unwrap();
            assert!(page.begins_a_block(start), "{name}: {start}");
        }
    }

    /// Returns the link targets of a page, without URLs.
    fn links(text: &str) -> impl Iterator<Item = &str> {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://"))
    }

    /// Returns the anchors that GitHub generates for the headings.
    fn anchors(text: &str) -> Vec<String> {
        let headings = text.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                kept.collect::<String>().replace(' ', "-")
            })
            .collect()
    }

    fn pages_below(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                pages_below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_link_leads_somewhere() {
        let mut found = Vec::new();
        pages_below(&root(), &mut found);
        assert!(found.len() > 30);
        for file in found {
            let text = std::fs::read_to_string(&file).unwrap();
            for link in links(&text) {
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
                assert!(target.exists(), "{}: {link}", file.display());
                if !anchor.is_empty() {
                    let there = anchors(&std::fs::read_to_string(&target).unwrap());
                    assert!(there.iter().any(|name| name == anchor), "{}: {link}: {there:?}", file.display());
                }
            }
        }
    }
}
