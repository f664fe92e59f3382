//! JSON pointers (RFC 6901).

use std::borrow::Cow;

/// A JSON pointer to the place that `segments` name.
///
/// ```
/// assert_eq!(runway_core::document::pointer(["env", "A/B"]), "/env/A~1B");
/// ```
pub fn pointer<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        for c in segment.as_ref().chars() {
            match c {
                '~' => path.push_str("~0"),
                '/' => path.push_str("~1"),
                c => path.push(c),
            }
        }
    }
    path
}

/// The name that a segment of a pointer stands for.
pub(crate) fn unescape(segment: &str) -> Cow<'_, str> {
    if segment.contains('~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}
