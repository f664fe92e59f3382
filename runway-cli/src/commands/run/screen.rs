//! Where a job's output goes, and a line of status below it where that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Standard output and standard error, with the line.
pub(super) struct Screen {
    /// Whether standard output is for the record alone.
    aside: bool,
    has_status: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_drawn: bool,
    /// Whether the last output has ended in the middle of a line, which the status would overwrite.
    is_within_line: bool,
}

const ERASE: &[u8] = b"\r\x1b[K";

impl Screen {
    pub(super) fn new(aside: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { aside, has_status: io::stderr().is_terminal() && !is_dumb, state: Mutex::default() }
    }

    /// Whether there is a line of status.
    pub(super) fn has_status(&self) -> bool {
        self.has_status
    }

    /// Passes on a piece of output as it is.
    pub(super) fn print(&self, is_out: bool, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.erased();
        state.is_within_line = bytes.last().is_some_and(|byte| *byte != b'\n');
        if is_out && !self.aside {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        } else {
            io::stderr().lock().write_all(bytes)
        }
    }

    /// Draws the line of status, unless it would overwrite something.
    pub(super) fn draw(&self, status: &str) {
        let mut state = self.erased();
        if !state.is_within_line && self.has_status {
            let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
            // Some terminals do not know their width, and say that it is none.
            let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(80);
            let line: String = status.chars().take(width.saturating_sub(1)).collect();
            state.is_drawn = io::stderr().lock().write_all(line.as_bytes()).is_ok();
        }
    }

    /// Takes the line of status away.
    pub(super) fn clear(&self) {
        let state = self.erased();
        if state.is_within_line && self.has_status {
            // What comes next is a line of its own.
            let _ = io::stderr().lock().write_all(b"\n");
        }
    }

    fn erased(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.is_drawn) {
            let _ = io::stderr().lock().write_all(ERASE);
        }
        state
    }
}
