//! One reason why a document is refused, with what would be accepted instead.

use crate::capability::Capability;
use crate::code::Code;
use serde_json::Value as Json;

/// One reason why a job or a policy is refused.
///
/// Serialized, it is `{"code","path","message","requested","allowed","policy","fix"}`, and `capability` before `fix` if there is one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// The kind of the reason.
    pub code: Code,
    /// The place in the document, as a JSON pointer (RFC 6901); empty for the whole.
    pub path: String,
    /// What is wrong and what to do, for the person who wrote it.
    pub message: String,
    /// What was written there, if that is a single value; null under `/env` and `/secrets`, whatever was written.
    pub requested: Json,
    /// What would be accepted, where it can be said in short.
    pub allowed: Option<Allowed>,
    /// The line of the policy that says so, such as `classes.gpu.cpu.max`.
    pub policy: Option<String>,
    /// The feature that the backend lacks. Absent unless the code is `unsupported-by-backend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    /// The value for `path` nearest to the requested one that would be accepted; null where none is known.
    pub fix: Json,
}

/// What would be accepted in a place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Allowed {
    /// One of these values.
    OneOf {
        /// The values.
        one_of: Vec<Json>,
    },
    /// Anything between two bounds, both included.
    Range {
        /// The lower bound, if there is one.
        min: Json,
        /// The upper bound, if there is one.
        max: Json,
    },
}

impl Violation {
    /// A violation without anything beyond its message.
    pub(crate) fn new(code: Code, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            path: path.into(),
            message: message.into(),
            requested: Json::Null,
            allowed: None,
            policy: None,
            capability: None,
            fix: Json::Null,
        }
    }

    pub(crate) fn requested(mut self, value: impl Into<Json>) -> Self {
        self.requested = value.into();
        self
    }

    pub(crate) fn one_of<T: Into<Json>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        self.allowed = Some(Allowed::OneOf { one_of: values.into_iter().map(Into::into).collect() });
        self
    }

    pub(crate) fn range(mut self, min: impl Into<Json>, max: impl Into<Json>) -> Self {
        self.allowed = Some(Allowed::Range { min: min.into(), max: max.into() });
        self
    }

    pub(crate) fn policy(mut self, line: impl Into<String>) -> Self {
        self.policy = Some(line.into());
        self
    }

    pub(crate) fn capability(mut self, capability: Capability) -> Self {
        self.capability = Some(capability);
        self
    }

    pub(crate) fn fix(mut self, value: impl Into<Json>) -> Self {
        self.fix = value.into();
        self
    }
}

/// Of one document at most this many violations are told. Who has more has a machine that writes them.
pub const MAX_VIOLATIONS: usize = 1000;

/// The first of many violations, and that there are more.
pub(crate) fn bounded(mut violations: Vec<Violation>) -> Vec<Violation> {
    if violations.len() > MAX_VIOLATIONS {
        violations.truncate(MAX_VIOLATIONS);
        let message = format!("there are more than {MAX_VIOLATIONS} faults; the rest is not told");
        violations.push(Violation::new(Code::TooLarge, "", message).range(Json::Null, MAX_VIOLATIONS));
    }
    violations
}
