//! Runs the blocks of one page in order.

use super::block::{Action, Block, Shown, blocks};
use super::likeness::{alike, begins_alike};
use super::shell::Shell;
use super::{NOT_RUN, Place};
use runway_steps::root;
use std::fs;
use std::path::Path;

/// A page and its blocks.
pub(super) struct Page {
    name: String,
    blocks: Vec<Block>,
}

impl Page {
    pub(super) fn read(name: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(root().join(name)).map_err(|error| error.to_string())?;
        Ok(Self { name: name.display().to_string(), blocks: blocks(&text)? })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn needs_a_cluster(&self) -> bool {
        self.blocks.iter().any(|block| block.only == Some(Place::Cluster))
    }

    #[cfg(test)]
    pub(super) fn begins_a_block(&self, start: &str) -> bool {
        self.blocks.iter().any(|block| block.text.starts_with(start))
    }

    /// Returns the blocks to run. Fails if another block is neither excluded nor has an action.
    pub(super) fn plan(&self) -> Result<Vec<&Block>, String> {
        let mut plan = Vec::new();
        for block in &self.blocks {
            let is_excused =
                NOT_RUN.iter().any(|(name, start, _)| *name == self.name && block.text.starts_with(start));
            match (&block.action, is_excused) {
                (_, true) => {}
                (Action::None, false) => {
                    return Err(format!("line {}: the block has no action", block.line));
                }
                (_, false) => plan.push(block),
            }
        }
        Ok(plan)
    }

    /// Runs the blocks for this target. Returns the number of blocks that were run.
    pub(super) fn run(&self, place: Place) -> Result<usize, String> {
        let mut shell = Shell::open(place == Place::Cluster)?;
        let (mut ran, mut faults) = (0, String::new());
        for block in self.plan()? {
            if block.only.is_some_and(|only| only != place) {
                continue;
            }
            if let Err(what) = run(block, &mut shell) {
                faults.push_str(&format!("\nline {}: {what}", block.line));
            }
            ran += 1;
        }
        if faults.is_empty() { Ok(ran) } else { Err(faults) }
    }
}

fn run(block: &Block, shell: &mut Shell) -> Result<(), String> {
    match &block.action {
        Action::None => Ok(()),
        Action::Write { file } => shell.write(file, &block.text),
        Action::Excerpt { file } => {
            let whole = fs::read_to_string(root().join(file)).map_err(|error| format!("{file}: {error}"))?;
            if is_excerpt(&block.text, &whole) { Ok(()) } else { Err(format!("not found in {file}")) }
        }
        Action::Run { commands, exit, vary, background } => {
            for (number, shown) in commands.iter().enumerate() {
                let Shown { command, output } = shown;
                let expected = output.as_deref().unwrap_or("…");
                if *background {
                    shell.run_on(command, |printed| begins_alike(expected, printed, *vary))?;
                    continue;
                }
                let ran = shell.run(command)?;
                let is_last = number + 1 == commands.len();
                let code = if is_last { *exit } else { 0 };
                if ran.code != code {
                    return Err(format!(
                        "{command}expected exit code {code}, got {}:\n{}",
                        ran.code, ran.printed
                    ));
                }
                if !alike(expected, &ran.printed, *vary) {
                    return Err(format!("{command}printed:\n{}\nexpected:\n{expected}", ran.printed));
                }
            }
            Ok(())
        }
    }
}

/// Whether a file contains these lines consecutively. Indentation is ignored.
fn is_excerpt(text: &str, whole: &str) -> bool {
    let lines = |text: &str| text.trim().lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    let (part, whole) = (lines(text), lines(whole));
    !part.is_empty() && whole.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_whole_lines_in_a_row() {
        let whole = "fn a() {\n    one();\n    two();\n}\n";
        assert!(is_excerpt("one();\ntwo();\n", whole));
        for wrong in ["one();\n}\n", "one()", ""] {
            assert!(!is_excerpt(wrong, whole), "{wrong}");
        }
    }

    fn page(text: &str) -> Page {
        Page { name: "a page".to_owned(), blocks: blocks(text).unwrap() }
    }

    fn fault(text: &str) -> String {
        page(text).run(Place::Here).unwrap_err()
    }

    #[test]
    fn a_page_that_is_true_runs_in_one_shell() {
        let told = "```yaml file=a.yaml\na: 1\n```\n```sh\nX=2\n```\n```console\n$ cat a.yaml; echo $X\na: 1\n2\n```\n\
                    ```console background\n$ echo begun; sleep 1000\nbegun\n```\n```sh exit=3\n(exit 3)\n```\n\
                    ```sh cluster\nfalse\n```\n```sh here\ntrue\n```\n";
        assert_eq!(page(told).run(Place::Here).unwrap(), 6);
    }

    #[test]
    fn a_page_that_is_not_true_is_told_of_by_its_line() {
        let ends = fault("text\n```sh\nfalse\ntrue\n```\n");
        assert!(ends.starts_with("\nline 2: ") && ends.contains("expected exit code 0, got 1"), "{ends}");
        let prints = fault("```console\n$ echo one\ntwo\n```\n");
        assert!(prints.contains("printed:\none\n"), "{prints}");
        let shows_nothing = fault("```console\n$ echo one\n```\n");
        assert!(shows_nothing.contains("printed:\none\n"), "{shows_nothing}");
        let unsaid = fault("```yaml\na: 1\n```\n");
        assert!(unsaid.contains("the block has no action"), "{unsaid}");
        let excerpt = fault("```rust from=xtask/src/main.rs\nfn nowhere() {}\n```\n");
        assert!(excerpt.contains("not found in xtask/src/main.rs"), "{excerpt}");
    }
}
