//! Files and standard input, read whole but not without end.

use crate::Exit;
use crate::online::Trouble;
use crate::output;
use runway_core::Violation;
use runway_core::policy::RateVariableError;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// No file is larger than this: a document of a job may have 256 KiB, so these are hundreds of them.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A file as it was given and read.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path as given; `-` for standard input.
    pub name: String,
    /// What stands in it: text, or bytes that are none.
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

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        self.content.as_deref().ok()
    }
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A file could not be read.
    Unreadable { path: PathBuf, error: io::Error },
    /// A file is larger than any that is read.
    Oversized { path: PathBuf },
    /// A file is not what the command reads.
    Malformed { path: PathBuf, fault: String },
    /// A variable of the environment does not hold what it should.
    Variable(RateVariableError),
    /// The variable of a secret is missing, or its value is not UTF-8. The error does not contain the value.
    #[cfg(target_os = "linux")]
    SecretVariable { secret: String, variable: String, is_set: bool },
    /// The policy has faults: they, and their story.
    Policy { violations: Vec<Violation>, story: String },
    /// The arguments do not fit together.
    Usage(String),
    /// The output could not be written.
    Output(io::Error),
    /// The server did not do what was asked of it.
    Online(Trouble),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "cannot read `{}`: {error}", printable(path)),
            Self::Oversized { path } => {
                write!(
                    f,
                    "cannot read `{}`: it has more than {} MiB",
                    printable(path),
                    MAX_BYTES / 1024 / 1024
                )
            }
            Self::Malformed { path, fault } => write!(f, "cannot read `{}`: {fault}", printable(path)),
            Self::Variable(error) => f.write_str(&output::printable(&error.to_string())),
            #[cfg(target_os = "linux")]
            Self::SecretVariable { secret, variable, is_set } => {
                let fault = if *is_set { "is not valid UTF-8" } else { "is not set" };
                write!(f, "the secret `{secret}` comes from the variable `{variable}`, which {fault}")
            }
            Self::Policy { story, .. } => f.write_str(story.trim_end()),
            Self::Usage(message) => f.write_str(message),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
            Self::Online(trouble) => trouble.fmt(f),
        }
    }
}

impl Failure {
    /// How a command ends that fails so.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Online(trouble) => trouble.exit(),
            _ => Exit::NotJudged,
        }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Online(trouble)
    }
}

fn printable(path: &Path) -> String {
    output::printable(&path.display().to_string())
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<Source, Failure> {
    let unreadable = |error| Failure::Unreadable { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    let reader: &mut dyn Read = if path == Path::new("-") {
        &mut io::stdin().lock()
    } else {
        &mut File::open(path).map_err(unreadable)?
    };
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(Failure::Oversized { path: path.to_owned() });
    }
    Ok(Source::new(path.display().to_string(), bytes))
}
