//! The command line of Runway.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = runway_cli::Arguments::parse();
    runway_cli::run(&arguments).into()
}
