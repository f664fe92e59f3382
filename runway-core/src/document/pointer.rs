//! JSON pointers (RFC 6901).

use std::borrow::Cow;

/// Returns the JSON pointer to the value at the path `segments`.
///
/// ```
/// assert_eq!(runway_core::document::pointer(["env", "A/B"]), "/env/A~1B");
/// ```
pub fn pointer<S: AsRef<str>>(segments: impl IntoIterator<Item = S>) -> String {
    let mut path = String::new();
    segments.into_iter().for_each(|segment| append(&mut path, segment.as_ref()));
    path
}

/// Appends a segment to a pointer.
pub(crate) fn append(path: &mut String, segment: &str) {
    path.push('/');
    for (i, part) in segment.split('~').enumerate() {
        if i > 0 {
            path.push_str("~0");
        }
        for (i, part) in part.split('/').enumerate() {
            if i > 0 {
                path.push_str("~1");
            }
            path.push_str(part);
        }
    }
}

/// Returns the name that a pointer segment stands for.
pub(crate) fn unescape(segment: &str) -> Cow<'_, str> {
    if segment.contains('~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}
