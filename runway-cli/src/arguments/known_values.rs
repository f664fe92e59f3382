//! Parsers for options whose values are known in advance, so that shells can complete them.
//!
//! Job ids are not completed. `runway completions` prints static scripts, which cannot query a server, and the
//! dynamic engine of `clap_complete` is an unstable feature.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};
use runway_core::Code;
use runway_core::capability::BackendKind;
use runway_core::status::Phase;
use std::ffi::OsStr;
use std::fmt::Display;
use std::str::FromStr;

/// Returns a parser for the phases of jobs.
pub(super) fn phases() -> impl TypedValueParser<Value = Phase> {
    KnownValues { names: Phase::ALL.map(Phase::as_str).to_vec(), parse: parse_phase }
}

/// Returns a parser for violation codes. The error for an unknown code suggests a similar code, if there is
/// one.
pub(super) fn codes() -> impl TypedValueParser<Value = Code> {
    KnownValues { names: Code::ALL.iter().map(|code| code.as_str()).collect(), parse: parse_name }
}

/// Returns a parser for the names of backends.
pub(super) fn backends() -> impl TypedValueParser<Value = BackendKind> {
    KnownValues { names: BackendKind::ALL.map(BackendKind::as_str).to_vec(), parse: parse_name }
}

fn parse_phase(name: &str) -> Result<Phase, String> {
    let known = Phase::ALL.into_iter().find(|phase| phase.as_str() == name);
    known.ok_or_else(|| format!("expected one of {}", Phase::ALL.map(Phase::as_str).join(", ")))
}

fn parse_name<T: FromStr<Err: Display>>(name: &str) -> Result<T, String> {
    name.parse().map_err(|error: T::Err| error.to_string())
}

/// A parser for a fixed set of names. Shells complete `names`, and the function `parse` accepts or rejects a
/// value.
#[derive(Clone)]
struct KnownValues<T> {
    names: Vec<&'static str>,
    parse: fn(&str) -> Result<T, String>,
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for KnownValues<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        self.parse.parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().map(|name| PossibleValue::new(*name))))
    }
}
