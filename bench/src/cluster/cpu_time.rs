//! CPU time of the client and of the cluster's servers. The CPU time shows which of them causes a longer
//! wall-clock time.

use crate::timing::BenchResult;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};
use tokio::time::{Instant, sleep};

/// Interval between two checks of the servers' CPU usage.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Below this share of one CPU, the servers count as idle.
const IDLE_THRESHOLD: f64 = 0.08;
/// Limit on the wait for idle servers. The job controller can stay busy for minutes, because it creates only
/// 20 pods per second.
const TIMEOUT: Duration = Duration::from_secs(3);

/// CPU time in milliseconds, since the start of each process.
#[derive(Clone, Copy)]
pub(super) struct CpuTime {
    /// CPU time of this process.
    pub(super) client: f64,
    /// CPU time of the API server, etcd and the controllers. NaN if `cargo xtask cluster` did not start the
    /// cluster.
    pub(super) servers: f64,
}

impl CpuTime {
    pub(super) fn now() -> BenchResult<Self> {
        let Some(directory) = env::var_os("RUNWAY_TEST_CLUSTER").map(PathBuf::from) else {
            return Ok(Self { client: cpu_millis("self")?, servers: f64::NAN });
        };
        let mut servers = 0.0;
        for entry in fs::read_dir(directory.join("processes"))? {
            let record = fs::read_to_string(entry?.path())?;
            let pid = record.split_whitespace().next().ok_or("a process record contains no pid")?;
            servers += cpu_millis(pid)?;
        }
        Ok(Self { client: cpu_millis("self")?, servers })
    }

    /// Returns the CPU time used since `before`. It first waits until the servers are idle, for at most
    /// [`TIMEOUT`].
    pub(super) async fn since(before: Self) -> BenchResult<Self> {
        let deadline = Instant::now() + TIMEOUT;
        let mut last = Self::now()?;
        let mut idle_polls = 0;
        while idle_polls < 3 && Instant::now() < deadline {
            let polled_at = Instant::now();
            sleep(POLL_INTERVAL).await;
            let now = Self::now()?;
            let share = (now.servers - last.servers) / (polled_at.elapsed().as_secs_f64() * 1e3);
            idle_polls = if share > IDLE_THRESHOLD { 0 } else { idle_polls + 1 };
            last = now;
        }
        Ok(Self { client: last.client - before.client, servers: last.servers - before.servers })
    }
}

/// Returns the user and system time of a process in milliseconds. The kernel counts this time in hundredths
/// of a second.
fn cpu_millis(process: &str) -> BenchResult<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The program's name is in parentheses and can contain any character. So the fields are counted from the
    // last parenthesis.
    let (_, rest) = text.rsplit_once(')').ok_or("/proc has an unexpected format")?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 * 10.0)
}
