//! Which request it is: an id of its own, and the trace that it belongs to (W3C Trace Context).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use runway_api::REQUEST_HEADER;
use std::fmt::Write;
use std::sync::Arc;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The longest id that is taken over from a client.
const MAX_LENGTH: usize = 128;

/// The id of a request: the client's, where it sends one that is fit for a log, and else one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    pub(crate) fn of(headers: &HeaderMap, random: u128) -> Self {
        let fits = |text: &&str| {
            (1..=MAX_LENGTH).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        let theirs = one(headers, &HeaderName::from_static(REQUEST_HEADER)).filter(fits);
        Self(theirs.map_or_else(|| format!("{random:032x}").into(), Into::into))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// The trace that a request belongs to, and this server's part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    id: String,
    span: String,
    flags: String,
}

impl Trace {
    /// Continues the client's trace, or begins one.
    pub(crate) fn of(headers: &HeaderMap, random: u128) -> Self {
        let mut span = String::new();
        // An id of zeros is none.
        let _ = write!(span, "{:016x}", u64::try_from(random >> 64).unwrap_or(1).max(1));
        match one(headers, &TRACEPARENT).and_then(parse) {
            Some((id, flags)) => Self { id: id.to_owned(), span, flags: flags.to_owned() },
            None => Self { id: format!("{:032x}", random.max(1)), span, flags: "00".to_owned() },
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn header(&self) -> HeaderValue {
        let text = format!("00-{}-{}-{}", self.id, self.span, self.flags);
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Trace id and flags of a `traceparent`; of later versions the part that the first one has.
fn parse(text: &str) -> Option<(&str, &str)> {
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    let mut parts = text.split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let has_more = parts.next().is_some();
    let is_read = is_hex(version, 2) && version != "ff" && (version != "00" || !has_more);
    let names_both = is_hex(id, 32) && !is_zero(id) && is_hex(parent, 16) && !is_zero(parent);
    (is_read && names_both && is_hex(flags, 2)).then_some((id, flags))
}

/// The value of a header that stands once.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, values: &[&str]) -> HeaderMap {
        let values =
            values.iter().map(|value| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        values.collect()
    }

    #[test]
    fn a_client_names_its_request_if_the_name_is_fit_for_a_log() {
        let id = |values: &[&str]| RequestId::of(&with(REQUEST_HEADER, values), 7).as_str().to_owned();
        assert_eq!(id(&["nightly-7.a_B"]), "nightly-7.a_B");
        assert_eq!(id(&[&"x".repeat(128)]), "x".repeat(128));
        let ours = format!("{:032x}", 7);
        for bad in [&["a b"][..], &["a\u{9}"], &[""], &[&"x".repeat(129)], &["a", "b"], &["é"], &["<b>"], &[]]
        {
            assert_eq!(id(bad), ours, "{bad:?}");
        }
    }

    #[test]
    fn a_trace_is_continued_with_a_part_of_our_own() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::of(&with("traceparent", &[parent]), 5 << 64);
        assert_eq!(trace.header(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000005-01");
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(Trace::of(&with("traceparent", &[later]), 1).id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            let trace = Trace::of(&with("traceparent", &[bad]), 9 << 64);
            assert_eq!(trace.id(), format!("{:032x}", 9_u128 << 64), "{bad}");
        }
    }
}
