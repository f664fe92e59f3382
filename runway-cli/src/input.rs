//! Reads files and standard input completely, up to a size limit.

use crate::output::escape_control;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Maximum size of an input file. One job document may have 256 KiB, so a file can contain hundreds of jobs.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The name and the content of an input file.
#[derive(Debug)]
pub(crate) struct Source {
    /// The path as given on the command line, `-` for standard input, or the name of the built-in policy.
    pub name: String,
    /// The content: text, or bytes that are not valid UTF-8.
    content: Result<String, Vec<u8>>,
}

impl Source {
    pub(crate) fn new(name: String, bytes: Vec<u8>) -> Self {
        Self { name, content: String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.content {
            Ok(text) => text.as_bytes(),
            Err(bytes) => bytes,
        }
    }

    /// The content as text, or `None` if it is not valid UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        self.content.as_deref().ok()
    }
}

/// An error from reading a file or standard input.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read `{}`: {error}", escape_control(&path.display().to_string()))]
    Io {
        /// The path of the file.
        path: PathBuf,
        error: io::Error,
    },
    /// The file is larger than [`MAX_BYTES`].
    #[error("cannot read `{}`: it is larger than {} MiB", escape_control(&path.display().to_string()), MAX_BYTES >> 20)]
    TooLarge {
        /// The path of the file.
        path: PathBuf,
    },
}

/// Reads a file, or standard input if the path is `-`.
pub(crate) fn read(path: &Path) -> Result<Source, ReadError> {
    let io_error = |error| ReadError::Io { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let reader: &mut dyn Read = if path == Path::new("-") {
        &mut io::stdin().lock()
    } else {
        &mut File::open(path).map_err(io_error)?
    };
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(ReadError::TooLarge { path: path.to_owned() });
    }
    Ok(Source::new(path.display().to_string(), bytes))
}
