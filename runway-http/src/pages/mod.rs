//! The HTML pages. The pages load nothing from other hosts.
//!
//! `maud` escapes all inserted values, except the style sheet and HTML that `maud` itself has rendered.

pub(crate) mod overview;
pub(crate) mod reference;

use axum::http::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// A page has inline styles, and can load scripts from this server and connect to it. Everything else is
/// forbidden.
pub(crate) const SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Renders a page with the given content.
fn page(title: &str, script: Option<&str>, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
                @if let Some(script) = script { script src=(script) defer {} }
            }
            body { (content) }
        }
    }
}

/// Renders text that marks code with backticks. A backtick without a partner stays as it is.
fn inline_code(text: &str) -> Markup {
    let parts: Vec<&str> = text.split('`').collect();
    html! {
        @for (index, part) in parts.iter().enumerate() {
            @if index % 2 == 0 { (part) }
            @else if index + 1 == parts.len() { "`" (part) }
            @else { code { (part) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::inline_code;

    #[test]
    fn backticks_become_code_elements() {
        for (text, html) in [
            ("", ""),
            ("plain", "plain"),
            ("`a` and `<b>`", "<code>a</code> and <code>&lt;b&gt;</code>"),
            ("an unclosed `tick", "an unclosed `tick"),
            ("`a` and `", "<code>a</code> and `"),
        ] {
            assert_eq!(inline_code(text).into_string(), html);
        }
    }
}
