//! The supervisor of a job as a separate program, for services that should not re-execute themselves.

fn main() {
    runway_local::run_if_asked();
    eprintln!("this program is started by Runway, for each of its jobs");
    std::process::exit(2);
}
