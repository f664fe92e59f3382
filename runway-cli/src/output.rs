//! Writes data to standard output and messages to standard error. A closed pipe is not an error.

pub(crate) use runway_core::text::escape_control;
use serde::Serialize;
use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

/// An error from encoding or writing output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// Standard output is not writable.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// Standard error is not writable.
    #[error("cannot write to standard error: {0}")]
    Stderr(io::Error),
    /// The value cannot be encoded as JSON.
    #[error("cannot encode the output as JSON: {0}")]
    Json(serde_json::Error),
    /// The value cannot be encoded as YAML.
    #[error("cannot encode the output as YAML: {0}")]
    Yaml(serde_saphyr::SerializeError),
}

/// Writes text to standard output and escapes C1 control characters. Removes the colours if standard output
/// is not a terminal, unless an environment variable such as `CLICOLOR_FORCE` says otherwise.
pub(crate) fn print(text: &str) -> Result<(), OutputError> {
    ignore_broken_pipe(write_all(anstream::stdout().lock(), escape_c1_controls(text).as_bytes()))
        .map_err(OutputError::Stdout)?;
    Ok(())
}

/// Writes one part of an endless output to standard output, without escaping C1 control characters. Returns
/// `false` if the reader has closed the pipe.
pub(crate) fn print_stream(text: &str) -> Result<bool, OutputError> {
    ignore_broken_pipe(write_all(anstream::stdout().lock(), text.as_bytes())).map_err(OutputError::Stdout)
}

/// Writes raw bytes to standard output. Returns `false` if the reader has closed the pipe.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<bool, OutputError> {
    ignore_broken_pipe(write_all(io::stdout().lock(), bytes)).map_err(OutputError::Stdout)
}

/// Writes text to standard error and escapes C1 control characters. Removes the colours if standard error is
/// not a terminal, unless an environment variable such as `CLICOLOR_FORCE` says otherwise.
pub(crate) fn eprint(text: &str) -> Result<(), OutputError> {
    ignore_broken_pipe(write_all(anstream::stderr().lock(), escape_c1_controls(text).as_bytes()))
        .map_err(OutputError::Stderr)?;
    Ok(())
}

/// Encodes a value as a YAML document that ends with a newline.
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
    // JSON permits C1 control characters in strings, but some terminals execute them.
    let text = escape_c1(&text, |c| format!("\\u{:04x}", u32::from(c)));
    print(&format!("{text}\n"))
}

/// Replaces the C1 control characters (U+0080 to U+009F), because some terminals execute them.
///
/// Characters below U+0020 stay, because colours and line breaks need them. The callers have already escaped
/// such characters in names, messages and other data.
fn escape_c1(text: &str, replacement: impl Fn(char) -> String) -> Cow<'_, str> {
    let is_c1 = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
    if !text.contains(is_c1) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if is_c1(c) { replacement(c) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

fn escape_c1_controls(text: &str) -> Cow<'_, str> {
    escape_c1(text, |c| c.escape_unicode().to_string())
}

fn write_all(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// Returns `true` for a successful write, and `false` if the reader has closed the pipe. Returns all other
/// errors unchanged.
fn ignore_broken_pipe(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
