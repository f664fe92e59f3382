//! The type of one entry in the field tables.

use super::{RawScalar, ResourceSpec, Secret};
use crate::job::Resources;
use crate::policy::Policy;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// One field of the spec `S` and of its normalised form `N`.
pub(super) struct Field<S: 'static, N: 'static> {
    /// The field's name in a document.
    pub(super) name: &'static str,
    /// The field's type, with accessors to its value in `S`.
    pub(super) value: FieldType<S>,
    /// The description in the JSON Schema.
    pub(super) doc: &'static str,
    /// Returns the JSON Schema of the value, without the description.
    pub(super) schema: fn(&Policy) -> Json,
    /// `true` if the JSON Schema lists the field as required.
    pub(super) required: bool,
    pub(super) recorded: Recorded,
    pub(super) secrecy: Secrecy,
    pub(super) digest: DigestPart,
    /// Returns `true` if this text is a valid string for the field, or for one item of its list. If a
    /// document has a number or boolean in the place of this string, the fix is the text in quotes.
    pub(super) quotable: fn(&str) -> bool,
    /// The field's entry in the normalised job; `None` if the normalised job leaves the field out.
    pub(super) normalised: Option<NormalisedField<N>>,
}

/// Selects when a field is part of the digest and of the recorded inputs of a decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// The field is always recorded. If the job does not set it, it is `null`, an empty list or an empty
    /// mapping. Only the fields of the first version use this variant, because their digests and decisions
    /// already exist.
    Always,
    /// The field is recorded only if the job sets it to a value that is not empty. Every new field uses this
    /// variant, because it changes no existing digest or decision.
    IfPresent,
}

/// Selects whether messages and records may show the values of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Public,
    /// Messages never show the values. For each value, a record contains only the length, and whether the
    /// value contains a NUL byte.
    Secret,
}

/// The part of a field that the digest covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DigestPart {
    Values,
    /// Only the names in a mapping. The digest does not depend on the values.
    Names,
}

/// The type of a field, with accessors to its value.
pub(super) enum FieldType<S: 'static> {
    String(Access<S, Option<String>>),
    Strings(Access<S, Vec<String>>),
    Amount(Access<S, Option<RawScalar>>),
    Variables(Access<S, BTreeMap<String, String>>),
    Secrets(Access<S, BTreeMap<String, Secret>>),
    Resources(Access<S, ResourceSpec>),
}

/// Accessors to a value of type `T` in `S`.
pub(super) struct Access<S: 'static, T: 'static> {
    pub(super) get: fn(&S) -> &T,
    pub(super) get_mut: fn(&mut S) -> &mut T,
}

/// The entry of a field in the normalised job.
pub(super) struct NormalisedField<N: 'static> {
    pub(super) key: &'static str,
    /// Returns the value, or `None` to leave the entry out.
    pub(super) value: for<'a> fn(&'a N) -> Option<NormalisedValue<'a>>,
    /// `true` if the entry follows all others. The other entries keep the order of the table.
    pub(super) is_last: bool,
}

/// A value in the normalised job.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(super) enum NormalisedValue<'a> {
    Null,
    Str(&'a str),
    Number(u64),
    Resources(&'a Resources),
}

impl<S, N> Field<S, N> {
    /// Creates a public, optional field.
    pub(super) const fn new(
        name: &'static str,
        value: FieldType<S>,
        schema: fn(&Policy) -> Json,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            value,
            doc,
            schema,
            required: false,
            recorded: Recorded::IfPresent,
            secrecy: Secrecy::Public,
            digest: DigestPart::Values,
            quotable: |_| false,
            normalised: None,
        }
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) const fn recorded(mut self, recorded: Recorded) -> Self {
        self.recorded = recorded;
        self
    }

    pub(super) const fn secret(mut self, digest: DigestPart) -> Self {
        self.secrecy = Secrecy::Secret;
        self.digest = digest;
        self
    }

    pub(super) const fn quotable(mut self, accepts: fn(&str) -> bool) -> Self {
        self.quotable = accepts;
        self
    }

    pub(super) const fn normalised(
        mut self,
        key: &'static str,
        value: for<'a> fn(&'a N) -> Option<NormalisedValue<'a>>,
    ) -> Self {
        self.normalised = Some(NormalisedField { key, value, is_last: false });
        self
    }

    pub(super) const fn normalised_last(
        mut self,
        key: &'static str,
        value: for<'a> fn(&'a N) -> Option<NormalisedValue<'a>>,
    ) -> Self {
        self.normalised = Some(NormalisedField { key, value, is_last: true });
        self
    }
}
