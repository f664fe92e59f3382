//! Runs the program `runway-http` in its own process.

use crate::paths::TempDir;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// A kubeconfig for an unreachable cluster. Its token must never appear in output.
pub const UNREACHABLE_KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: nowhere
clusters: [{name: nowhere, cluster: {server: 'http://127.0.0.1:9'}}]
users: [{name: tester, user: {token: the-secret-token}}]
contexts: [{name: nowhere, context: {cluster: nowhere, user: tester}}]
";

/// A running server.
pub struct ServerProcess {
    child: Child,
    /// The address of the server.
    pub address: SocketAddr,
    /// The address of the probes and the metrics, if `--listen-ops` is set.
    pub ops: Option<SocketAddr>,
    log: Arc<Mutex<Vec<String>>>,
    /// The task that reads the log, which is the standard error of the process.
    reader: JoinHandle<()>,
}

impl ServerProcess {
    /// Starts the program with the Kubernetes backend and the file `policy.yaml` of the directory, and waits
    /// until it listens.
    pub async fn start_on_cluster(program: &Path, dir: &TempDir, kubeconfig: &Path, flags: &[&str]) -> Self {
        let (policy, kubeconfig) = (dir.path("policy.yaml"), kubeconfig.to_str().unwrap());
        let policy = policy.to_str().unwrap();
        let backend = ["--backend", "kubernetes", "--policy", policy, "--kubeconfig", kubeconfig];
        Self::launch(program, &[&backend[..], flags].concat()).await
    }

    /// Starts the program, and waits until it listens.
    pub async fn launch(program: &Path, flags: &[&str]) -> Self {
        Self::launch_on(program, "127.0.0.1:0", flags).await
    }

    /// Starts the program with this address, and waits until it listens.
    pub async fn launch_on(program: &Path, listen: &str, flags: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(["--listen", listen, "--log-format", "json"]).args(flags);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (sink, mut lines) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()).lines());
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                sink.lock().unwrap().push(line);
            }
        });
        let mut process = Self { child, address: "127.0.0.1:0".parse().unwrap(), ops: None, log, reader };
        process.address = process.wait_for_log("the address", |line| logged_address(line, "listening")).await;
        if flags.contains(&"--listen-ops") {
            process.ops = Some(
                process
                    .wait_for_log("the address of the probes", |line| {
                        logged_address(line, "probes and metrics")
                    })
                    .await,
            );
        }
        process
    }

    /// Returns the log lines so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until `find` returns a value for a log line, and returns that value. Panics after 30 s, or if
    /// the process exits without such a line.
    pub async fn wait_for_log<T>(&mut self, what: &str, find: impl Fn(&Json) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            let lines = self.log();
            let found =
                lines.iter().filter_map(|line| serde_json::from_str(line).ok()).find_map(|line| find(&line));
            if let Some(found) = found {
                return found;
            }
            let has_failed =
                self.child.try_wait().unwrap().is_some() || tokio::time::Instant::now() > deadline;
            assert!(!has_failed, "timed out waiting for {what}: {lines:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the process has exited and its log is read completely.
    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        let ended = async {
            let status = self.child.wait().await.unwrap();
            (&mut self.reader).await.unwrap();
            status
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the process exits in time")
    }
}

/// Returns the address in a log line that starts with `message`.
fn logged_address(line: &Json, message: &str) -> Option<SocketAddr> {
    line["message"].as_str()?.starts_with(message).then(|| line["address"].as_str()?.parse().ok())?
}
