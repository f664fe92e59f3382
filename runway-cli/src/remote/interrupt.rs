//! Handles Ctrl-C in `runway submit`. Submitted jobs continue, and a message says how to manage them.

use std::sync::{Arc, Mutex, PoisonError};

/// The exit code that shells report for a program that was ended by SIGINT.
#[cfg(unix)]
const SIGINT_EXIT_CODE: i32 = 130;

/// A handler for Ctrl-C, with the message to print. Clones share the message.
#[derive(Debug, Clone, Default)]
pub(crate) struct InterruptHandler(Arc<Mutex<String>>);

impl InterruptHandler {
    /// Starts a thread that waits for SIGINT, prints the current message and ends the process.
    #[cfg(unix)]
    pub(crate) fn install() -> std::io::Result<Self> {
        let this = Self::default();
        let message = this.clone();
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])?;
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                let message = message.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // Standard error may be closed.
                let _ = crate::output::eprint(&message);
                std::process::exit(SIGINT_EXIT_CODE);
            }
        });
        Ok(this)
    }

    /// Does nothing: on other platforms Ctrl-C ends the program without a message.
    #[cfg(not(unix))]
    pub(crate) fn install() -> std::io::Result<Self> {
        Ok(Self::default())
    }

    /// Sets the message that is printed on Ctrl-C.
    pub(crate) fn set_message(&self, message: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = message;
    }
}
