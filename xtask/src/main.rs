//! The project's own chores: `cargo xtask …`.

mod purity;
mod steps;

use std::process::ExitCode;
use steps::{Failed, cargo};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test              everything that must hold: formatting, lints, each crate alone, the core's purity, tests, documentation
  bench [OPTIONS]   compare with peers and print one table; --check only compiles it, --quick runs a few short rounds
  references        write docs/reference/ anew from the program
";

/// Every crate, and the features with which each must stand alone.
const ALONE: &[&[&str]] = &[
    &["-p", "runway-core"],
    &["-p", "runway-core", "--no-default-features"],
    &["-p", "runway-control"],
    &["-p", "runway-control", "--features", "fake"],
    &["-p", "runway-cli"],
    &["-p", "xtask"],
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test"] => test(),
        ["bench", options @ ..] => bench(options),
        ["references"] => references(),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\nxtask: {failed}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<(), Failed> {
    cargo("formatting", &["fmt", "--all", "--check"])?;
    cargo("lints", &["clippy", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    for packages in ALONE {
        let lint = ["clippy", "--locked"].iter().chain(*packages).chain(&["--", "-D", "warnings"]);
        cargo(&format!("alone: {}", packages.join(" ")), &lint.copied().collect::<Vec<_>>())?;
    }
    purity::check()?;
    cargo("tests", &["test", "--locked", "--all-targets"])?;
    cargo("documentation tests", &["test", "--locked", "--doc"])?;
    steps::run(
        "documentation",
        steps::command(&["doc", "--locked", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    eprintln!("\nxtask: all that must hold holds");
    Ok(())
}

fn bench(options: &[&str]) -> Result<(), Failed> {
    if options == ["--check"] {
        let lint = ["clippy", "--locked", "-p", "runway-bench", "--all-targets", "--", "-D", "warnings"];
        return cargo("the comparisons compile", &lint);
    }
    cargo("build", &["build", "--locked", "--release", "-p", "runway-cli", "-p", "runway-bench"])?;
    let runway = steps::target_folder().join("release/runway");
    let mut run = steps::command(&["run", "--quiet", "--locked", "--release", "-p", "runway-bench", "--"]);
    steps::run("comparisons", run.arg("--runway").arg(runway).args(options))
}

fn references() -> Result<(), Failed> {
    let mut write = steps::command(&["test", "--locked", "-p", "runway-cli", "--test", "it", "references"]);
    steps::run("references", write.env("RUNWAY_WRITE_REFERENCES", "1"))
}
