//! The policy to judge by: the one of `--policy`, or the built-in one; with the prices of the environment.

use crate::input::{self, ReadError, Source};
use crate::output::printable;
use runway_core::Policy;
use runway_core::document::{Document, parse_all};
use runway_core::policy::{PolicyError, RateOverrides, RateVariableError, line_pointer};
use std::path::Path;

/// How the built-in policy is called.
const BUILT_IN_NAME: &str = "the built-in policy";

/// A policy that loaded, and the file it came from.
pub(crate) struct LoadedPolicy {
    pub policy: Policy,
    document: Option<Document>,
    /// The path of its file; `None` for the built-in one.
    pub file: Option<String>,
}

impl LoadedPolicy {
    /// Where a line such as `classes.gpu.cpu.max` stands.
    pub(crate) fn place(&self, line: &str) -> Option<String> {
        let document = self.document.as_ref()?;
        let pointer = line_pointer(line);
        let key = document.find_key(&pointer).map(|key| key.span);
        let at = key.or_else(|| document.find(&pointer).map(|node| node.span))?.line;
        Some(match &self.file {
            Some(file) => format!("{file}:{at}"),
            None => format!("{BUILT_IN_NAME}, line {at}"),
        })
    }
}

/// An error from loading a policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyLoadError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A variable of the environment is not a price.
    #[error("{}", printable(&.0.to_string()))]
    Price(#[from] RateVariableError),
    /// The policy has violations.
    #[error("the policy {} does not load", printable(&file.name))]
    Invalid {
        /// The policy.
        file: Source,
        error: PolicyError,
    },
}

/// Loads the policy of `path`, or the built-in one.
pub(crate) fn load(path: Option<&Path>) -> Result<LoadedPolicy, PolicyLoadError> {
    let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    let overrides = RateOverrides::from_variables(variable)?;
    let source = match path {
        Some(path) => input::read(path)?,
        None => Source::new(BUILT_IN_NAME.to_owned(), Policy::BUILTIN_SOURCE.as_bytes().to_vec()),
    };
    let policy = match Policy::parse(source.bytes(), overrides) {
        Ok(policy) => policy,
        Err(error) => return Err(PolicyLoadError::Invalid { file: source, error }),
    };
    let document = parse_all(source.bytes()).into_iter().next().and_then(Result::ok);
    Ok(LoadedPolicy { policy, document, file: path.map(|_| source.name) })
}
