//! Data to standard output, errors to standard error. A reader that closes its end early is no error.

use crate::input::Failure;
use serde::Serialize;
use std::io::{self, ErrorKind, Write};

/// Writes data, with its colours where somebody sees them.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    quietly(write_all(anstream::stdout().lock(), text))
}

/// Writes data that goes on without end. Returns whether somebody still reads it.
pub(crate) fn print_on(text: &str) -> Result<bool, Failure> {
    match write_all(anstream::stdout().lock(), text) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Output(error)),
    }
}

/// Writes what went wrong with the data, with its colours where somebody sees them.
pub(crate) fn print_aside(text: &str) -> Result<(), Failure> {
    quietly(write_all(anstream::stderr().lock(), text))
}

/// Writes a value as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    print(&format!("{text}\n"))
}

/// Tells why a command could not do its work.
pub(crate) fn error(failure: &Failure) {
    let story = match failure {
        // Its faults have been drawn with their own titles.
        Failure::Policy { story, .. } => story.clone(),
        failure => format!("error: {failure}\n"),
    };
    // Where even this cannot be written there is nobody to tell.
    let _ = write_all(anstream::stderr().lock(), &story);
}

fn write_all(mut out: impl Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn quietly(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::Output),
    }
}
