//! What the processors do: a ratio of times says that something costs more, and this where.

use crate::timing::Outcome;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};
use tokio::time::{Instant, sleep};

/// How often it is looked whether the servers rest.
const LOOK: Duration = Duration::from_millis(250);
/// How much of one processor they may use meanwhile.
const CALM: f64 = 0.08;
/// After so long they are taken for calm: the job controller may go on for minutes, since it makes 20 pods a second and no more.
const PATIENCE: Duration = Duration::from_secs(3);

/// Processor time in milliseconds, since each process began.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    /// Of this process.
    pub(super) client: f64,
    /// Of the API server, etcd and the controllers; not known of a cluster of the user's own.
    pub(super) servers: f64,
}

impl Effort {
    pub(super) fn now() -> Outcome<Self> {
        let Some(folder) = env::var_os("RUNWAY_TEST_CLUSTER").map(PathBuf::from) else {
            return Ok(Self { client: millis("self")?, servers: f64::NAN });
        };
        let mut servers = 0.0;
        for entry in fs::read_dir(folder.join("processes"))? {
            let record = fs::read_to_string(entry?.path())?;
            let pid = record.split_whitespace().next().ok_or("a process without a pid")?;
            servers += millis(pid)?;
        }
        Ok(Self { client: millis("self")?, servers })
    }

    /// What was done since then, once the servers have done all that there was to do.
    pub(super) async fn spent_since(before: Self) -> Outcome<Self> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = Self::now()?;
        let mut calm = 0;
        while calm < 3 && Instant::now() < deadline {
            let looked = Instant::now();
            sleep(LOOK).await;
            let now = Self::now()?;
            let share = (now.servers - last.servers) / (looked.elapsed().as_secs_f64() * 1e3);
            calm = if share > CALM { 0 } else { calm + 1 };
            last = now;
        }
        Ok(Self { client: last.client - before.client, servers: last.servers - before.servers })
    }
}

/// The time of a process in user and in kernel mode, which the kernel counts in hundredths of a second.
fn millis(process: &str) -> Outcome<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name of the program may hold anything, so it is counted from its end.
    let (_, rest) = text.rsplit_once(')').ok_or("/proc is not as it should be")?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 * 10.0)
}
