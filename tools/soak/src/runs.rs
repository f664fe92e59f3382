//! The runs, and their execution.

use crate::ClusterTests;
use crate::load::MachineLoad;
use crate::report::{Report, RunResult};
use runway_devcluster::{Release, Session, UpOptions};
use runway_steps::{self as steps, StepError, target_dir};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// A long run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SoakRun {
    pub(crate) name: &'static str,
    /// Describes the repeated tests, for messages.
    pub(crate) description: &'static str,
    /// The number of repetitions without `--times`.
    pub(crate) times: u32,
    kind: RunKind,
}

/// The work of one repetition.
#[derive(Debug, PartialEq, Eq)]
enum RunKind {
    /// Tests without a cluster.
    Tests(TestCommand),
    /// Tests on one cluster. The cluster is kept for all repetitions.
    OnCluster { tests: TestCommand, is_busy: bool },
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
struct TestCommand {
    /// The arguments before `--`.
    target: &'static [&'static str],
    /// The arguments after `--`.
    filter: &'static [&'static str],
}

const K8S: &[&str] = &["-p", "runway-k8s", "--test", "cluster"];

/// Every run.
pub(crate) const RUNS: &[SoakRun] = &[
    SoakRun {
        name: "creation",
        description: "a creation that fails half way, with two busy loops and a disk writer",
        times: 50,
        kind: RunKind::OnCluster {
            tests: TestCommand {
                target: K8S,
                filter: &["--exact", "creation::failed_secret_create_rolls_back_the_job"],
            },
            is_busy: true,
        },
    },
    SoakRun {
        name: "burst",
        description: "a server that is killed in a burst of creations",
        times: 20,
        kind: RunKind::OnCluster { tests: TestCommand { target: K8S, filter: &["burst"] }, is_busy: false },
    },
    SoakRun {
        name: "simulation",
        description: "3,000 histories on an in-memory cluster, with new seeds each time",
        times: 20,
        kind: RunKind::Simulations { seeds: 3_000 },
    },
    SoakRun {
        name: "kubernetes-1.34",
        description: "all tests on a cluster of the oldest version",
        times: 1,
        kind: RunKind::AllOnCluster { kubernetes: Release::V1_34 },
    },
    SoakRun {
        name: "machine",
        description: "jobs on this machine, as root",
        times: 10,
        kind: RunKind::Tests(TestCommand {
            target: &["-p", "runway-local", "--test", "machine"],
            filter: &[],
        }),
    },
    SoakRun {
        name: "virtual-machine",
        description: "jobs in a virtual machine, with cgroup v2",
        times: 5,
        kind: RunKind::VirtualMachine,
    },
    SoakRun {
        name: "memory",
        description: "a server that 100,000 tenants use",
        times: 10,
        kind: RunKind::Tests(TestCommand { target: &["-p", "runway-http", "--test", "memory"], filter: &[] }),
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
    /// Executes a run and adds its result to the report. A failed repetition does not stop the run, except in
    /// simulations, whose repetitions share one process.
    pub(crate) fn execute(&self, run: &SoakRun, report: &mut Report) {
        eprintln!("\nxtask: soak {}: {}, {} times", run.name, run.description, self.times);
        let started_at = Instant::now();
        let mut repetitions =
            Repetitions { name: run.name, times: self.times, completed: 0, failed: Vec::new() };
        let result = self.run_repetitions(&run.kind, &mut repetitions);
        report.add(RunResult {
            name: run.name,
            completed: repetitions.completed,
            failed: repetitions.failed,
            elapsed: started_at.elapsed(),
            stopped_by: result.err().map(|failed| failed.to_string()),
        });
    }

    fn run_repetitions(&self, kind: &RunKind, repetitions: &mut Repetitions) -> Result<(), StepError> {
        match kind {
            RunKind::Tests(tests) => {
                tests.build()?;
                repetitions.run_all(|step, log| tests.run(log, |command| steps::run_step(step, command)))
            }
            RunKind::OnCluster { tests, is_busy } => {
                tests.build()?;
                let wanted = UpOptions { node: true, kubernetes: self.kubernetes };
                let mut session = Session::start(wanted).map_err(|failure| StepError::Cluster { failure })?;
                let busy = is_busy.then(|| MachineLoad::start(&log_dir())).transpose();
                let _busy = busy.map_err(StepError::io("the load"))?;
                repetitions.run_all(|step, log| tests.run(log, |command| session.run(step, command)))
            }
            RunKind::AllOnCluster { kubernetes } => {
                repetitions.run_all(|_, _| (self.cluster_tests)(*kubernetes))
            }
            RunKind::Simulations { seeds } => {
                let count = seeds.saturating_mul(self.times).to_string();
                let mut command =
                    steps::cargo_command(&["test", "--locked", "-p", "runway-control", "simulation"]);
                // One process runs all simulations and prints the seed that fails.
                steps::run_step(&format!("{count} histories"), command.env("RUNWAY_SIMULATIONS", &count))?;
                repetitions.completed = self.times;
                Ok(())
            }
            RunKind::VirtualMachine => repetitions.run_all(|_, _| runway_virtual_machine::run_tests()),
        }
    }
}

impl TestCommand {
    /// Builds the tests before the first repetition.
    fn build(&self) -> Result<(), StepError> {
        steps::run_cargo("build", &[&["test", "--locked", "--no-run"], self.target].concat())
    }

    /// Passes the command of the tests to `run` once. The output of the command goes to the file `log`.
    ///
    /// # Errors
    /// [`StepError`] if a test fails, or no test matches the filter.
    fn run(
        &self,
        log: &Path,
        run: impl FnOnce(&mut Command) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let name = log.display().to_string();
        let output = File::create(log).map_err(StepError::io(&name))?;
        let errors = output.try_clone().map_err(StepError::io(&name))?;
        let mut command =
            steps::cargo_command(&[&["test", "--locked"], self.target, &["--"], self.filter].concat());
        run(command.stdin(Stdio::null()).stdout(output).stderr(errors))?;
        let text = fs::read_to_string(log).map_err(StepError::io(&name))?;
        if text.contains("\nrunning 0 tests\n") {
            let what = format!("no test has the name `{}`", self.filter.join(" "));
            return Err(StepError::CheckFailed { step: self.target.join(" "), what });
        }
        Ok(())
    }
}

/// The progress of a run.
struct Repetitions {
    name: &'static str,
    times: u32,
    completed: u32,
    failed: Vec<u32>,
}

impl Repetitions {
    /// Calls `run` for each repetition with a title and the path of a log. Keeps only the logs of failed
    /// repetitions.
    fn run_all(
        &mut self,
        mut run: impl FnMut(&str, &Path) -> Result<(), StepError>,
    ) -> Result<(), StepError> {
        let dir = log_dir();
        fs::create_dir_all(&dir).map_err(StepError::io(dir.display().to_string()))?;
        for number in 1..=self.times {
            let step = format!("{} {number}/{}", self.name, self.times);
            let log = dir.join(format!("{}-{number}.log", self.name));
            let started_at = Instant::now();
            let result = run(&step, &log);
            let seconds = started_at.elapsed().as_secs_f32();
            self.completed = number;
            match result {
                Ok(()) => {
                    eprintln!("xtask: {step}: passed after {seconds:.1} s");
                    let _ignored = fs::remove_file(log);
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
fn log_dir() -> PathBuf {
    target_dir().join("soak")
}

#[cfg(test)]
mod tests {
    use super::{RUNS, Repetitions, RunKind, TestCommand};
    use runway_steps::{StepError, workspace_root};
    use std::collections::BTreeSet;
    use std::fs;

    #[test]
    fn run_names_are_unique() {
        let names: BTreeSet<_> = RUNS.iter().map(|run| run.name).collect();
        assert_eq!(names.len(), RUNS.len());
        assert!(RUNS.iter().all(|run| run.times > 0));
    }

    #[test]
    fn failed_repetitions_are_counted_and_the_others_still_run() {
        let mut repetitions = Repetitions { name: "demo", times: 5, completed: 0, failed: Vec::new() };
        let mut number = 0;
        let result = repetitions.run_all(|_, _| {
            number += 1;
            let failed = StepError::CommandFailed { step: "demo".to_owned() };
            if number % 2 == 0 { Err(failed) } else { Ok(()) }
        });
        assert!(result.is_ok());
        assert_eq!((repetitions.completed, repetitions.failed), (5, vec![2, 4]));
    }

    #[test]
    fn filter_without_a_matching_test_fails() {
        let log = std::env::temp_dir().join(format!("runway-soak-{}.log", std::process::id()));
        let tests = TestCommand { target: &["-p", "demo"], filter: &["missing"] };
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

    /// Each filter that contains `::` is the path of a test. A test with this path must exist in the cluster
    /// tests of `runway-k8s`.
    #[test]
    fn filters_name_existing_tests() {
        for run in RUNS {
            let RunKind::OnCluster { tests, .. } = &run.kind else { continue };
            let (module, name) =
                tests.filter.last().and_then(|name| name.split_once("::")).unwrap_or_default();
            let file = workspace_root().join(format!("runway-k8s/tests/cluster/{module}.rs"));
            assert!(module.is_empty() || fs::read_to_string(file).unwrap().contains(&format!("fn {name}(")));
        }
    }
}
