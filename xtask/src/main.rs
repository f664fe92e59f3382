//! The development tasks of the project: `cargo xtask …`.

mod browser;
mod embedder;
mod in_memory;
mod modules;
mod openapi;
mod purity;
mod python;

use runway_deployment::{manifests, observability, terraform};
use runway_devcluster::{self as cluster, Release, Session, UpOptions};
use runway_documents as documents;
use runway_image::{self as image, sbom};
use runway_steps::{self as steps, StepError, run_cargo};
use runway_virtual_machine as virtual_machine;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [OPTION]     run all checks: formatting, lints, a separate build of each
                    crate, dependencies of the core, tests, documentation
      --offline         skip a real cluster, the virtual machine and downloads
      --machine         only run the tests of jobs on one machine
      --description     only test the server against its OpenAPI document
      --browser         only test the operators' page in Chromium
      --deployed        only test the server's image on a cluster, with its
                        manifests
      --kubernetes VERSION
                        use this version, 1.34 or 1.36 (the default); also
                        with --deployed
  bench [OPTIONS]   compare with peers and print one table
      --check           only compile the benchmarks
      --quick           run a few short rounds
      --cluster         measure on a real API server
      --http            measure the server
      --local           measure jobs on this machine
      --kubernetes VERSION
                        use this version with --cluster or --http
  cluster COMMAND   manage a Kubernetes for development:
                    up [--node] [--kubernetes VERSION], down, status, env,
                    import FILE, stop-apiserver, start-apiserver
  documents         run the documents that need no cluster (part of `test`)
  modules           check import cycles between the modules of each crate, and
                    the picture in docs/architecture.md (part of `test`)
      --write           update the picture
  image             write the server's image to target/oci/runway-http.tar
      --output FILE     write it to this file
      --program FILE    only write the static program
      --twice           build the program in two directories and compare
  deployment        check infra/ and the licences of the dependencies, as far as
                    no cluster is needed (part of `test`)
  references        update docs/reference/, the guardrails in the manifests and
                    the rule object
  soak [OPTIONS]    repeat tests that take too long for each commit
      --only NAME       select a run; a wrong NAME prints all runs
      --times N         set the number of repetitions
  sbom              write the SBOMs of the programs to target/sbom/
";

/// Arguments that select one crate and its features. Each must pass the lints in a separate build.
const STANDALONE_BUILDS: &[&[&str]] = &[
    &["-p", "runway-core"],
    &["-p", "runway-core", "--features", "kubernetes"],
    &["-p", "runway-control"],
    &["-p", "runway-control", "--features", "fake"],
    &["-p", "runway-k8s"],
    &["-p", "runway-local"],
    &["-p", "runway-api"],
    &["-p", "runway-http"],
    &["-p", "runway-http", "--lib", "--no-default-features"],
    &["-p", "runway-cli"],
    &["-p", "runway-steps"],
    &["-p", "runway-modules"],
    &["-p", "runway-image"],
    &["-p", "runway-devcluster"],
    &["-p", "runway-virtual-machine"],
    &["-p", "runway-documents"],
    &["-p", "runway-deployment"],
    &["-p", "runway-soak"],
    &["-p", "xtask"],
];

/// The packages whose programs choose the version of the Kubernetes API. Without its default features, such a
/// package is a library that leaves the choice to others.
const PROGRAM_PACKAGES: &[&str] = &["runway-http", "runway-cli"];

/// The Kubernetes version for checks of libraries, which choose none themselves.
const OLDEST_KUBERNETES: &str = "1.34";

/// Tests that need root and cgroups on a Linux machine. Their targets have `test = false`, so that only this
/// program runs them.
const MACHINE_TESTS: &[&[&str]] = &[
    &["-p", "runway-local", "--test", "machine"],
    &["-p", "runway-cli", "--test", "machine"],
    &["-p", "runway-http", "--test", "machine"],
];

/// The test targets that need a cluster.
const CLUSTER_TARGETS: &[&[&str]] =
    &[&["-p", "runway-k8s", "--test", "cluster"], &["-p", "runway-http", "--test", "cluster"]];

/// Tests that need a real cluster, as arguments of `cargo test`. Their targets have `test = false`, so that
/// only this program runs them.
const CLUSTER_TESTS: &[&[&str]] = &[
    &[
        "-p",
        "runway-k8s",
        "--test",
        "cluster",
        "--",
        "--skip",
        "outage",
        "--skip",
        "burst",
        "--test-threads=8",
    ],
    // Tests that run jobs come before tests that create very many jobs, because a backlog of many jobs would
    // delay the others.
    &["-p", "runway-http", "--test", "cluster", "--", "journey", "limits"],
    &["-p", "runway-http", "--test", "cluster", "--", "ending", "submitters", "--test-threads=1"],
    &["-p", "runway-k8s", "--test", "cluster", "--", "burst"],
    OUTAGE_TEST,
];

/// This test stops the API server, so it runs last, without other tests, and only on a cluster that `cargo
/// xtask cluster` started.
const OUTAGE_TEST: &[&str] = &["-p", "runway-k8s", "--test", "cluster", "--", "outage"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (words, kubernetes) = match extract_version(arguments.iter().map(String::as_str)) {
        Ok(taken) => taken,
        Err(message) => {
            eprintln!("xtask: {message}");
            return ExitCode::from(2);
        }
    };
    let result = match words.as_slice() {
        ["cluster", rest @ ..] => return cluster::run_command(rest, kubernetes),
        ["test"] => run_all_tests(true, kubernetes),
        ["soak", rest @ ..] => {
            let cluster_tests = |release| cluster_tests(Some(release)).map(drop);
            return runway_soak::run_command(rest, kubernetes, &cluster_tests);
        }
        ["test", "--deployed"] => deployed_test(kubernetes),
        ["bench", options @ ..] if uses_cluster(options) || kubernetes.is_none() => {
            bench(options, kubernetes)
        }
        _ if kubernetes.is_some() => return usage(),
        ["test", "--offline"] => run_all_tests(false, None),
        ["test", "--description"] => openapi::check(),
        ["test", "--browser"] => browser::check(),
        ["test", "--machine"] => machine_tests().and_then(|()| virtual_machine_test()),
        ["documents"] => documents::check(),
        ["modules"] => modules::check(),
        ["modules", "--write"] => modules::write(),
        ["image", options @ ..] => match image::ImageCommand::parse(options) {
            Some(wanted) => wanted.run(),
            None => return usage(),
        },
        ["deployment"] => deployment(true, None).map(print_skipped),
        ["references"] => write_references(),
        ["sbom"] => sbom::write(),
        // These commands use the cluster of KUBECONFIG. Only `test` and `soak` call them, after they have
        // started a cluster.
        ["documents", "--cluster"] => documents::run_on_cluster(),
        ["manifests"] => manifests::apply_and_check(),
        ["dashboard"] => observability::check_dashboard(),
        _ => return usage(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("\nxtask: {failed}");
            ExitCode::FAILURE
        }
    }
}

/// Removes `--kubernetes VERSION` from the command line. Returns the other words and the version.
fn extract_version<'a>(
    arguments: impl Iterator<Item = &'a str>,
) -> Result<(Vec<&'a str>, Option<Release>), String> {
    let (mut words, mut kubernetes) = (Vec::new(), None);
    let mut arguments = arguments;
    while let Some(word) = arguments.next() {
        let value = match word.strip_prefix("--kubernetes") {
            Some("") => arguments.next().unwrap_or_default(),
            Some(rest) if rest.starts_with('=') => rest.trim_start_matches('='),
            _ => {
                words.push(word);
                continue;
            }
        };
        let choices = Release::choices();
        let release = Release::parse(value)
            .ok_or_else(|| format!("`--kubernetes {value}`: the version must be {choices}"))?;
        if kubernetes.replace(release).is_some() {
            return Err("`--kubernetes` is given twice".to_owned());
        }
    }
    Ok((words, kubernetes))
}

/// Whether the benchmarks with these options need a cluster.
fn uses_cluster(options: &[&str]) -> bool {
    options.iter().any(|option| matches!(*option, "--cluster" | "--http"))
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

/// Fails if the file system of the target directory is too small for the artifacts of all tests.
fn check_free_space() -> Result<(), StepError> {
    let dir = steps::target_dir();
    let needed = if dir.join("debug").exists() { 4 << 30 } else { TARGET_SIZE };
    steps::check_free_space(&dir, needed, u64::MAX).map_err(|failure| StepError::CheckFailed {
        step: "free space".to_owned(),
        what: failure.to_string(),
    })
}

/// The size of the target directory after all tests, rounded up, in bytes.
const TARGET_SIZE: u64 = 20 << 30;

fn run_all_tests(with_cluster: bool, kubernetes: Option<Release>) -> Result<(), StepError> {
    if with_cluster {
        // Fail now instead of after half an hour of other tests.
        cluster::check_prerequisites(kubernetes).map_err(|failure| StepError::Cluster { failure })?;
    }
    check_free_space()?;
    run_cargo("formatting", &["fmt", "--all", "--check"])?;
    run_cargo("lints", &["clippy", "--all-targets", "--locked", "--", "-D", "warnings"])?;
    // `--all-targets` skips targets with `test = false`.
    for target in MACHINE_TESTS.iter().chain(CLUSTER_TARGETS) {
        let lint = ["clippy", "--locked"].iter().chain(*target).chain(&["--", "-D", "warnings"]);
        run_cargo(&format!("lints: {}", target.join(" ")), &lint.copied().collect::<Vec<_>>())?;
    }
    for packages in STANDALONE_BUILDS {
        let mut lint = steps::cargo_command(&["clippy", "--locked"]);
        lint.args(*packages).args(["--", "-D", "warnings"]);
        let is_program = packages.iter().any(|package| PROGRAM_PACKAGES.contains(package));
        if !is_program || packages.contains(&"--no-default-features") {
            lint.env("K8S_OPENAPI_ENABLED_VERSION", OLDEST_KUBERNETES);
        }
        steps::run_step(&format!("separate build: {}", packages.join(" ")), &mut lint)?;
    }
    embedder::check()?;
    purity::check()?;
    modules::check()?;
    run_cargo("tests", &["test", "--locked", "--lib", "--bins", "--tests"])?;
    machine_tests()?;
    documents::check()?;
    run_cargo("documentation tests", &["test", "--locked", "--doc"])?;
    steps::run_step(
        "documentation",
        steps::cargo_command(&["doc", "--locked", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    let deployment = deployment(with_cluster, kubernetes)?;
    if !with_cluster {
        eprintln!("\nxtask: all offline checks passed");
        print_skipped(deployment);
        let skipped = CLUSTER_TESTS.iter().map(|test| test.join(" ")).collect::<Vec<_>>().join(", ");
        eprintln!(
            "xtask: skipped: the server and its OpenAPI document, its page in a browser, jobs in a virtual machine, \
             and the tests on a real cluster ({skipped}, the documents, the manifests with the server's image, \
             the dashboard)"
        );
        return Ok(());
    }
    openapi::check()?;
    browser::check()?;
    virtual_machine_test()?;
    let skipped = cluster_tests(kubernetes)?;
    eprintln!("\nxtask: all checks passed");
    print_skipped(deployment);
    for test in skipped {
        eprintln!("xtask: skipped on a cluster that `cargo xtask cluster` did not start: {}", test.join(" "));
    }
    Ok(())
}

/// Runs the tests of jobs on this machine.
fn machine_tests() -> Result<(), StepError> {
    for test in MACHINE_TESTS {
        let arguments: Vec<&str> = ["test", "--locked"].iter().chain(*test).copied().collect();
        run_cargo(&format!("tests on this machine: {}", test.join(" ")), &arguments)?;
    }
    Ok(())
}

/// Runs the tests of jobs with cgroup v2 in a virtual machine, if [`virtual_machine::is_needed`] returns
/// `true`.
fn virtual_machine_test() -> Result<(), StepError> {
    if virtual_machine::is_needed() { virtual_machine::run_tests() } else { Ok(()) }
}

/// Checks `infra/` as far as no cluster is needed, and the licences of the dependencies. Returns the skipped
/// checks.
fn deployment(may_install: bool, kubernetes: Option<Release>) -> Result<Vec<&'static str>, StepError> {
    let mut skipped = Vec::new();
    if !observability::check(may_install)? {
        skipped.push("the Prometheus rules: Prometheus is not installed");
    }
    if !manifests::check(may_install, kubernetes)? {
        skipped.push("the manifests: `kubectl` is not installed");
    }
    skipped.extend(terraform::check()?.map(terraform::SkippedChecks::as_str));
    if steps::locate("cargo-deny").is_some() {
        let what = ["check", "bans", "licenses", "sources"];
        let mut deny = steps::cargo_command(&["deny", "--log-level", "error"]);
        steps::run_step("licences and sources of the dependencies", deny.args(what))?;
    } else {
        skipped.push("licences and sources of the dependencies: `cargo-deny` is not installed");
    }
    Ok(skipped)
}

fn print_skipped(skipped: Vec<&str>) {
    for part in skipped {
        eprintln!("xtask: skipped: {part}");
    }
}

/// Runs the tests on a real cluster. Starts the cluster if it is not running. Returns the skipped tests.
fn cluster_tests(kubernetes: Option<Release>) -> Result<Vec<&'static [&'static str]>, StepError> {
    let mut session = start_session("the cluster for the tests", UpOptions { node: true, kubernetes })?;
    let mut skipped = Vec::new();
    for test in CLUSTER_TESTS {
        if *test == OUTAGE_TEST && !session.is_managed() {
            skipped.push(*test);
            continue;
        }
        let arguments: Vec<&str> = ["test", "--locked"].iter().chain(*test).copied().collect();
        session
            .run(&format!("tests on a cluster: {}", test.join(" ")), &mut steps::cargo_command(&arguments))?;
    }
    if session.is_managed() {
        documents::check_on_cluster(&mut session)?;
        manifests::check_on_cluster(&mut session)?;
        observability::check_on_cluster(&mut session)?;
    } else {
        // These checks need fixed namespaces and the server's image. An external cluster may already use the
        // namespaces and may not have the image.
        skipped.push(&["the documents", "the manifests", "the dashboard"]);
    }
    Ok(skipped)
}

/// Checks the server in its image on this checkout's cluster. Starts the cluster if it is not running. Fails
/// if KUBECONFIG names an external cluster, because an external cluster may already use the namespaces and
/// may not have the image.
fn deployed_test(kubernetes: Option<Release>) -> Result<(), StepError> {
    let mut session =
        start_session("the cluster for the deployed server", UpOptions { node: true, kubernetes })?;
    if session.is_managed() {
        return manifests::check_on_cluster(&mut session);
    }
    let what = "KUBECONFIG names an external cluster: unset KUBECONFIG".to_owned();
    Err(StepError::CheckFailed { step: "the deployed server".to_owned(), what })
}

fn start_session(step: &str, options: UpOptions) -> Result<Session, StepError> {
    eprintln!("\nxtask: {step}");
    Session::start(options).map_err(|failure| StepError::Cluster { failure })
}

fn bench(options: &[&str], kubernetes: Option<Release>) -> Result<(), StepError> {
    if options == ["--check"] {
        let lint = ["clippy", "--locked", "-p", "runway-bench", "--all-targets", "--", "-D", "warnings"];
        return run_cargo("the benchmarks compile", &lint);
    }
    let is = |what: &str| options.contains(&what);
    let program = |name: &str| steps::target_dir().join("release").join(name);
    let options = options.iter().filter(|option| **option != "--http");
    if is("--cluster") {
        let mut session =
            start_session("the cluster for the benchmarks", UpOptions { node: false, kubernetes })?;
        return session.run("benchmarks on a cluster", bench_command(false)?.args(options));
    }
    if is("--http") {
        run_cargo("build", &["build", "--locked", "--release", "-p", "runway-http"])?;
        let mut run = bench_command(false)?;
        let mut session =
            start_session("the cluster for the benchmarks", UpOptions { node: false, kubernetes })?;
        return session
            .run("benchmarks of the server", run.arg("--http").arg(program("runway-http")).args(options));
    }
    run_cargo("build", &["build", "--locked", "--release", "-p", "runway-cli"])?;
    let mut run = bench_command(!is("--local"))?;
    steps::run_step("benchmarks", run.arg("--runway").arg(program("runway")).args(options))
}

/// Builds the benchmark program and returns a call of it. The peers include whole policy engines with long
/// build times, so only the comparison with peers includes them.
fn bench_command(with_peers: bool) -> Result<std::process::Command, StepError> {
    let mut features = vec!["--locked", "--release", "-p", "runway-bench"];
    if !with_peers {
        features.push("--no-default-features");
    }
    run_cargo("build", &[&["build"], features.as_slice()].concat())?;
    let mut run = steps::cargo_command(&["run", "--quiet"]);
    run.args(features).arg("--");
    Ok(run)
}

fn write_references() -> Result<(), StepError> {
    for package in ["runway-cli", "runway-http"] {
        let mut write = steps::cargo_command(&["test", "--locked", "-p", package, "--test", "it", "--"]);
        write.args(["references", "deployment"]);
        steps::run_step("references", write.env("RUNWAY_WRITE_REFERENCES", "1"))?;
    }
    observability::write_rule_object()
}

#[cfg(test)]
mod tests {
    use super::{Release, extract_version};

    #[test]
    fn kubernetes_version_is_accepted_anywhere() {
        let extract = |text: &'static str| extract_version(text.split(' '));
        let new = Some(Release::V1_36);
        assert_eq!(extract("test --kubernetes 1.36"), Ok((vec!["test"], new)));
        assert_eq!(extract("bench --kubernetes=1.36 --cluster"), Ok((vec!["bench", "--cluster"], new)));
        assert_eq!(extract("cluster up --node"), Ok((vec!["cluster", "up", "--node"], None)));
        for wrong in ["test --kubernetes", "test --kubernetes 1.20", "up --kubernetes 1.34 --kubernetes 1.36"]
        {
            assert!(extract(wrong).is_err(), "{wrong}");
        }
    }
}
