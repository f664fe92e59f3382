//! Generates the pages of `docs/reference/` that describe the commands, the violation codes and the schemas.

use crate::arguments::Cli;
use clap::{Command, CommandFactory};
use runway_core::{Code, Policy, schema};
use std::fmt::Write;

/// Width of the help texts in columns.
const WIDTH: usize = 80;

/// Returns the name and the content of each generated file. The names are relative to `docs/reference/`.
#[must_use]
pub fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("cli.md", cli_page()),
        ("codes.md", codes_page()),
        ("job.schema.json", format!("{:#}\n", schema::job(&Policy::builtin()))),
        ("policy.schema.json", format!("{:#}\n", schema::policy())),
    ]
}

fn cli_page() -> String {
    let mut page =
        String::from("# The command line\n\nGenerated from the program by `cargo xtask references`.\n");
    let mut root = Cli::command().term_width(WIDTH);
    root.build();
    write_command(&mut page, &mut root, "");
    page
}

fn write_command(page: &mut String, this: &mut Command, parent: &str) {
    let name = format!("{parent}{}", this.get_name());
    let help = this.clone().bin_name(&name).render_long_help().to_string();
    let help: Vec<_> = help.trim_end().lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n"));
    let parent = format!("{name} ");
    for child in this.get_subcommands_mut().filter(|child| child.get_name() != "help") {
        write_command(page, child, &parent);
    }
}

fn codes_page() -> String {
    let mut page = String::from(
        "# Violation codes\n\nGenerated from the program by `cargo xtask references`. `runway explain CODE` prints the same text.\n",
    );
    for code in Code::ALL {
        let _ = write!(page, "\n## `{code}`\n\n{}\n", code.explanation());
    }
    page
}
