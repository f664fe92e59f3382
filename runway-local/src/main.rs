//! The supervisor of a job as a separate program, for services that should not re-execute themselves.

fn main() {
    runway_local::reexec_init();
    eprintln!("Runway starts this program for each job; do not start it directly");
    std::process::exit(2);
}
