//! Runs the blocks of one page in order.

use super::block::{Block, BlockAction, ShownCommand, parse_blocks};
use super::output_match::{matches, matches_prefix};
use super::shell::Shell;
use super::{EXCLUDED_BLOCKS, RunTarget};
use runway_steps::workspace_root;
use std::fs;
use std::path::Path;

/// A page and its blocks.
pub(super) struct Page {
    name: String,
    blocks: Vec<Block>,
}

impl Page {
    pub(super) fn read(name: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(workspace_root().join(name)).map_err(|error| error.to_string())?;
        Ok(Self { name: name.display().to_string(), blocks: parse_blocks(&text)? })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn needs_cluster(&self) -> bool {
        self.blocks.iter().any(|block| block.target == Some(RunTarget::Cluster))
    }

    #[cfg(test)]
    pub(super) fn has_block_starting_with(&self, start: &str) -> bool {
        self.blocks.iter().any(|block| block.text.starts_with(start))
    }

    /// Returns the blocks that are not excluded, for all targets. Fails if one of them has no action.
    pub(super) fn runnable_blocks(&self) -> Result<Vec<&Block>, String> {
        let mut plan = Vec::new();
        for block in &self.blocks {
            let is_excluded = EXCLUDED_BLOCKS
                .iter()
                .any(|(name, start, _)| *name == self.name && block.text.starts_with(start));
            match (&block.action, is_excluded) {
                (_, true) => {}
                (BlockAction::Unspecified, false) => {
                    return Err(format!("line {}: the block has no action", block.line));
                }
                (_, false) => plan.push(block),
            }
        }
        Ok(plan)
    }

    /// Runs the blocks for this target. Returns the number of blocks that were run, or the messages of all
    /// blocks that failed.
    pub(super) fn run(&self, place: RunTarget) -> Result<usize, String> {
        let mut shell = Shell::open(place == RunTarget::Cluster)?;
        let (mut ran, mut failures) = (0, String::new());
        for block in self.runnable_blocks()? {
            if block.target.is_some_and(|only| only != place) {
                continue;
            }
            if let Err(what) = run_block(block, &mut shell) {
                failures.push_str(&format!("\nline {}: {what}", block.line));
            }
            ran += 1;
        }
        if failures.is_empty() { Ok(ran) } else { Err(failures) }
    }
}

fn run_block(block: &Block, shell: &mut Shell) -> Result<(), String> {
    match &block.action {
        BlockAction::Unspecified => Ok(()),
        BlockAction::Write { file } => shell.write(file, &block.text),
        BlockAction::Excerpt { file } => {
            let whole = fs::read_to_string(workspace_root().join(file))
                .map_err(|error| format!("{file}: {error}"))?;
            if is_excerpt(&block.text, &whole) { Ok(()) } else { Err(format!("not found in {file}")) }
        }
        BlockAction::Run { commands, exit, vary, background } => {
            for (number, shown) in commands.iter().enumerate() {
                let ShownCommand { command, output } = shown;
                let expected = output.as_deref().unwrap_or("…");
                if *background {
                    shell.run_background(command, |printed| matches_prefix(expected, printed, *vary))?;
                    continue;
                }
                let ran = shell.run(command)?;
                let is_last = number + 1 == commands.len();
                let code = if is_last { *exit } else { 0 };
                if ran.code != code {
                    return Err(format!(
                        "{command}expected exit code {code}, got {}:\n{}",
                        ran.code, ran.output
                    ));
                }
                if !matches(expected, &ran.output, *vary) {
                    return Err(format!("{command}printed:\n{}\nexpected:\n{expected}", ran.output));
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
    fn excerpt_is_consecutive_whole_lines() {
        let whole = "fn a() {\n    one();\n    two();\n}\n";
        assert!(is_excerpt("one();\ntwo();\n", whole));
        for wrong in ["one();\n}\n", "one()", ""] {
            assert!(!is_excerpt(wrong, whole), "{wrong}");
        }
    }

    fn page(text: &str) -> Page {
        Page { name: "a page".to_owned(), blocks: parse_blocks(text).unwrap() }
    }

    fn failure_of(text: &str) -> String {
        page(text).run(RunTarget::Local).unwrap_err()
    }

    #[test]
    fn correct_page_runs_all_blocks_in_one_shell() {
        let text = "```yaml file=a.yaml\na: 1\n```\n```sh\nX=2\n```\n```console\n$ cat a.yaml; echo $X\na: 1\n2\n```\n\
                    ```console background\n$ echo begun; sleep 1000\nbegun\n```\n```sh exit=3\n(exit 3)\n```\n\
                    ```sh cluster\nfalse\n```\n```sh here\ntrue\n```\n";
        assert_eq!(page(text).run(RunTarget::Local).unwrap(), 6);
    }

    #[test]
    fn failure_names_the_line_of_the_block() {
        let ends = failure_of("text\n```sh\nfalse\ntrue\n```\n");
        assert!(ends.starts_with("\nline 2: ") && ends.contains("expected exit code 0, got 1"), "{ends}");
        let prints = failure_of("```console\n$ echo one\ntwo\n```\n");
        assert!(prints.contains("printed:\none\n"), "{prints}");
        let shows_nothing = failure_of("```console\n$ echo one\n```\n");
        assert!(shows_nothing.contains("printed:\none\n"), "{shows_nothing}");
        let unsaid = failure_of("```yaml\na: 1\n```\n");
        assert!(unsaid.contains("the block has no action"), "{unsaid}");
        let excerpt = failure_of("```rust from=xtask/src/main.rs\nfn nowhere() {}\n```\n");
        assert!(excerpt.contains("not found in xtask/src/main.rs"), "{excerpt}");
    }
}
