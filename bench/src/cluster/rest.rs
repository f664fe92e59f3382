//! Waits until the machine is idle. Otherwise, the next run would include work that the cluster's controllers
//! do for the last one.

use crate::timing::Outcome;
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Interval between two checks of the CPU usage.
const LOOK: Duration = Duration::from_millis(400);
/// Below this share of all CPUs, the machine counts as idle.
const CALM: f64 = 0.12;
/// Limit on each wait. After it, the next run starts on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for an idle machine and counts the waits that timed out.
#[derive(Default)]
pub(super) struct Rest {
    turns: usize,
    restless: usize,
}

impl Rest {
    /// Returns when the machine is idle or the wait has timed out.
    pub(super) async fn wait(&mut self) -> Outcome {
        self.turns += 1;
        let deadline = Instant::now() + PATIENCE;
        let mut before = Ticks::read()?;
        let mut calm = 0;
        while calm < 2 {
            if Instant::now() > deadline {
                self.restless += 1;
                return Ok(());
            }
            sleep(LOOK).await;
            let now = Ticks::read()?;
            calm = if now.load_since(&before) < CALM { calm + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    pub(super) fn summary(&self) -> String {
        format!("{} runs, {} of them started on a busy machine", self.turns, self.restless)
    }
}

/// CPU time of the machine since boot, in hundredths of a second.
struct Ticks {
    all: u64,
    idle: u64,
}

impl Ticks {
    fn read() -> Outcome<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        // The fields are: user nice system idle iowait irq softirq steal. The first two include the time of
        // guests.
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).take(8).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { all: ticks.iter().sum(), idle: ticks.iter().skip(3).take(2).sum() })
    }

    fn load_since(&self, before: &Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        let idle = self.idle.saturating_sub(before.idle);
        1.0 - idle as f64 / all as f64
    }
}
