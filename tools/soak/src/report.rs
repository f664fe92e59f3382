//! Results of long runs: repetitions, duration, failures.

use std::fmt;
use std::time::Duration;

/// The result of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunResult {
    pub(crate) name: &'static str,
    /// Number of repetitions that were run.
    pub(crate) completed: u32,
    /// The numbers of the failed repetitions.
    pub(crate) failed: Vec<u32>,
    pub(crate) elapsed: Duration,
    /// The reason if the run stopped early.
    pub(crate) stopped_by: Option<String>,
}

/// The results of all runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    results: Vec<RunResult>,
}

impl Report {
    pub(crate) fn add(&mut self, entry: RunResult) {
        self.results.push(entry);
    }

    /// Whether all repetitions of each run passed.
    pub(crate) fn is_success(&self) -> bool {
        self.results.iter().all(|entry| entry.failed.is_empty() && entry.stopped_by.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for RunResult { name, completed: done, failed, elapsed, stopped_by: broken } in &self.results {
            let numbers = failed.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let which = if failed.is_empty() { String::new() } else { format!(": {numbers}") };
            let seconds = elapsed.as_secs();
            writeln!(f, "xtask: {name}: {done} times in {seconds} s, {} failed{which}", failed.len())?;
            if let Some(why) = broken {
                writeln!(f, "xtask: {name}: stopped: {why}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, RunResult};
    use std::time::Duration;

    fn entry(name: &'static str, failed: &[u32], broken: Option<&str>) -> RunResult {
        let elapsed = Duration::from_millis(61_900);
        RunResult {
            name,
            completed: 20,
            failed: failed.to_vec(),
            elapsed,
            stopped_by: broken.map(str::to_owned),
        }
    }

    #[test]
    fn report_lists_failed_repetitions() {
        let mut report = Report::default();
        report.add(entry("a", &[], None));
        assert!(report.is_success());
        report.add(entry("b", &[3, 17], None));
        assert!(!report.is_success());
        let text = "xtask: a: 20 times in 61 s, 0 failed\nxtask: b: 20 times in 61 s, 2 failed: 3, 17\n";
        assert_eq!(report.to_string(), text);
    }

    #[test]
    fn stopped_run_is_a_failure() {
        let mut report = Report::default();
        report.add(entry("a", &[], Some("no cluster")));
        assert!(!report.is_success());
        assert!(report.to_string().ends_with("xtask: a: stopped: no cluster\n"));
    }
}
