//! Violations: the reasons to refuse a document, with the accepted values.

use crate::capability::Capability;
use crate::code::Code;
use serde_json::Value as Json;

/// One reason to refuse a job or a policy.
///
/// The JSON form is `{"code","path","message","requested","allowed","policy","fix"}`. If the backend
/// lacks a capability, the key `capability` precedes `fix`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Violation {
    /// The code of the violation.
    pub code: Code,
    /// The path of the refused value in the document, as a JSON pointer (RFC 6901). The path is empty if the
    /// violation concerns the whole document.
    pub path: String,
    /// The message for the author of the document. It describes the problem and the remedy.
    pub message: String,
    /// The refused scalar. Null if the violation concerns no scalar, or if it does not show the scalar.
    /// Always null below `/env` and `/secrets`.
    pub requested: Json,
    /// The accepted values, if a list or a range describes them. For an unknown field, the names of the known
    /// fields.
    pub allowed: Option<Allowed>,
    /// The policy path of the violated rule, such as `classes.gpu.cpu.max`, or `built-in default`. `None` if
    /// the violation names no rule of the policy.
    pub policy: Option<String>,
    /// The feature that the backend lacks. Present only with the code `unsupported-by-backend`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<Capability>,
    /// The accepted value nearest to the requested one; null if none is known.
    pub fix: Json,
}

/// The accepted values at a path.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Allowed {
    /// One of these values.
    OneOf {
        /// The values.
        one_of: Vec<Json>,
    },
    /// All values between two inclusive bounds.
    Range {
        /// The lower bound; null if there is none.
        min: Json,
        /// The upper bound; null if there is none.
        max: Json,
    },
}

impl Violation {
    /// Creates a violation with only a code, a path and a message. The other fields are null or `None`.
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

    pub(crate) fn policy(mut self, policy_path: impl Into<String>) -> Self {
        self.policy = Some(policy_path.into());
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

/// Maximum number of violations reported for one job. If there are more, one `too-large` violation follows
/// them.
pub const MAX_VIOLATIONS: usize = 1000;

/// Truncates a list of violations to [`MAX_VIOLATIONS`]. If it removes any, it adds a `too-large` violation.
pub(crate) fn truncate(mut violations: Vec<Violation>) -> Vec<Violation> {
    if violations.len() > MAX_VIOLATIONS {
        violations.truncate(MAX_VIOLATIONS);
        let message =
            format!("more than {MAX_VIOLATIONS} violations; only the first {MAX_VIOLATIONS} are reported");
        violations.push(Violation::new(Code::TooLarge, "", message).range(Json::Null, MAX_VIOLATIONS));
    }
    violations
}
