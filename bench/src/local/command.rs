//! Commands of other programs.

use std::ffi::OsStr;
use std::process::Command;

/// Returns a command. The first word is the program, and the others are its arguments.
pub(super) fn command<Word: AsRef<OsStr>>(words: &[Word]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}
