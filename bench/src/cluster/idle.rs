//! Waits between two runs until the machine is idle. Otherwise, a run would include work that the cluster's
//! controllers still do for the run before it.

use crate::timing::BenchResult;
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Interval between two checks of the CPU usage.
const POLL_INTERVAL: Duration = Duration::from_millis(400);
/// Below this share of all CPUs, the machine counts as idle.
const IDLE_THRESHOLD: f64 = 0.12;
/// Limit on each wait. After it, the next run starts on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Waits for an idle machine and counts the waits that timed out.
#[derive(Default)]
pub(super) struct IdleWait {
    waits: usize,
    timeouts: usize,
}

impl IdleWait {
    /// Returns when the machine is idle or the wait has timed out.
    pub(super) async fn wait(&mut self) -> BenchResult {
        self.waits += 1;
        let deadline = Instant::now() + TIMEOUT;
        let mut before = Ticks::read()?;
        let mut idle_polls = 0;
        while idle_polls < 2 {
            if Instant::now() > deadline {
                self.timeouts += 1;
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
            let now = Ticks::read()?;
            idle_polls = if now.load_since(&before) < IDLE_THRESHOLD { idle_polls + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    pub(super) fn summary(&self) -> String {
        format!("{} runs, {} of them started on a busy machine", self.waits, self.timeouts)
    }
}

/// CPU time of the machine since boot, in hundredths of a second.
struct Ticks {
    total: u64,
    idle: u64,
}

impl Ticks {
    fn read() -> BenchResult<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        // The fields are: user nice system idle iowait irq softirq steal. The first two include the time of
        // guests.
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { total: ticks.iter().sum(), idle: ticks.iter().skip(3).take(2).sum() })
    }

    fn load_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total).max(1);
        let idle = self.idle.saturating_sub(before.idle);
        1.0 - idle as f64 / total as f64
    }
}
