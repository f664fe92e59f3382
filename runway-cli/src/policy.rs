//! Loads the policy of `--policy` or the built-in one, and applies the prices from the environment.

use crate::input::{self, ReadError, Source};
use crate::output::escape_control;
use runway_core::Policy;
use runway_core::document::{Document, DocumentLimits, parse_all_within};
use runway_core::policy::{PolicyError, PriceOverrides, PriceVariableError, policy_path_pointer};
use std::path::Path;

/// The name of the built-in policy in messages.
const BUILT_IN_NAME: &str = "the built-in policy";

/// A loaded policy and its source.
pub(crate) struct LoadedPolicy {
    pub policy: Policy,
    document: Option<Document>,
    /// The path of the file; `None` for the built-in policy.
    pub file: Option<String>,
}

impl LoadedPolicy {
    /// Returns the file and line that define a policy path such as `classes.gpu.cpu.max`. Returns `None` if
    /// the policy does not contain the path.
    pub(crate) fn location(&self, policy_path: &str) -> Option<String> {
        let document = self.document.as_ref()?;
        let pointer = policy_path_pointer(policy_path);
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
    /// An environment variable does not contain a valid price.
    #[error("{}", escape_control(&.0.to_string()))]
    Price(#[from] PriceVariableError),
    /// The policy has violations.
    #[error("the policy {} does not load", escape_control(&file.name))]
    Invalid {
        /// The source of the policy.
        file: Source,
        error: PolicyError,
    },
}

/// Loads the policy from `path`, or the built-in policy if `path` is `None`.
pub(crate) fn load(path: Option<&Path>) -> Result<LoadedPolicy, PolicyLoadError> {
    let variable = |name: &str| Some(std::env::var_os(name)?.to_string_lossy().into_owned());
    let overrides = PriceOverrides::from_variables(variable)?;
    let source = match path {
        Some(path) => input::read(path)?,
        None => Source::new(BUILT_IN_NAME.to_owned(), Policy::BUILTIN_SOURCE.as_bytes().to_vec()),
    };
    let policy = match Policy::parse(source.bytes(), overrides) {
        Ok(policy) => policy,
        Err(error) => return Err(PolicyLoadError::Invalid { file: source, error }),
    };
    let documents = parse_all_within(source.bytes(), DocumentLimits::POLICY);
    let document = documents.into_iter().next().and_then(Result::ok);
    Ok(LoadedPolicy { policy, document, file: path.map(|_| source.name) })
}
