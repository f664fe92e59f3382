//! Compares printed output with the output that a page shows.
//!
//! `…` on its own line matches any number of lines. Inside of a line it matches any text. With `vary`, all
//! numbers are equal, all ids are equal, and the number of spaces between words is ignored. Every run of 12
//! lower-case letters and digits counts as an id.

const ELLIPSIS: &str = "…";

/// Number of characters in a job's id.
const JOB_ID_LENGTH: usize = 12;

/// Whether the printed output matches the shown output.
pub(super) fn matches(shown: &str, printed: &str, vary: bool) -> bool {
    let normalize = |text: &str| -> Vec<String> {
        let lines = text.trim_end().lines().map(str::trim_end);
        lines.map(|line| if vary { normalize_numbers(line) } else { line.to_owned() }).collect()
    };
    lines_match(&normalize(shown), &normalize(printed))
}

/// Whether the output so far starts with the shown output.
pub(super) fn matches_prefix(shown: &str, printed: &str, vary: bool) -> bool {
    matches(&format!("{}\n{ELLIPSIS}", shown.trim_end()), printed, vary)
}

fn lines_match(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((gap, rest)) if gap.trim() == ELLIPSIS => (0..=printed.len())
            .any(|skipped| printed.get(skipped..).is_some_and(|left| lines_match(rest, left))),
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, left)| line_matches(first, line) && lines_match(rest, left)),
    }
}

fn line_matches(shown: &str, printed: &str) -> bool {
    let Some((start, rest)) = shown.split_once(ELLIPSIS) else { return shown == printed };
    let Some(mut left) = printed.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split(ELLIPSIS).collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(end)
}

/// Replaces each number with `0`, each id with `(id)`, and several spaces with one.
fn normalize_numbers(line: &str) -> String {
    let mut normalized = String::new();
    for word in line.split_whitespace() {
        if !normalized.is_empty() {
            normalized.push(' ');
        }
        let mut rest = word;
        while !rest.is_empty() {
            let run =
                rest.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(run);
            if name.len() == JOB_ID_LENGTH {
                normalized.push_str("(id)");
            } else {
                push_normalized(&mut normalized, name);
            }
            let mark =
                after.find(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).unwrap_or(after.len());
            let (marks, more) = after.split_at(mark);
            // The decimal point is part of the number.
            if !(marks == "." && normalized.ends_with('0') && more.starts_with(|c: char| c.is_ascii_digit()))
            {
                normalized.push_str(marks);
            }
            rest = more;
        }
    }
    normalized
}

fn push_normalized(normalized: &mut String, name: &str) {
    for c in name.chars() {
        if !c.is_ascii_digit() {
            normalized.push(c);
        } else if !normalized.ends_with('0') {
            normalized.push('0');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ellipsis_matches_any_lines_or_text() {
        for (shown, printed) in [
            ("a\n", "a"),
            ("a\n…\nd", "a\nb\nc\nd"),
            ("…\nd", "d"),
            ("a\n…", "a"),
            ("took … s, …", "took 3 s, or so"),
            ("", ""),
        ] {
            assert!(matches(shown, printed, false), "{shown} {printed}");
        }
        for (shown, printed) in [
            ("a", "b"),
            ("a", "a\nb"),
            ("a\n…\nd", "a\nb"),
            ("", "a"),
            ("took … s", "took 3 min"),
            ("1s", "2s"),
            ("a…a", "a"),
        ] {
            assert!(!matches(shown, printed, false), "{shown} {printed}");
        }
    }

    #[test]
    fn vary_ignores_numbers_and_ids_only() {
        for (shown, printed) in [
            ("after 0.01s; 3Mi", "after 12.30s;  17Mi"),
            ("hello-4d5c9fa91db4: ok", "hello-abcdefghijkl: ok"),
            ("2026-11-21T11:00:00Z, 9s ago", "2026-12-01T09:30:12.345Z, 11s ago"),
            ("1.5 of 10.", "2 of 3."),
        ] {
            assert!(matches(shown, printed, true), "{shown} {printed}");
            assert!(!matches(shown, printed, false), "{shown} {printed}");
        }
        for (shown, printed) in [("3Mi", "3Gi"), ("failed after 1s", "succeeded after 1s"), ("x1", "x")] {
            assert!(!matches(shown, printed, true), "{shown} {printed}");
        }
    }

    #[test]
    fn background_output_matches_by_its_beginning() {
        assert!(matches_prefix("ready\n", "ready\nand more\n", false));
        assert!(!matches_prefix("ready\nsteady\n", "ready\n", false));
    }
}
