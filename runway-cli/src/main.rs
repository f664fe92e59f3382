//! The command line of Runway.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Each job of `runway run` has a supervisor, which is this program once more.
    #[cfg(target_os = "linux")]
    runway_local::run_if_asked();
    match runway_cli::Arguments::read(std::env::args_os()) {
        Ok(arguments) => runway_cli::run(&arguments),
        Err(exit) => exit,
    }
    .into()
}
