//! Prints a job's output, and a status line below it if standard error is a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Standard output and standard error, with the status line.
pub(super) struct Screen {
    /// Whether standard output is reserved for the JSON record. The job's standard output then goes to
    /// standard error.
    reserves_stdout: bool,
    has_status: bool,
    state: Mutex<ScreenState>,
}

#[derive(Default)]
struct ScreenState {
    has_status_line: bool,
    /// Whether the last output of the job did not end with a line break. The status line would overwrite the
    /// unfinished line.
    is_mid_line: bool,
}

const ERASE_LINE: &[u8] = b"\r\x1b[K";

impl Screen {
    pub(super) fn new(reserves_stdout: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { reserves_stdout, has_status: io::stderr().is_terminal() && !is_dumb, state: Mutex::default() }
    }

    /// Returns whether the screen can show a status line: standard error is a terminal, and `TERM` is set to
    /// a value other than `dumb`.
    pub(super) fn has_status(&self) -> bool {
        self.has_status
    }

    /// Prints a chunk of the job's output unchanged.
    pub(super) fn print(&self, is_stdout: bool, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.erase_status();
        state.is_mid_line = bytes.last().is_some_and(|byte| *byte != b'\n');
        if is_stdout && !self.reserves_stdout {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        } else {
            io::stderr().lock().write_all(bytes)
        }
    }

    /// Draws the status line, unless it would overwrite an unfinished line of the job's output.
    pub(super) fn draw_status(&self, status: &str) {
        let mut state = self.erase_status();
        if !state.is_mid_line && self.has_status {
            let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
            // Some terminals report a width of 0. Assume 80 columns.
            let width = size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(80);
            let line: String = status.chars().take(width.saturating_sub(1)).collect();
            state.has_status_line = io::stderr().lock().write_all(line.as_bytes()).is_ok();
        }
    }

    /// Erases the status line, and ends an unfinished line of the job's output.
    pub(super) fn clear_status(&self) {
        let state = self.erase_status();
        if state.is_mid_line && self.has_status {
            // The text that follows starts on a new line.
            let _ = io::stderr().lock().write_all(b"\n");
        }
    }

    fn erase_status(&self) -> MutexGuard<'_, ScreenState> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.has_status_line) {
            let _ = io::stderr().lock().write_all(ERASE_LINE);
        }
        state
    }
}
