//! The server program as a child process.

use super::client::Clients;
use crate::cluster::harness::{BenchNamespace, policy_text};
use crate::timing::BenchResult;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{env, fs};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// A running server program for the jobs of one namespace.
pub(super) struct ServerProcess {
    pub(super) address: SocketAddr,
    child: Child,
    policy: PathBuf,
}

impl ServerProcess {
    /// Starts the server and waits until it is ready.
    pub(super) async fn start(program: &Path, namespace: &BenchNamespace) -> BenchResult<Self> {
        let policy = env::temp_dir().join(format!("{}.yaml", namespace.name));
        fs::write(&policy, policy_text(&namespace.name))?;
        let user = env::var_os("RUNWAY_TEST_KUBECONFIG").or_else(|| env::var_os("KUBECONFIG"));
        let mut command = Command::new(program);
        command.args([
            "--backend",
            "kubernetes",
            "--listen",
            "127.0.0.1:0",
            "--shutdown-delay",
            "0s",
            "--policy",
        ]);
        command.arg(&policy).arg("--kubeconfig").arg(user.ok_or("KUBECONFIG is not set")?);
        command.args(["--max-tenant-submissions", "1000", "--log", "info,runway::audit=warn"]);
        let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let address = loop {
            let line = lines.next_line().await?.ok_or("the server ended")?;
            if let Some((_, rest)) = line.split_once("address=") {
                break rest.split_whitespace().next().unwrap_or_default().parse()?;
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let server = Self { address, child, policy };
        let deadline = Instant::now() + Duration::from_secs(60);
        while Clients::connect(address, 1).await?.get("/readyz").await.is_err() {
            if Instant::now() > deadline {
                return Err("the server is not ready after 60 seconds".into());
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }

    /// Returns the resident memory and its peak, in MiB.
    pub(super) fn memory(&self) -> BenchResult<(f64, f64)> {
        let id = self.child.id().ok_or("the server ended")?;
        let text = fs::read_to_string(format!("/proc/{id}/status"))?;
        let kibibytes = |name: &str| -> BenchResult<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no memory line")?;
            Ok(line.trim().trim_end_matches("kB").trim().parse()?)
        };
        Ok((kibibytes("VmRSS:")? / 1024.0, kibibytes("VmHWM:")? / 1024.0))
    }

    pub(super) async fn stop(mut self) -> BenchResult {
        self.child.kill().await?;
        fs::remove_file(self.policy)?;
        Ok(())
    }
}
