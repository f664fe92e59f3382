//! Checks the server that the manifests deploy in its image: it becomes ready, is confined, and runs jobs.

use super::confinement;
use runway_devcluster::Kubectl;
use runway_steps::ChildGuard;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

const DEPLOYMENT: &str = "deploy/runway-http";

/// An image that exists on the node of the development cluster.
const IMAGE: &str = "runway.test/busybox:1";

/// A job and its expected result.
struct TestJob {
    name: &'static str,
    script: &'static str,
    /// The expected exit code of `runway submit --wait`.
    cli_exit_code: i32,
    phase: &'static str,
    reason: Option<&'static str>,
    exit_code: i32,
    logs: &'static str,
}

const JOBS: [TestJob; 2] = [
    TestJob {
        name: "well",
        script: "echo it runs",
        cli_exit_code: 0,
        phase: "succeeded",
        reason: None,
        exit_code: 0,
        logs: "it runs\n",
    },
    TestJob {
        name: "badly",
        script: "echo it fails; exit 7",
        cli_exit_code: 3,
        phase: "failed",
        reason: Some("NonZeroExit"),
        exit_code: 7,
        logs: "it fails\n",
    },
];

/// Waits until the server is ready, checks it, and submits jobs to it with the program `runway`.
pub(super) fn check_server(kubectl: &Kubectl, runway: &Path) -> Result<(), String> {
    wait_until_ready(kubectl)?;
    check_no_shell(kubectl)?;
    let pods = ["-n", "runway-system", "get", "pods", "-o", "jsonpath={.items[0].metadata.uid}"];
    confinement::check(&kubectl.run(&pods, None)?)?;
    let (_forwarding, address) = port_forward(kubectl)?;
    let client = CliClient { runway, address };
    for job in &JOBS {
        client.check_job(job).map_err(|what| format!("the job `{}`: {what}", job.name))?;
    }
    eprintln!("xtask: the deployed server ran {} jobs", JOBS.len());
    Ok(())
}

fn wait_until_ready(kubectl: &Kubectl) -> Result<(), String> {
    let in_system = |arguments: &[&str]| kubectl.run(&[&["-n", "runway-system"], arguments].concat(), None);
    let rollout = in_system(&["rollout", "status", DEPLOYMENT, "--timeout=120s"]);
    rollout.map(drop).map_err(|what| {
        let [pods, log] = [&["describe", "pods"][..], &["logs", DEPLOYMENT, "--tail=20"]]
            .map(|arguments| in_system(arguments).unwrap_or_else(|why| why));
        format!("{what}\n{pods}\n{log}")
    })
}

/// Fails if the image contains a shell, which an attacker could use.
fn check_no_shell(kubectl: &Kubectl) -> Result<(), String> {
    for shell in ["sh", "/bin/sh", "/bin/busybox"] {
        match kubectl.run(&["-n", "runway-system", "exec", DEPLOYMENT, "--", shell, "-c", "true"], None) {
            Ok(_) => return Err(format!("the image has a shell: {shell}")),
            Err(what) if what.contains("no such file") || what.contains("not found") => {}
            Err(what) => return Err(format!("cannot determine whether the image has a shell: {what}")),
        }
    }
    Ok(())
}

/// Forwards a local port to the server's Service. Returns the running `kubectl` and the local URL.
fn port_forward(kubectl: &Kubectl) -> Result<(ChildGuard, String), String> {
    let io_error = |error| format!("kubectl port-forward: {error}");
    let mut command = kubectl.to_command(&["-n", "runway-system", "port-forward", "svc/runway-http", ":80"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(io_error)?;
    let mut forwarding = ChildGuard(child);
    let mut line = String::new();
    // The pipe must stay open. kubectl logs each connection to it and exits on a write error.
    let output = forwarding.0.stdout.as_mut().ok_or("kubectl port-forward has no output")?;
    BufReader::new(output).read_line(&mut line).map_err(io_error)?;
    let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split_whitespace().next());
    let address = address.ok_or_else(|| format!("kubectl port-forward: unexpected output `{line}`"))?;
    Ok((forwarding, format!("http://{address}")))
}

/// The path of the program `runway` and the URL of its server.
struct CliClient<'a> {
    runway: &'a Path,
    address: String,
}

impl CliClient<'_> {
    /// Submits a job, waits until it has finished, and checks the result.
    fn check_job(&self, job: &TestJob) -> Result<(), String> {
        let spec = json!({
            "name": job.name, "tenant": "search", "image": IMAGE, "command": ["sh", "-c", job.script],
        });
        let id = self.run_cli(
            job.cli_exit_code,
            &["submit", "--wait", "--output", "name", "-"],
            &spec.to_string(),
        )?;
        let id = id.trim();
        let output = self.run_cli(0, &["status", "--output", "json", id], "")?;
        let status: Value = serde_json::from_str(&output).map_err(|error| format!("`{output}`: {error}"))?;
        let expected = [
            ("phase", json!(job.phase)),
            ("reason", json!(job.reason)),
            ("exit_code", json!(job.exit_code)),
            ("tenant", json!("search")),
        ];
        for (name, value) in expected {
            if status.get(name) != Some(&value) {
                return Err(format!("{name} is not {value}: {output}"));
            }
        }
        let logs = self.run_cli(0, &["logs", id], "")?;
        if logs == job.logs { Ok(()) } else { Err(format!("unexpected output `{logs}`")) }
    }

    /// Runs `runway`. Returns its standard output if it exits with this code. Otherwise fails with its
    /// standard error.
    fn run_cli(&self, code: i32, arguments: &[&str], input: &str) -> Result<String, String> {
        let io_error = |error| format!("runway: {error}");
        let mut command = Command::new(self.runway);
        command.args(arguments).env("RUNWAY_SERVER", &self.address).env("NO_PROXY", "*");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(io_error)?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.as_bytes()).map_err(io_error)?;
        }
        let output = child.wait_with_output().map_err(io_error)?;
        if output.status.code() == Some(code) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complained = String::from_utf8_lossy(&output.stderr);
        Err(format!("runway {}: {}: {complained}", arguments.join(" "), output.status))
    }
}
