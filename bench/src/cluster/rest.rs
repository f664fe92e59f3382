//! Waiting until the machine rests, so that what one turn leaves to the cluster's controllers is not charged to the next.

use crate::timing::Outcome;
use std::fs;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long it is looked each time.
const LOOK: Duration = Duration::from_millis(400);
/// How much of the processors may be at work.
const CALM: f64 = 0.12;
/// After so long it goes on all the same.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits, and counts how often it waited in vain.
#[derive(Default)]
pub(super) struct Rest {
    turns: usize,
    restless: usize,
}

impl Rest {
    /// Returns when the processors have nothing to do, or when it has been waited for long enough.
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
        format!("{} turns, {} of them begun though the machine was at work", self.turns, self.restless)
    }
}

/// What the processors have done since the machine started, in hundredths of a second.
struct Ticks {
    all: u64,
    idle: u64,
}

impl Ticks {
    fn read() -> Outcome<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        // user nice system idle iowait irq softirq steal; what guests use is part of the first two.
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
