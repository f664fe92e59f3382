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

use super::RunTarget;

/// A block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// The line number of the opening fence, from 1.
    pub(super) line: usize,
    pub(super) text: String,
    /// The only target on which the block is run; `None` for all targets.
    pub(super) target: Option<RunTarget>,
    pub(super) action: BlockAction,
}

/// The action for a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BlockAction {
    /// Write the text to a file.
    Write { file: String },
    /// Check that a file contains the text.
    Excerpt { file: String },
    /// Run the commands and check their output.
    Run { commands: Vec<ShownCommand>, exit: i32, vary: bool, background: bool },
    /// The info string selects no action.
    Unspecified,
}

/// A command, and the output that the page shows below it. The output is `None` in a `sh` block, and is then
/// not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShownCommand {
    pub(super) command: String,
    pub(super) output: Option<String>,
}

/// Parses the blocks of a page, in order.
pub(super) fn parse_blocks(page: &str) -> Result<Vec<Block>, String> {
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
                let block = parse_block(*first, info, std::mem::take(text));
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

fn parse_block(line: usize, info: &str, text: String) -> Result<Block, String> {
    let mut words = info.split_whitespace();
    let language = words.next().unwrap_or_default();
    let (mut exit, mut vary, mut background) = (0, false, false);
    let (mut target, mut file) = (None, None);
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("file", name) => file = Some(BlockAction::Write { file: name.to_owned() }),
            ("from", name) => file = Some(BlockAction::Excerpt { file: name.to_owned() }),
            ("exit", code) => {
                exit = code.parse().map_err(|_| format!("`{word}` is not a valid exit code"))?;
            }
            ("vary", "") => vary = true,
            ("background", "") => background = true,
            ("cluster", "") => target = Some(RunTarget::Cluster),
            ("here", "") => target = Some(RunTarget::Local),
            _ => return Err(format!("unknown word `{word}`")),
        }
    }
    let commands = match (&file, language) {
        (None, "sh") => Some(vec![ShownCommand { command: text.clone(), output: None }]),
        (None, "console") => Some(parse_commands(&text)?),
        _ => None,
    };
    let action = match (commands, file) {
        (Some(commands), _) => BlockAction::Run { commands, exit, vary, background },
        (None, _) if exit != 0 || vary || background => {
            return Err("`exit`, `vary` and `background` need a block of commands".to_owned());
        }
        (None, Some(file)) => file,
        (None, None) => BlockAction::Unspecified,
    };
    Ok(Block { line, text, target, action })
}

/// Parses a console block. A line that starts with `$ ` is a command. A command continues on the next line
/// after a `\` at the end of the line. The other lines are the output of the command above them.
fn parse_commands(text: &str) -> Result<Vec<ShownCommand>, String> {
    let mut all: Vec<ShownCommand> = Vec::new();
    let mut continues = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ").filter(|_| !continues) {
            all.push(ShownCommand { command: format!("{command}\n"), output: Some(String::new()) });
            continues = command.ends_with('\\');
            continue;
        }
        let Some(last) = all.last_mut() else {
            return Err("the block does not start with a command".to_owned());
        };
        let part = if continues { &mut last.command } else { last.output.get_or_insert_default() };
        part.push_str(line);
        part.push('\n');
        continues = continues && line.ends_with('\\');
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_parsed_in_order() {
        let page = "text\n```yaml file=a.yaml\na: 1\n```\n```console exit=1 vary cluster\n$ one \\\n  two\nout\n$ three\n```\n```text here\n..\n```\n";
        let shown = |command: &str, output: &str| ShownCommand {
            command: command.to_owned(),
            output: Some(output.to_owned()),
        };
        let commands = vec![shown("one \\\n  two\n", "out\n"), shown("three\n", "")];
        let block =
            |line, text: &str, only, action| Block { line, text: text.to_owned(), target: only, action };
        assert_eq!(
            parse_blocks(page).unwrap(),
            [
                block(2, "a: 1\n", None, BlockAction::Write { file: "a.yaml".to_owned() }),
                block(
                    5,
                    "$ one \\\n  two\nout\n$ three\n",
                    Some(RunTarget::Cluster),
                    BlockAction::Run { commands, exit: 1, vary: true, background: false }
                ),
                block(11, "..\n", Some(RunTarget::Local), BlockAction::Unspecified),
            ]
        );
    }

    #[test]
    fn malformed_blocks_are_rejected() {
        for page in [
            "```sh\ntrue\n",
            "```sh exit=x\ntrue\n```\n",
            "```sh quickly\ntrue\n```\n",
            "```yaml exit=1\na: 1\n```\n",
            "```console\nout\n```\n",
            "- item\n  ```sh\n  true\n  ```\n",
        ] {
            assert!(parse_blocks(page).is_err(), "{page}");
        }
    }
}
