//! The declaration of one field of a job.

use super::{ResourceSpec, Secret, Written};
use crate::job::Resources;
use crate::policy::Policy;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// One field of `S`, and of its normalised form `N`.
pub(super) struct Field<S: 'static, N: 'static> {
    /// The name in a document.
    pub(super) name: &'static str,
    /// The type, and the place in `S`.
    pub(super) value: FieldType<S>,
    /// The description in the JSON Schema.
    pub(super) doc: &'static str,
    /// The JSON Schema of the value, without the description.
    pub(super) schema: fn(&Policy) -> Json,
    /// Whether the schema requires it.
    pub(super) required: bool,
    pub(super) recorded: Recorded,
    pub(super) secrecy: Secrecy,
    pub(super) digest: InDigest,
    /// Whether the text of a number or truth value is valid here once it is put in quotes.
    pub(super) quotable: fn(&str) -> bool,
    /// The form in the normalised job, if there is one.
    pub(super) normalised: Option<Normalised<N>>,
}

/// When a field is part of a digest and of the recorded inputs of a decision.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Always: as `null`, or as an empty list or mapping, if the job does not set it. This is for the fields of the
    /// first version only, whose digests and decisions exist.
    Always,
    /// If the job sets it. A new field with this mark changes no existing digest or decision.
    IfPresent,
}

/// Whether messages and records may show the values of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    Public,
    /// Messages never show the values. A record has their lengths only.
    Secret,
}

/// The part of a field that the digest covers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum InDigest {
    Values,
    /// The names of a mapping: the digest does not depend on the values.
    Names,
}

/// The type of a field, and the access to its value.
pub(super) enum FieldType<S: 'static> {
    Text(Access<S, Option<String>>),
    Texts(Access<S, Vec<String>>),
    Amount(Access<S, Option<Written>>),
    Variables(Access<S, BTreeMap<String, String>>),
    Secrets(Access<S, BTreeMap<String, Secret>>),
    Resources(Access<S, ResourceSpec>),
}

/// The access to a value of type `T` in `S`.
pub(super) struct Access<S: 'static, T: 'static> {
    pub(super) get: fn(&S) -> &T,
    pub(super) get_mut: fn(&mut S) -> &mut T,
}

/// The form of a field in the normalised job.
pub(super) struct Normalised<N: 'static> {
    pub(super) key: &'static str,
    /// Returns the value; `None` leaves the field out.
    pub(super) value: for<'a> fn(&'a N) -> Option<NormalValue<'a>>,
    /// Fields are in the order of the table, except those that are last.
    pub(super) is_last: bool,
}

/// A value of the normalised job.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(super) enum NormalValue<'a> {
    Null,
    Text(&'a str),
    Number(u64),
    Resources(&'a Resources),
}

impl<S, N> Field<S, N> {
    /// A public field that a job may leave out.
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
            digest: InDigest::Values,
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

    pub(super) const fn secret(mut self, digest: InDigest) -> Self {
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
        value: for<'a> fn(&'a N) -> Option<NormalValue<'a>>,
    ) -> Self {
        self.normalised = Some(Normalised { key, value, is_last: false });
        self
    }

    pub(super) const fn normalised_last(
        mut self,
        key: &'static str,
        value: for<'a> fn(&'a N) -> Option<NormalValue<'a>>,
    ) -> Self {
        self.normalised = Some(Normalised { key, value, is_last: true });
        self
    }
}
