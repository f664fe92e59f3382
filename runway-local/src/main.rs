//! The supervisor of a job, as a program of its own: for services that do not want to be it themselves.

fn main() {
    runway_local::run_if_asked();
    eprintln!("this program is started by Runway, for each of its jobs");
    std::process::exit(2);
}
