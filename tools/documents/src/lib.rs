//! Checks the pages for users: runs the commands, compares their output with the page, and checks that every
//! excerpt matches its file.

mod block;
mod output_match;
mod page;
mod shell;

use page::Page;
use runway_devcluster::{Kubectl, Session};
use runway_steps::{StepError, run_cargo, workspace_root};
use std::path::PathBuf;
use std::process::Command;

/// Pages whose blocks are run, in addition to those in `docs/how-to/`.
const EXECUTED_PAGES: [&str; 3] = ["README.md", "docs/tutorial.md", "docs/server.md"];

/// Blocks that are not run: the page, the beginning of the block, and the reason.
const EXCLUDED_BLOCKS: &[(&str, &str, &str)] = &[
    ("README.md", "cargo xtask test\n", "this command runs the documents"),
    ("docs/tutorial.md", "cargo install ", "the built programs are on the search path"),
    ("docs/tutorial.md", "cargo xtask cluster down\n", "other tests need the cluster"),
    ("docs/how-to/embed.md", "[dependencies]\n", "the path of the project is an example"),
    ("docs/how-to/run-jobs-from-rust.md", "[dependencies]\n", "the path of the project is an example"),
];

/// The target on which blocks are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunTarget {
    /// This machine, without a cluster.
    Local,
    /// The cluster of `KUBECONFIG`. Only pages with at least one `cluster` block are run.
    Cluster,
}

/// Runs the pages without a cluster.
///
/// # Errors
/// [`StepError`] if a program cannot be built, or a page does not match.
pub fn check() -> Result<(), StepError> {
    build_programs()?;
    run_pages(RunTarget::Local)
}

/// Runs the pages that need a cluster on the session's cluster.
///
/// # Errors
/// [`StepError`] if a program cannot be built, or a page does not match.
pub fn check_on_cluster(session: &mut Session) -> Result<(), StepError> {
    build_programs()?;
    let program = std::env::current_exe().map_err(StepError::io("the documents"))?;
    session.run("the documents on a cluster", Command::new(program).args(["documents", "--cluster"]))
}

/// Runs the pages that need a cluster on the cluster of `KUBECONFIG`.
///
/// # Errors
/// [`StepError`] if there is no `kubectl`, or a page does not match.
pub fn run_on_cluster() -> Result<(), StepError> {
    let kubectl = Kubectl::new()?;
    let result = run_pages(RunTarget::Cluster);
    // The guardrails of the pages are deleted, so that later steps find the cluster unchanged.
    let remove = |objects: [&str; 2]| {
        let removed = kubectl.run(&["delete", objects[0], objects[1], "--ignore-not-found"], None);
        removed.map(drop).map_err(|what| StepError::check_failed("the documents", what))
    };
    let admission = "validatingadmissionpolicies,validatingadmissionpolicybindings";
    let removed = remove(["namespace", "runway-jobs"]);
    result.and(removed).and(remove([admission, "runway-jobs.runway.dev"]))
}

fn build_programs() -> Result<(), StepError> {
    let programs = ["build", "--locked", "-p", "runway-cli", "-p", "runway-http", "--bins"];
    run_cargo("the programs for the documents", &programs)
}

fn run_pages(place: RunTarget) -> Result<(), StepError> {
    eprintln!("\nxtask: running the documents");
    let mut failures = String::new();
    for page in pages()? {
        if place == RunTarget::Local || page.needs_cluster() {
            match page.run(place) {
                Ok(ran) => eprintln!("xtask: {}: {ran} blocks", page.name()),
                Err(faults) => failures.push_str(&format!("\n{}:{faults}", page.name())),
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(StepError::check_failed("the documents", failures)) }
}

fn pages() -> Result<Vec<Page>, StepError> {
    let dir = workspace_root().join("docs/how-to");
    let read_error = || StepError::io("the how-to pages");
    let mut names: Vec<PathBuf> = EXECUTED_PAGES.iter().map(PathBuf::from).collect();
    let mut how_to = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(read_error())? {
        how_to.push(PathBuf::from("docs/how-to").join(entry.map_err(read_error())?.file_name()));
    }
    how_to.sort();
    names.extend(how_to);
    names
        .iter()
        .map(|name| {
            Page::read(name).map_err(|what| StepError::check_failed(name.display().to_string(), what))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{EXCLUDED_BLOCKS, pages};
    use runway_steps::workspace_root;
    use std::path::Path;

    #[test]
    fn every_block_is_run_or_excluded() {
        for page in pages().unwrap() {
            page.runnable_blocks().unwrap();
        }
    }

    #[test]
    fn every_exclusion_matches_a_block() {
        let pages = pages().unwrap();
        for (name, start, _) in EXCLUDED_BLOCKS {
            let page = pages.iter().find(|page| page.name() == *name).unwrap();
            assert!(page.has_block_starting_with(start), "{name}: {start}");
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

    /// Returns the text below a heading of the second level.
    fn section(page: &str, heading: &str) -> String {
        let text = std::fs::read_to_string(workspace_root().join(page)).unwrap();
        let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap();
        below.split("\n## ").next().unwrap().to_owned()
    }

    /// Returns the abilities that version 1 lacks, each with its state and its alternative.
    fn missing_abilities() -> Vec<(String, String)> {
        // A list item can have several lines.
        let text = section("docs/project_spec.md", "Planned, and left out").replace("\n  ", " ");
        let items = text.lines().filter_map(|line| line.strip_prefix("- "));
        let parts = items.map(|item| item.split_once(": ").unwrap());
        parts.map(|(ability, state)| (ability.to_owned(), state.to_owned())).collect()
    }

    #[test]
    fn each_missing_ability_has_state_and_alternative() {
        for (ability, state) in missing_abilities() {
            let (state, alternative) = state.split_once(" Instead: ").unwrap();
            let is_known = state == "planned."
                || state.strip_prefix("left out, because ").is_some_and(|why| !why.is_empty());
            assert!(is_known, "{ability}: {state}");
            assert!(!alternative.is_empty(), "{ability}");
        }
    }

    #[test]
    fn abilities_of_similar_systems_are_listed() {
        let abilities: Vec<String> = missing_abilities().into_iter().map(|(ability, _)| ability).collect();
        for wanted in [
            "gRPC",
            "start CMD",
            "Schedules",
            "arrays",
            "Dependencies",
            "Workflows",
            "Queues",
            "Containers",
            "gpu_slurm",
            "Volumes",
            "Artifacts",
            "Gang scheduling",
            "services",
            "environment manager",
            "Hardened image",
            "Warm pool",
            "Hybrid mode",
            "Auto-scaling",
            "logs_url",
            "Progress",
            "started, completed",
            "History",
            "Models",
            "FastAPI",
            "replicas",
            "Identity",
            "webhooks",
            "CI/CD",
        ] {
            assert!(abilities.iter().any(|ability| ability.contains(wanted)), "{wanted}");
        }
    }

    #[test]
    fn planned_abilities_are_in_the_status() {
        let next = section("docs/project_status.md", "Next");
        for (ability, state) in missing_abilities() {
            let name = ability.split("**").nth(1).unwrap();
            assert_eq!(next.contains(name), state.starts_with("planned."), "{name}");
        }
    }

    #[test]
    fn changelog_begins_with_the_version_of_the_workspace() {
        let text = std::fs::read_to_string(workspace_root().join("docs/changelog.md")).unwrap();
        let newest = text.lines().find_map(|line| line.strip_prefix("## ")).unwrap();
        assert_eq!(newest.split(' ').next(), Some(env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn overview_pages_have_their_sections() {
        for (page, headings) in [
            ("docs/features.md", &["Admission", "Rate limits and quotas", "Cost", "Observability"][..]),
            (
                "docs/project_status.md",
                &["Milestones", "Complete", "In progress", "Next", "Known limits"][..],
            ),
        ] {
            for heading in headings {
                assert!(!section(page, heading).trim().is_empty(), "{page}: {heading}");
            }
        }
    }

    fn pages_below(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                pages_below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }

    #[test]
    fn every_link_has_a_target() {
        let mut found = Vec::new();
        pages_below(&workspace_root(), &mut found);
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
