//! The command line of Runway.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Each job of `runway run` has a supervisor, which is this program once more.
    #[cfg(target_os = "linux")]
    runway_local::run_if_asked();
    let arguments = runway_cli::Arguments::parse();
    runway_cli::run(&arguments).into()
}
