//! Compares printed output with the output that a page shows.
//!
//! `…` on its own line matches any number of lines. Inside of a line it matches any text. With `vary`, all
//! numbers are equal, all ids are equal, and the number of spaces between words is ignored.

const GAP: &str = "…";

/// Number of characters in a job's id.
const ID: usize = 12;

/// Whether the printed output matches the shown output.
pub(super) fn alike(shown: &str, printed: &str, vary: bool) -> bool {
    let prepared = |text: &str| -> Vec<String> {
        let lines = text.trim_end().lines().map(str::trim_end);
        lines.map(|line| if vary { without_numbers(line) } else { line.to_owned() }).collect()
    };
    lines_alike(&prepared(shown), &prepared(printed))
}

/// Whether the output so far starts with the shown output.
pub(super) fn begins_alike(shown: &str, printed: &str, vary: bool) -> bool {
    alike(&format!("{}\n{GAP}", shown.trim_end()), printed, vary)
}

fn lines_alike(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((gap, rest)) if gap.trim() == GAP => (0..=printed.len())
            .any(|skipped| printed.get(skipped..).is_some_and(|left| lines_alike(rest, left))),
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, left)| line_alike(first, line) && lines_alike(rest, left)),
    }
}

fn line_alike(shown: &str, printed: &str) -> bool {
    let Some((start, rest)) = shown.split_once(GAP) else { return shown == printed };
    let Some(mut left) = printed.strip_prefix(start) else { return false };
    let mut parts: Vec<&str> = rest.split(GAP).collect();
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
fn without_numbers(line: &str) -> String {
    let mut told = String::new();
    for word in line.split_whitespace() {
        if !told.is_empty() {
            told.push(' ');
        }
        let mut rest = word;
        while !rest.is_empty() {
            let run =
                rest.find(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(run);
            if name.len() == ID {
                told.push_str("(id)");
            } else {
                push_without_digits(&mut told, name);
            }
            let mark =
                after.find(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).unwrap_or(after.len());
            let (marks, more) = after.split_at(mark);
            // The decimal point is part of the number.
            if !(marks == "." && told.ends_with('0') && more.starts_with(|c: char| c.is_ascii_digit())) {
                told.push_str(marks);
            }
            rest = more;
        }
    }
    told
}

fn push_without_digits(told: &mut String, name: &str) {
    for c in name.chars() {
        if !c.is_ascii_digit() {
            told.push(c);
        } else if !told.ends_with('0') {
            told.push('0');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_stands_for_anything() {
        for (shown, printed) in [
            ("a\n", "a"),
            ("a\n…\nd", "a\nb\nc\nd"),
            ("…\nd", "d"),
            ("a\n…", "a"),
            ("took … s, …", "took 3 s, or so"),
            ("", ""),
        ] {
            assert!(alike(shown, printed, false), "{shown} {printed}");
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
            assert!(!alike(shown, printed, false), "{shown} {printed}");
        }
    }

    #[test]
    fn numbers_and_ids_may_vary_and_words_may_not() {
        for (shown, printed) in [
            ("after 0.01s; 3Mi", "after 12.30s;  17Mi"),
            ("hello-4d5c9fa91db4: ok", "hello-abcdefghijkl: ok"),
            ("2026-11-21T11:00:00Z, 9s ago", "2026-12-01T09:30:12.345Z, 11s ago"),
            ("1.5 of 10.", "2 of 3."),
        ] {
            assert!(alike(shown, printed, true), "{shown} {printed}");
            assert!(!alike(shown, printed, false), "{shown} {printed}");
        }
        for (shown, printed) in [("3Mi", "3Gi"), ("failed after 1s", "succeeded after 1s"), ("x1", "x")] {
            assert!(!alike(shown, printed, true), "{shown} {printed}");
        }
    }

    #[test]
    fn a_beginning_is_enough_for_what_goes_on() {
        assert!(begins_alike("ready\n", "ready\nand more\n", false));
        assert!(!begins_alike("ready\nsteady\n", "ready\n", false));
    }
}
