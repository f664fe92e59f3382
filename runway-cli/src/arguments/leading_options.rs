//! Options before the command: `runway --server URL ls` means `runway ls --server URL`.

use clap::{Arg, Command};
use std::ffi::{OsStr, OsString};

/// Moves the options before the command behind it. Returns the arguments unchanged if there is no command, or
/// if an option is unknown to all commands, so that `clap` reports the error.
pub(super) fn move_behind_command(args: Vec<OsString>, root: &Command) -> Vec<OsString> {
    let Some((options, commands)) = split(args.get(1..).unwrap_or_default(), root) else { return args };
    if options == 0 {
        return args;
    }
    let (program, rest) = args.split_at(1);
    let (options, rest) = rest.split_at(options);
    let (commands, rest) = rest.split_at(commands);
    [program, commands, options, rest].concat()
}

/// Returns the first option with this long name, such as `server`, in the subcommands of `command`.
pub(super) fn find_option<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    find(command, &|arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&long)))
}

/// Returns the number of leading words that are options and their values, and the number of words after them
/// that name the command. Returns `None` if no command is named, or if no command has one of the options.
fn split(words: &[OsString], root: &Command) -> Option<(usize, usize)> {
    let mut options = 0;
    while let Some(word) = words.get(options).and_then(|word| word.to_str()) {
        if !word.starts_with('-') || word == "-" {
            break;
        }
        options += option_length(word, root)?;
    }
    let mut command = root;
    let names = words.get(options..)?;
    let is_name = |name: &&OsString| match subcommand(command, name) {
        Some(found) => {
            command = found;
            true
        }
        None => false,
    };
    let commands = names.iter().take_while(is_name).count();
    (commands > 0).then_some((options, commands))
}

fn subcommand<'a>(command: &'a Command, name: &OsStr) -> Option<&'a Command> {
    command.get_subcommands().find(|child| child.get_name() == name)
}

/// Returns the number of words of an option with its value, or `None` if no command has the option.
fn option_length(word: &str, root: &Command) -> Option<usize> {
    let (option, has_value) = if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        (find_option(root, name)?, value.is_some())
    } else {
        let mut letters = word.chars().skip(1);
        let letter = letters.next()?;
        (find(root, &|arg| arg.get_short() == Some(letter))?, letters.next().is_some())
    };
    Some(if option.get_action().takes_values() && !has_value { 2 } else { 1 })
}

/// Returns the first option in the subcommands of `command` for which `matches` returns `true`.
fn find<'a>(command: &'a Command, matches: &dyn Fn(&Arg) -> bool) -> Option<&'a Arg> {
    command
        .get_subcommands()
        .find_map(|child| child.get_arguments().find(|arg| matches(arg)).or_else(|| find(child, matches)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Cli;
    use clap::CommandFactory;

    fn moved(words: &str) -> String {
        let args = words.split(' ').map(OsString::from).collect();
        let moved = move_behind_command(args, &Cli::command());
        moved.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn leading_options_move_behind_the_command() {
        for (before, after) in [
            ("runway --server http://a ls", "runway ls --server http://a"),
            ("runway --server=http://a ls --watch", "runway ls --server=http://a --watch"),
            ("runway -o json check job.yaml", "runway check -o json job.yaml"),
            ("runway -ojson --policy p.yaml policy show", "runway policy show -ojson --policy p.yaml"),
            ("runway -f logs ID", "runway logs -f ID"),
        ] {
            assert_eq!(moved(before), after);
        }
    }

    #[test]
    fn other_command_lines_stay_unchanged() {
        for words in [
            "runway",
            "runway ls --server http://a",
            "runway --version",
            "runway --server",
            "runway --server http://a",
            "runway --unknown ls",
            "runway --output json unknown",
            "runway run job.yaml -- --server x",
        ] {
            assert_eq!(moved(words), words);
        }
    }
}
