//! Ctrl-C: what was begun goes on, and whoever broke off is told how to go on with it.

use std::sync::{Arc, Mutex, PoisonError};

/// The exit code of a program that SIGINT ended, as shells have it.
#[cfg(unix)]
const INTERRUPTED: i32 = 130;

/// What to tell whoever presses Ctrl-C.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<Mutex<String>>);

impl Interrupt {
    /// Listens for Ctrl-C from now on.
    #[cfg(unix)]
    pub(crate) fn listen() -> std::io::Result<Self> {
        let this = Self::default();
        let advice = this.clone();
        let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])?;
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                let advice = advice.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                // There may be nobody left to tell.
                let _ = crate::output::print_aside(&advice);
                std::process::exit(INTERRUPTED);
            }
        });
        Ok(this)
    }

    /// Elsewhere Ctrl-C ends the program without a word.
    #[cfg(not(unix))]
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self::default())
    }

    /// From now on this is what there is to tell.
    pub(crate) fn advise(&self, advice: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = advice;
    }
}
