//! Calls of other programs.

use std::ffi::OsStr;
use std::process::Command;

/// A call of the program that the first word names, with the other words as its arguments.
pub(super) fn command<Word: AsRef<OsStr>>(words: &[Word]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}
