//! `cargo xtask soak`: test runs that take too long for each commit. Most runs repeat tests. One run also
//! loads the machine, and one run uses the oldest version of Kubernetes.

mod load;
mod options;
mod report;
mod runs;

use options::Options;
use report::Report;
use runs::Soak;
use runway_devcluster::Release;
use runway_steps::StepError;
use std::process::ExitCode;

/// Runs all tests on a cluster of one version. The caller passes this function.
pub type ClusterTests = dyn Fn(Release) -> Result<(), StepError>;

/// Runs one `soak` command: the named runs, or all of them.
pub fn run_command(words: &[&str], kubernetes: Option<Release>, cluster_tests: &ClusterTests) -> ExitCode {
    let options = match Options::parse(words) {
        Ok(options) => options,
        Err(what) => {
            eprintln!("xtask: {what}\n\n{}", options::usage());
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    for run in &options.runs {
        let soak = Soak { kubernetes, times: options.times.unwrap_or(run.times), cluster_tests };
        soak.execute(run, &mut report);
    }
    eprint!("\n{report}");
    if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
