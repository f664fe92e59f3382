//! The generated files in `docs/reference/` match the program.

use clap::CommandFactory;
use runway_http::flags::Flags;
use runway_testing::generated::assert_generated;

#[test]
fn the_references_are_up_to_date() {
    let help = Flags::command().term_width(80).render_long_help().to_string();
    let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    let flags = format!(
        "# The server's flags\n\nGenerated from the program by `cargo xtask references`.\n\n```text\n{}\n```\n",
        help.join("\n")
    );
    let openapi = format!("{:#}\n", runway_http::openapi());
    assert_generated("docs/reference/server.md", &flags);
    assert_generated("docs/reference/openapi.json", &openapi);
}
