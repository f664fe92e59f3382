//! The generated files in `docs/reference/` match the program.

use crate::harness::root;
use clap::CommandFactory;
use runway_http::flags::Flags;

/// `cargo xtask references` sets this variable to write the files instead of comparing them.
const WRITE: &str = "RUNWAY_WRITE_REFERENCES";

#[test]
fn the_references_are_up_to_date() {
    let help = Flags::command().term_width(80).render_long_help().to_string();
    let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    let flags = format!(
        "# The server's flags\n\nGenerated from the program by `cargo xtask references`.\n\n```text\n{}\n```\n",
        help.join("\n")
    );
    let openapi = format!("{:#}\n", runway_http::openapi());
    for (name, now) in [("server.md", flags), ("openapi.json", openapi)] {
        let file = root().join("docs/reference").join(name);
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&file, now).unwrap();
        } else {
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(committed == now, "docs/reference/{name} is out of date: run `cargo xtask references`");
        }
    }
}
