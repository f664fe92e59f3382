//! The `runway` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    // `runway run` starts this program again as the supervisor of the job. In such a process, the call below
    // runs the supervisor and does not return.
    #[cfg(target_os = "linux")]
    runway_local::reexec_init();
    match runway_cli::Cli::from_args(std::env::args_os()) {
        Ok(arguments) => runway_cli::run(&arguments),
        Err(exit) => exit,
    }
    .into()
}
