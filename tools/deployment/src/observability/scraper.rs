//! A Prometheus that scrapes one server every second.

use super::write_file;
use runway_steps::{ChildGuard, ProgramPaths, StepError};
use serde_json::{Value, json};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub(super) struct Prometheus {
    address: String,
    _process: ChildGuard,
}

impl Prometheus {
    pub(super) fn start(
        programs: &ProgramPaths,
        place: &Path,
        target_port: u16,
        rules: &[PathBuf],
    ) -> Result<Self, StepError> {
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": rules,
            "scrape_configs": [{
                "job_name": "runway-http",
                "static_configs": [{ "targets": [format!("127.0.0.1:{target_port}")] }],
            }],
        });
        // JSON is valid YAML.
        let file = place.join("prometheus.yaml");
        write_file(&file, &config.to_string())?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let log = File::create(place.join("prometheus.log")).map_err(StepError::io("Prometheus"))?;
        let program = programs.get("prometheus").cloned().unwrap_or_else(|| "prometheus".into());
        let process = Command::new(program)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", place.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stderr(log)
            .spawn()
            .map_err(StepError::io("Prometheus"))?;
        let prometheus = Self { address, _process: ChildGuard(process) };
        wait_until("Prometheus", || curl(&[&format!("http://{}/-/ready", prometheus.address)]).is_ok())?;
        Ok(prometheus)
    }

    /// Whether the result of a query contains a number other than NaN.
    pub(super) fn has_value(&self, query: &str) -> Result<bool, StepError> {
        let (url, query) = (format!("http://{}/api/v1/query", self.address), format!("query={query}"));
        let answer = curl(&["--get", &url, "--data-urlencode", &query])?;
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|error| StepError::check_failed("Prometheus", error.to_string()))?;
        let series = answer.pointer("/data/result").and_then(Value::as_array).cloned().unwrap_or_default();
        let number = |series: &Value| series.pointer("/value/1").and_then(Value::as_str) != Some("NaN");
        Ok(series.iter().any(number))
    }
}

/// Runs curl and returns the response body. If curl fails, the error contains its standard error.
pub(super) fn curl(arguments: &[&str]) -> Result<String, StepError> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "10"])
        .args(arguments)
        .output()
        .map_err(StepError::io("curl"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(StepError::check_failed("curl", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Polls a condition until it is true. Fails after 60 seconds.
pub(super) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) -> Result<(), StepError> {
    let started_at = Instant::now();
    while !condition() {
        if started_at.elapsed() > Duration::from_secs(60) {
            return Err(StepError::check_failed(what, "not ready within 60 s"));
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

pub(super) fn free_port() -> Result<u16, StepError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(StepError::io("a port"))
}
