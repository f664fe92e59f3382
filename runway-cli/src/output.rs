//! Writes data to standard output and messages to standard error. A reader that closes its end early is not an error.

pub(crate) use runway_core::text::escape_control as printable;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

/// An error from writing output, or from encoding it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Standard output cannot be written to.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// Standard error cannot be written to.
    #[error("cannot write to standard error: {0}")]
    Stderr(io::Error),
    /// A value has no form in JSON.
    #[error("cannot encode the output as JSON: {0}")]
    Json(serde_json::Error),
    /// A value has no form in YAML.
    #[error("cannot encode the output as YAML: {0}")]
    Yaml(serde_saphyr::SerializeError),
}

/// Writes data, with its colours where somebody sees them.
pub(crate) fn print(text: &str) -> Result<(), OutputError> {
    is_read(write_all(anstream::stdout().lock(), escaped(text).as_bytes())).map_err(OutputError::Stdout)?;
    Ok(())
}

/// Writes data that goes on without end. Returns whether somebody still reads it.
pub(crate) fn print_on(text: &str) -> Result<bool, OutputError> {
    is_read(write_all(anstream::stdout().lock(), text.as_bytes())).map_err(OutputError::Stdout)
}

/// Writes bytes as they are. Returns `false` if the reader has closed its end.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<bool, OutputError> {
    is_read(write_all(io::stdout().lock(), bytes)).map_err(OutputError::Stdout)
}

/// Writes what went wrong with the data, with its colours where somebody sees them.
pub(crate) fn print_aside(text: &str) -> Result<(), OutputError> {
    is_read(write_all(anstream::stderr().lock(), escaped(text).as_bytes())).map_err(OutputError::Stderr)?;
    Ok(())
}

/// A value as a YAML document.
pub(crate) fn to_yaml(value: &impl Serialize) -> Result<String, OutputError> {
    let mut text = serde_saphyr::to_string(value).map_err(OutputError::Yaml)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Writes a value as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), OutputError> {
    let text = serde_json::to_string_pretty(value).map_err(OutputError::Json)?;
    // JSON allows them as they are; a terminal obeys them all the same.
    let text = escape(&text, |c| format!("\\u{:04x}", u32::from(c)));
    print(&format!("{text}\n"))
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

fn write_all(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// Returns `false` if the reader has closed its end.
fn is_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
