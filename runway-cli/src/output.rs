//! Data to standard output, errors to standard error. A reader that closes its end early is no error.

use crate::failure::Failure;
pub(crate) use runway_core::text::escape_control as printable;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

/// Writes data, with its colours where somebody sees them.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    quietly(write_all(anstream::stdout().lock(), &escaped(text)))
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
    quietly(write_all(anstream::stderr().lock(), &escaped(text)))
}

/// Writes a value as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    // JSON allows them as they are; a terminal obeys them all the same.
    let text = escape(&text, |c| format!("\\u{:04x}", u32::from(c)));
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
    let _ = write_all(anstream::stderr().lock(), &escaped(&story));
}

/// The control characters U+0080 to U+009F, which some terminals obey as they obey those below U+0020. Nothing that is
/// written here has a use for them; colours need the others.
fn escape(text: &str, how: impl Fn(char) -> String) -> Cow<'_, str> {
    let is_obeyed = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if is_obeyed(c) { how(c) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

fn escaped(text: &str) -> Cow<'_, str> {
    escape(text, |c| c.escape_unicode().to_string())
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
