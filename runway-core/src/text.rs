//! Escapes untrusted text for terminals, finds similar names, and serializes types as strings.

/// Returns `true` if a terminal interprets the character instead of showing it. Such a character moves the
/// cursor, starts a command, breaks the line, or changes the direction of the following text.
///
/// These are the control characters (U+0000 to U+001F, U+007F to U+009F), and the line and paragraph
/// separators. They also include the marks, embeddings, overrides and isolates of the Unicode bidirectional
/// algorithm.
///
/// ```
/// use runway_core::text::is_terminal_control;
///
/// assert!(is_terminal_control('\u{1b}') && is_terminal_control('\u{202e}'));
/// assert!(!is_terminal_control('é') && !is_terminal_control(' '));
/// ```
#[must_use]
pub fn is_terminal_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Replaces every [terminal control](is_terminal_control) with its escape, such as `\u{1b}`. This includes
/// line breaks.
///
/// ```
/// assert_eq!(runway_core::text::escape_control("a\u{1b}[31m\n"), "a\\u{1b}[31m\\u{a}");
/// ```
#[must_use]
pub fn escape_control(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut escaped, c));
    escaped
}

/// Appends a character, or its escape if it is a terminal control.
pub(crate) fn push_escaped(text: &mut String, c: char) {
    if is_terminal_control(c) { text.extend(c.escape_unicode()) } else { text.push(c) }
}

/// Returns the known name that is most similar to `input`, if it is similar enough to be a likely correction.
pub(crate) fn nearest<'a>(input: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name of more than 64 bytes is hardly a typing error. The comparison of very long names would be slow.
    if input.len() > 64 {
        return None;
    }
    let written = input.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Implements `Serialize` and `Deserialize` for types with a string form.
///
/// Serialization uses `Display`, or a method that serializes to the same string. Deserialization uses
/// `FromStr`.
macro_rules! serde_as_text {
    ($($name:ident $(by $text:ident)?),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde_as_text!(@write self, serializer $(, $text)?)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(|error| serde::de::Error::custom(format!("`{text}` {error}")))
            }
        }
    )+};
    (@write $value:ident, $serializer:ident) => { $serializer.collect_str($value) };
    (@write $value:ident, $serializer:ident, $text:ident) => {
        serde::Serialize::serialize(&$value.$text(), $serializer)
    };
}

pub(crate) use serde_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminal_controls_are_escaped() {
        let controls =
            ['\0', '\t', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{61c}', '\u{200e}', '\u{200f}'];
        let controls = controls.into_iter().chain('\u{2028}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for c in controls {
            assert!(is_terminal_control(c), "{c:?}");
            assert_eq!(escape_control(&format!("a{c}b")), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
        for c in [
            ' ', 'é', '`', '\\', '\u{a0}', '\u{61b}', '\u{200d}', '\u{2027}', '\u{202f}', '\u{2065}',
            '\u{206a}', '🚀',
        ] {
            assert_eq!(escape_control(&c.to_string()), c.to_string());
        }
    }
}
