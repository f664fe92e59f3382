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
