//! Request ids, and the traces to which requests belong (W3C Trace Context).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use runway_api::REQUEST_ID_HEADER;
use runway_control::RequestIdentity;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Maximum length of a request id from a client.
const MAX_ID_LENGTH: usize = 128;

/// Generates 128-bit numbers that look random and practically never repeat.
///
/// Each number is a hash of a counter with random keys. This needs no randomness from the operating system
/// per number, because request ids need not be unpredictable.
#[derive(Debug, Default)]
pub(crate) struct RequestIdGen {
    hashers: [RandomState; 2],
    counter: AtomicU64,
}

impl RequestIdGen {
    pub(crate) fn next(&self) -> u128 {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let [high, low] = self.hashers.each_ref().map(|key| u128::from(key.hash_one(number)));
        high << 64 | low
    }
}

/// The ids of a request in the log: its request id and its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestIds {
    pub(crate) id: RequestId,
    pub(crate) trace: Trace,
}

impl RequestIds {
    /// Returns the ids for the audit record.
    pub(crate) fn identity(&self) -> RequestIdentity<'_> {
        RequestIdentity { request_id: self.id.as_str(), trace_id: self.trace.id() }
    }

    pub(crate) fn from_headers(headers: &HeaderMap, random: u128) -> Self {
        let new_trace = NewTrace::new(random);
        Self {
            id: RequestId::from_headers(headers, &new_trace),
            trace: Trace::from_headers(headers, &new_trace),
        }
    }
}

/// A generated trace, as a `traceparent` header. Its trace id is also the request id, unless the client
/// sends a valid request id. Its span id is the span of this server, even if the server continues a trace of
/// the client.
#[derive(Debug)]
struct NewTrace(Bytes);

impl NewTrace {
    const TRACE: Range<usize> = 3..35;
    const SPAN: Range<usize> = 36..52;

    fn new(random: u128) -> Self {
        // A trace id or span id that consists only of zeros is invalid.
        let (id, span) = (random.max(1), u64::try_from(random >> 64).unwrap_or(1).max(1));
        let mut text = String::with_capacity(55);
        // Writing to a string cannot fail.
        let _ = write!(text, "00-{id:032x}-{span:016x}-00");
        Self(text.into())
    }

    fn id(&self) -> HeaderValue {
        header_value(self.0.slice(Self::TRACE))
    }

    fn trace(&self) -> HeaderValue {
        header_value(self.0.clone())
    }

    /// The span id of this server.
    fn span(&self) -> &str {
        self.0.get(Self::SPAN).and_then(|span| std::str::from_utf8(span).ok()).unwrap_or_default()
    }
}

/// The id of a request: the id from the client if it is safe to log, otherwise a generated id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    fn from_headers(headers: &HeaderMap, new_trace: &NewTrace) -> Self {
        let client_id = single(headers, &HeaderName::from_static(REQUEST_ID_HEADER));
        let client_id = client_id.filter(|value| value.to_str().is_ok_and(is_log_safe));
        Self(client_id.cloned().unwrap_or_else(|| new_trace.id()))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn to_header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

fn is_log_safe(text: &str) -> bool {
    (1..=MAX_ID_LENGTH).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// The trace of a request and the span of this server, as a `traceparent` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace(HeaderValue);

impl Trace {
    /// Continues the trace of the client, or starts a new trace.
    fn from_headers(headers: &HeaderMap, new_trace: &NewTrace) -> Self {
        Self(match single_str(headers, &TRACEPARENT).and_then(parse_traceparent) {
            Some((id, flags)) => header_value(format!("00-{id}-{}-{flags}", new_trace.span()).into()),
            None => new_trace.trace(),
        })
    }

    pub(crate) fn id(&self) -> &str {
        self.0.to_str().ok().and_then(|text| text.split('-').nth(1)).unwrap_or_default()
    }

    pub(crate) fn to_header_value(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Builds a header value from letters, digits and hyphens.
fn header_value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// Returns the trace id and the flags of a `traceparent`, or `None` if it is invalid. For a later version of
/// the header, only the fields of version 00 are parsed.
fn parse_traceparent(text: &str) -> Option<(&str, &str)> {
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_zero = |part: &str| part.bytes().all(|b| b == b'0');
    let mut parts = text.split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let has_more = parts.next().is_some();
    let is_known_version = is_hex(version, 2) && version != "ff" && (version != "00" || !has_more);
    let has_valid_ids = is_hex(id, 32) && !is_zero(id) && is_hex(parent, 16) && !is_zero(parent);
    (is_known_version && has_valid_ids && is_hex(flags, 2)).then_some((id, flags))
}

/// Returns the value of a header if the header occurs exactly once and the value is visible ASCII.
pub(crate) fn single_str<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    single(headers, name)?.to_str().ok()
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { Some(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers_with(name: &'static str, values: &[&str]) -> HeaderMap {
        let values =
            values.iter().map(|value| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        values.collect()
    }

    #[test]
    fn client_request_id_is_used_if_log_safe() {
        let id = |values: &[&str]| {
            RequestIds::from_headers(&headers_with(REQUEST_ID_HEADER, values), 7).id.as_str().to_owned()
        };
        assert_eq!(id(&["nightly-7.a_B"]), "nightly-7.a_B");
        assert_eq!(id(&[&"x".repeat(128)]), "x".repeat(128));
        let generated = format!("{:032x}", 7);
        for bad in [&["a b"][..], &["a\u{9}"], &[""], &[&"x".repeat(129)], &["a", "b"], &["é"], &["<b>"], &[]]
        {
            assert_eq!(id(bad), generated, "{bad:?}");
        }
    }

    #[test]
    fn generated_ids_are_unique() {
        let [one, other] = [RequestIdGen::default(), RequestIdGen::default()];
        let ids: std::collections::BTreeSet<_> =
            (0..1_000).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.len(), 2_000);
    }

    #[test]
    fn client_trace_is_continued_with_a_new_span() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = RequestIds::from_headers(&headers_with("traceparent", &[parent]), 5 << 64).trace;
        assert_eq!(trace.to_header_value(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000005-01");
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(
            RequestIds::from_headers(&headers_with("traceparent", &[later]), 1).trace.id(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            let trace = RequestIds::from_headers(&headers_with("traceparent", &[bad]), 9 << 64).trace;
            assert_eq!(trace.id(), format!("{:032x}", 9_u128 << 64), "{bad}");
        }
    }
}
