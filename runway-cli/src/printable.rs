//! Text from elsewhere, fit for a terminal.

/// The text, with nothing in it that a terminal would obey: names in files and answers of servers are whatever somebody
/// wrote there.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let obeyed = c.is_control()
                || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let escaped = obeyed.then(|| c.escape_unicode());
            escaped.into_iter().flatten().chain((!obeyed).then_some(c))
        })
        .collect()
}
