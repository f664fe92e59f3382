//! A fenced block of a page, and the action that its info string selects.
//!
//! The first word of the info string is the language. The other words are Runway's own, and the rendered page
//! does not show them:
//!
//! | word | meaning |
//! |---|---|
//! | `file=NAME` | write the block to this file |
//! | `from=FILE` | the block is an excerpt of this file of the project |
//! | `exit=N` | the last command exits with this code instead of 0 |
//! | `vary` | ignore differences in numbers and ids of the output |
//! | `background` | the command keeps running; continue when its output starts with the shown text |
//! | `cluster` | run the block only with a cluster |
//! | `here` | run the block only without a cluster |

use super::Place;

/// A block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The line number of the opening fence, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// The only target on which the block is run; `None` for all targets.
    pub(super) only: Option<Place>,
    pub(super) action: Action,
}

/// The action for a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Write the text to a file.
    Write { file: String },
    /// Check that a file contains the text.
    Excerpt { file: String },
    /// Run the commands and check their output.
    Run { commands: Vec<Shown>, exit: i32, vary: bool, background: bool },
    /// The info string selects no action.
    None,
}

/// A command and the output that the page shows; `None` if the page shows no output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) command: String,
    pub(super) output: Option<String>,
}

/// Parses the blocks of a page, in order.
pub(super) fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((number + 1, info.to_owned(), String::new())),
            (None, None) if line.trim_start().starts_with("```") => {
                return Err(format!("line {}: a block is indented", number + 1));
            }
            (None, None) => {}
            (Some((first, info, text)), Some(_)) => {
                let block = read(*first, info, std::mem::take(text));
                blocks.push(block.map_err(|what| format!("line {first}: {what}"))?);
                open = None;
            }
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    match open {
        Some((first, ..)) => Err(format!("line {first}: a block is not closed")),
        None => Ok(blocks),
    }
}

fn read(line: usize, info: &str, text: String) -> Result<Block, String> {
    let mut words = info.split_whitespace();
    let language = words.next().unwrap_or_default();
    let (mut exit, mut vary, mut background) = (0, false, false);
    let (mut only, mut file) = (None, None);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("file", name) => file = Some(Action::Write { file: name.to_owned() }),
            ("from", name) => file = Some(Action::Excerpt { file: name.to_owned() }),
            ("exit", code) => exit = code.parse().map_err(|_| format!("`{word}` is not a valid exit code"))?,
            ("vary", "") => vary = true,
            ("background", "") => background = true,
            ("cluster", "") => only = Some(Place::Cluster),
            ("here", "") => only = Some(Place::Here),
            _ => return Err(format!("unknown word `{word}`")),
        }
    }
    let commands = match (&file, language) {
        (None, "sh") => Some(vec![Shown { command: text.clone(), output: None }]),
        (None, "console") => Some(shown(&text)?),
        _ => None,
    };
    let action = match (commands, file) {
        (Some(commands), _) => Action::Run { commands, exit, vary, background },
        (None, _) if exit != 0 || vary || background => {
            return Err("`exit`, `vary` and `background` need a block of commands".to_owned());
        }
        (None, Some(file)) => file,
        (None, None) => Action::None,
    };
    Ok(Block { line, text, only, action })
}

/// Parses a console block. A line that starts with `$ ` is a command. It continues after a `\`. The other
/// lines are the output of the command above them.
fn shown(text: &str) -> Result<Vec<Shown>, String> {
    let mut all: Vec<Shown> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ").filter(|_| !goes_on) {
            all.push(Shown { command: format!("{command}\n"), output: Some(String::new()) });
            goes_on = command.ends_with('\\');
            continue;
        }
        let Some(last) = all.last_mut() else {
            return Err("the block does not start with a command".to_owned());
        };
        let part = if goes_on { &mut last.command } else { last.output.get_or_insert_default() };
        part.push_str(line);
        part.push('\n');
        goes_on = goes_on && line.ends_with('\\');
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_blocks_in_order() {
        let page = "text\n```yaml file=a.yaml\na: 1\n```\n```console exit=1 vary cluster\n$ one \\\n  two\nout\n$ three\n```\n```text here\n..\n```\n";
        let shown = |command: &str, output: &str| Shown {
            command: command.to_owned(),
            output: Some(output.to_owned()),
        };
        let commands = vec![shown("one \\\n  two\n", "out\n"), shown("three\n", "")];
        let block = |line, text: &str, only, action| Block { line, text: text.to_owned(), only, action };
        assert_eq!(
            blocks(page).unwrap(),
            [
                block(2, "a: 1\n", None, Action::Write { file: "a.yaml".to_owned() }),
                block(
                    5,
                    "$ one \\\n  two\nout\n$ three\n",
                    Some(Place::Cluster),
                    Action::Run { commands, exit: 1, vary: true, background: false }
                ),
                block(11, "..\n", Some(Place::Here), Action::None),
            ]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for page in [
            "```sh\ntrue\n",
            "```sh exit=x\ntrue\n```\n",
            "```sh quickly\ntrue\n```\n",
            "```yaml exit=1\na: 1\n```\n",
            "```console\nout\n```\n",
            "- item\n  ```sh\n  true\n  ```\n",
        ] {
            assert!(blocks(page).is_err(), "{page}");
        }
    }
}
