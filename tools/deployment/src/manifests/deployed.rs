//! Checks the server that the manifests deploy in its image: it becomes ready, is confined, and runs jobs.

use super::confined;
use runway_devcluster::Kubectl;
use runway_steps::Running;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

const SERVER: &str = "deploy/runway-http";

/// An image that exists on the node of the development cluster.
const IMAGE: &str = "runway.test/busybox:1";

/// A job and its expected result.
struct Job {
    name: &'static str,
    script: &'static str,
    /// The expected exit code of `runway submit --wait`.
    code: i32,
    phase: &'static str,
    reason: Option<&'static str>,
    exit_code: i32,
    logs: &'static str,
}

const JOBS: [Job; 2] = [
    Job {
        name: "well",
        script: "echo it runs",
        code: 0,
        phase: "succeeded",
        reason: None,
        exit_code: 0,
        logs: "it runs\n",
    },
    Job {
        name: "badly",
        script: "echo it fails; exit 7",
        code: 3,
        phase: "failed",
        reason: Some("NonZeroExit"),
        exit_code: 7,
        logs: "it fails\n",
    },
];

/// Waits until the server is ready, checks it, and submits jobs to it with the command line.
pub(super) fn serves(kubectl: &Kubectl, runway: &Path) -> Result<(), String> {
    ready(kubectl)?;
    has_no_shell(kubectl)?;
    let pods = ["-n", "runway-system", "get", "pods", "-o", "jsonpath={.items[0].metadata.uid}"];
    confined::check(&kubectl.call(&pods, None)?)?;
    let (_forwarding, address) = forward(kubectl)?;
    let client = Client { runway, address };
    for job in &JOBS {
        client.run(job).map_err(|what| format!("the job `{}`: {what}", job.name))?;
    }
    eprintln!("xtask: the deployed server ran {} jobs", JOBS.len());
    Ok(())
}

fn ready(kubectl: &Kubectl) -> Result<(), String> {
    let in_system = |arguments: &[&str]| kubectl.call(&[&["-n", "runway-system"], arguments].concat(), None);
    let waited = in_system(&["rollout", "status", SERVER, "--timeout=120s"]);
    waited.map(drop).map_err(|what| {
        let [pods, log] = [&["describe", "pods"][..], &["logs", SERVER, "--tail=20"]]
            .map(|arguments| in_system(arguments).unwrap_or_else(|why| why));
        format!("{what}\n{pods}\n{log}")
    })
}

/// Fails if the image contains a shell, which an attacker could use.
fn has_no_shell(kubectl: &Kubectl) -> Result<(), String> {
    for shell in ["sh", "/bin/sh", "/bin/busybox"] {
        match kubectl.call(&["-n", "runway-system", "exec", SERVER, "--", shell, "-c", "true"], None) {
            Ok(_) => return Err(format!("the image has a shell: {shell}")),
            Err(what) if what.contains("no such file") || what.contains("not found") => {}
            Err(what) => return Err(format!("cannot determine whether the image has a shell: {what}")),
        }
    }
    Ok(())
}

/// Forwards a local port to the server's Service. Returns the running `kubectl` and the local URL.
fn forward(kubectl: &Kubectl) -> Result<(Running, String), String> {
    let told = |error| format!("kubectl port-forward: {error}");
    let mut command = kubectl.command(&["-n", "runway-system", "port-forward", "svc/runway-http", ":80"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(told)?;
    let mut forwarding = Running(child);
    let mut line = String::new();
    // The pipe must stay open. kubectl logs each connection to it and exits on a write error.
    let output = forwarding.0.stdout.as_mut().ok_or("kubectl port-forward has no output")?;
    BufReader::new(output).read_line(&mut line).map_err(told)?;
    let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split_whitespace().next());
    let address = address.ok_or_else(|| format!("kubectl port-forward: unexpected output `{line}`"))?;
    Ok((forwarding, format!("http://{address}")))
}

/// The command line and the URL of its server.
struct Client<'a> {
    runway: &'a Path,
    address: String,
}

impl Client<'_> {
    /// Submits a job, waits until it has finished, and checks the result.
    fn run(&self, job: &Job) -> Result<(), String> {
        let spec = json!({
            "name": job.name, "tenant": "search", "image": IMAGE, "command": ["sh", "-c", job.script],
        });
        let id = self.call(job.code, &["submit", "--wait", "--output", "name", "-"], &spec.to_string())?;
        let id = id.trim();
        let told = self.call(0, &["status", "--output", "json", id], "")?;
        let status: Value = serde_json::from_str(&told).map_err(|error| format!("`{told}`: {error}"))?;
        let expected = [
            ("phase", json!(job.phase)),
            ("reason", json!(job.reason)),
            ("exit_code", json!(job.exit_code)),
            ("tenant", json!("search")),
        ];
        for (name, value) in expected {
            if status.get(name) != Some(&value) {
                return Err(format!("{name} is not {value}: {told}"));
            }
        }
        let logs = self.call(0, &["logs", id], "")?;
        if logs == job.logs { Ok(()) } else { Err(format!("unexpected output `{logs}`")) }
    }

    /// Runs the command line. Returns its standard output if it exits with this code, and its standard error
    /// otherwise.
    fn call(&self, code: i32, arguments: &[&str], input: &str) -> Result<String, String> {
        let told = |error| format!("runway: {error}");
        let mut command = Command::new(self.runway);
        command.args(arguments).env("RUNWAY_SERVER", &self.address).env("NO_PROXY", "*");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(told)?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input.as_bytes()).map_err(told)?;
        }
        let output = child.wait_with_output().map_err(told)?;
        if output.status.code() == Some(code) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complained = String::from_utf8_lossy(&output.stderr);
        Err(format!("runway {}: {}: {complained}", arguments.join(" "), output.status))
    }
}
