//! The runs, and their execution.

use crate::ClusterTests;
use crate::busy::Busy;
use crate::report::{Entry, Report};
use runway_devcluster::{Release, Session, Up};
use runway_steps::{self as steps, Failed, target_folder};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A long run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    /// Describes the repeated tests, for messages.
    pub(crate) what: &'static str,
    /// The number of repetitions without `--times`.
    pub(crate) times: u32,
    work: Work,
}

/// The work of one repetition.
#[derive(Debug, PartialEq, Eq)]
enum Work {
    /// Tests without a cluster.
    Tests(Tests),
    /// Tests on one cluster. The cluster is kept for all repetitions.
    OnCluster { tests: Tests, is_busy: bool },
    /// All tests on a cluster of one version.
    AllOnCluster { kubernetes: Release },
    /// Simulations with this number of seeds per repetition. One process runs all repetitions, because a
    /// second process would use the same seeds.
    Simulations { seeds: u32 },
    /// Tests of jobs in a virtual machine.
    VirtualMachine,
}

/// A call of `cargo test`.
#[derive(Debug, PartialEq, Eq)]
struct Tests {
    /// The arguments before `--`.
    target: &'static [&'static str],
    /// The arguments after `--`.
    filter: &'static [&'static str],
}

const K8S: &[&str] = &["-p", "runway-k8s", "--test", "cluster"];

/// Every run.
pub(crate) const RUNS: &[Run] = &[
    Run {
        name: "creation",
        what: "a creation that fails half way, with two busy loops and a disk writer",
        times: 50,
        work: Work::OnCluster {
            tests: Tests {
                target: K8S,
                filter: &["--exact", "creation::a_creation_that_fails_half_way_is_undone"],
            },
            is_busy: true,
        },
    },
    Run {
        name: "burst",
        what: "a server that is killed in a burst of creations",
        times: 20,
        work: Work::OnCluster { tests: Tests { target: K8S, filter: &["burst"] }, is_busy: false },
    },
    Run {
        name: "simulation",
        what: "3,000 histories on an in-memory cluster, with new seeds each time",
        times: 20,
        work: Work::Simulations { seeds: 3_000 },
    },
    Run {
        name: "kubernetes-1.34",
        what: "all tests on a cluster of the oldest version",
        times: 1,
        work: Work::AllOnCluster { kubernetes: Release::V1_34 },
    },
    Run {
        name: "machine",
        what: "jobs on this machine, as root",
        times: 10,
        work: Work::Tests(Tests { target: &["-p", "runway-local", "--test", "machine"], filter: &[] }),
    },
    Run {
        name: "virtual-machine",
        what: "jobs in a virtual machine, with cgroup v2",
        times: 5,
        work: Work::VirtualMachine,
    },
    Run {
        name: "memory",
        what: "a server that 100,000 tenants use",
        times: 10,
        work: Work::Tests(Tests { target: &["-p", "runway-http", "--test", "memory"], filter: &[] }),
    },
];

/// Executes runs.
pub(crate) struct Soak<'a> {
    /// The version of Kubernetes for runs that do not choose one.
    pub(crate) kubernetes: Option<Release>,
    pub(crate) times: u32,
    pub(crate) cluster_tests: &'a ClusterTests,
}

impl Soak<'_> {
    /// Executes a run and adds its result to the report. A failed repetition does not stop the run.
    pub(crate) fn execute(&self, run: &Run, report: &mut Report) {
        eprintln!("\nxtask: soak {}: {}, {} times", run.name, run.what, self.times);
        let begun = Instant::now();
        let mut repetitions = Repetitions { name: run.name, times: self.times, done: 0, failed: Vec::new() };
        let ended = self.repeat(&run.work, &mut repetitions);
        report.add(Entry {
            name: run.name,
            done: repetitions.done,
            failed: repetitions.failed,
            elapsed: begun.elapsed(),
            broken: ended.err().map(|failed| failed.to_string()),
        });
    }

    fn repeat(&self, work: &Work, repetitions: &mut Repetitions) -> Result<(), Failed> {
        match work {
            Work::Tests(tests) => {
                tests.build()?;
                repetitions.each(|step, log| tests.run(log, |command| steps::run(step, command)))
            }
            Work::OnCluster { tests, is_busy } => {
                tests.build()?;
                let wanted = Up { node: true, kubernetes: self.kubernetes };
                let mut session = Session::begin(wanted).map_err(|failure| Failed::Cluster { failure })?;
                let busy = is_busy.then(|| Busy::start(&folder())).transpose();
                let _busy = busy.map_err(|error| not_started("the load", error))?;
                repetitions.each(|step, log| tests.run(log, |command| session.run(step, command)))
            }
            Work::AllOnCluster { kubernetes } => repetitions.each(|_, _| (self.cluster_tests)(*kubernetes)),
            Work::Simulations { seeds } => {
                let count = seeds.saturating_mul(self.times).to_string();
                let mut command = steps::command(&["test", "--locked", "-p", "runway-control", "simulation"]);
                // One process runs all simulations and prints the seed that fails.
                steps::run(&format!("{count} histories"), command.env("RUNWAY_SIMULATIONS", &count))?;
                repetitions.done = self.times;
                Ok(())
            }
            Work::VirtualMachine => repetitions.each(|_, _| runway_virtual_machine::test()),
        }
    }
}

impl Tests {
    /// Builds the tests before the first repetition.
    fn build(&self) -> Result<(), Failed> {
        steps::cargo("build", &[&["test", "--locked", "--no-run"], self.target].concat())
    }

    /// Passes the command of the tests to `run` once, with its output in a log.
    ///
    /// # Errors
    /// [`StepError`] if a test fails, or no test matches the filter.
    fn run(&self, log: &Path, run: impl FnOnce(&mut Command) -> Result<(), Failed>) -> Result<(), Failed> {
        let name = log.display().to_string();
        let output = File::create(log).map_err(|error| not_started(&name, error))?;
        let errors = output.try_clone().map_err(|error| not_started(&name, error))?;
        let mut command =
            steps::command(&[&["test", "--locked"], self.target, &["--"], self.filter].concat());
        run(command.stdin(Stdio::null()).stdout(output).stderr(errors))?;
        let text = fs::read_to_string(log).map_err(|error| not_started(&name, error))?;
        if text.contains("\nrunning 0 tests\n") {
            let what = format!("no test has the name `{}`", self.filter.join(" "));
            return Err(Failed::Wrong { step: self.target.join(" "), what });
        }
        Ok(())
    }
}

/// The progress of a run.
struct Repetitions {
    name: &'static str,
    times: u32,
    done: u32,
    failed: Vec<u32>,
}

impl Repetitions {
    /// Calls `run` for each repetition with a title and the path of a log. The logs of failed repetitions are
    /// kept.
    fn each(&mut self, mut run: impl FnMut(&str, &Path) -> Result<(), Failed>) -> Result<(), Failed> {
        let folder = folder();
        fs::create_dir_all(&folder).map_err(|error| not_started(&folder.display().to_string(), error))?;
        for number in 1..=self.times {
            let step = format!("{} {number}/{}", self.name, self.times);
            let log = folder.join(format!("{}-{number}.log", self.name));
            let begun = Instant::now();
            let result = run(&step, &log);
            let seconds = begun.elapsed().as_secs_f32();
            self.done = number;
            match result {
                Ok(()) => {
                    eprintln!("xtask: {step}: passed after {seconds:.1} s");
                    let _none = fs::remove_file(log);
                }
                Err(failed) => {
                    eprintln!("xtask: {failed}, after {seconds:.1} s");
                    if log.exists() {
                        eprintln!("xtask: output: `{}`", log.display());
                    }
                    self.failed.push(number);
                }
            }
        }
        Ok(())
    }
}

/// Returns the directory of the logs.
fn folder() -> PathBuf {
    target_folder().join("soak")
}

fn not_started(step: &str, error: io::Error) -> Failed {
    Failed::NotStarted { step: step.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::{RUNS, Repetitions, Tests, Work};
    use runway_steps::{Failed, root};
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn names_differ_and_each_run_is_repeated() {
        let names: BTreeSet<_> = RUNS.iter().map(|run| run.name).collect();
        assert_eq!(names.len(), RUNS.len());
        assert!(RUNS.iter().all(|run| run.times > 0));
    }

    #[test]
    fn failed_repetitions_are_counted_and_the_others_still_run() {
        let mut repetitions = Repetitions { name: "demo", times: 5, done: 0, failed: Vec::new() };
        let mut number = 0;
        let result = repetitions.each(|_, _| {
            number += 1;
            let failed = Failed::Unsuccessful { step: "demo".to_owned() };
            if number % 2 == 0 { Err(failed) } else { Ok(()) }
        });
        assert!(result.is_ok());
        assert_eq!((repetitions.done, repetitions.failed), (5, vec![2, 4]));
    }

    #[test]
    fn filter_that_no_test_has_fails() {
        let log = std::env::temp_dir().join(format!("runway-soak-{}.log", std::process::id()));
        let tests = Tests { target: &["-p", "demo"], filter: &["missing"] };
        let printed = |text: &'static str| {
            tests.run(&log, |_| {
                fs::write(&log, text).unwrap();
                Ok(())
            })
        };
        assert!(printed("\nrunning 1 test\n").is_ok());
        let failed = printed("\nrunning 0 tests\n").unwrap_err().to_string();
        assert_eq!(failed, "-p demo: no test has the name `missing`");
        fs::remove_file(log).unwrap();
    }

    /// Filters with the path of a test name an existing test.
    #[test]
    fn named_tests_exist() {
        for run in RUNS {
            let Work::OnCluster { tests, .. } = &run.work else { continue };
            let (module, name) =
                tests.filter.last().and_then(|name| name.split_once("::")).unwrap_or_default();
            let file = root().join(format!("runway-k8s/tests/cluster/{module}.rs"));
            assert!(module.is_empty() || fs::read_to_string(file).unwrap().contains(&format!("fn {name}(")));
        }
    }
}
