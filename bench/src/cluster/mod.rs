//! Runway on a real API server, compared with a minimal client: `cargo xtask bench --cluster`.

mod cpu_time;
pub(crate) mod harness;
mod idle;
pub(crate) mod rebuild;
pub(crate) mod submit;
pub(crate) mod table;

use crate::timing::BenchResult;
use harness::Cluster;
use idle::IdleWait;
use std::error::Error;
use submit::{CreateClient, Load, Round, Run};
use table::{Row, Target, print};
use tokio::runtime::Runtime;

pub(crate) use rebuild::{CHILD, child};

/// The numbers of concurrent submitters.
const SUBMITTER_COUNTS: [usize; 3] = [1, 32, 100];

const REBUILD_JOBS: usize = 10_000;

/// Returns the number of jobs in a run. The run must be so long that the API server's Go runtime collects
/// garbage several times. Otherwise, one garbage collection more or less would change the result.
const fn jobs(submitters: usize) -> usize {
    if submitters == 1 { 1_000 } else { 4_000 }
}

/// Runs the benchmarks and prints one table. With a number of submitters, it runs only the submit benchmark.
pub(crate) fn measure(submitters: Option<usize>, rounds: usize, shorter: usize) -> BenchResult {
    Runtime::new()?.block_on(async {
        let cluster = Cluster::connect().await?;
        let mut idle = IdleWait::default();
        let mut rows = Vec::new();
        for submitters in submitters.as_ref().map_or(&SUBMITTER_COUNTS[..], std::slice::from_ref) {
            let jobs = (jobs(*submitters) / shorter).max(*submitters);
            let load = Load { submitters: *submitters, jobs };
            eprintln!("{} submitters, {} jobs per run, {rounds} rounds", load.submitters, load.jobs);
            let completed = submit::run_interleaved(&cluster, &mut idle, load, rounds).await?;
            rows.extend(rows_of(load, &completed)?);
        }
        if submitters.is_none() {
            let jobs = REBUILD_JOBS / shorter;
            eprintln!("rebuild from {jobs} jobs, {rounds} rounds");
            let rebuilt = rebuild::run_interleaved(&cluster, &mut idle, jobs, rounds).await?;
            let row = |what: &str, unit, of: fn(&rebuild::RebuildCost) -> f64| {
                Row::new(
                    format!("{what} {jobs} jobs"),
                    unit,
                    rebuilt.iter().map(|pair| (of(&pair[0]), of(&pair[1]))),
                )
            };
            rows.push(row("rebuild from", "ms", |rebuilt| rebuilt.millis));
            rows.push(row("peak memory at", "MiB", |rebuilt| rebuilt.mebibytes));
        }
        println!("{}", idle.summary());
        println!("medians of the runs; ratios of neighbouring runs: median and quartiles\n");
        print(&rows);
        Ok(())
    })
}

fn rows_of(load: Load, rounds: &[Round]) -> BenchResult<Vec<Row>> {
    let what = |what: &str| match load.submitters {
        1 => format!("1 submitter: {what}"),
        many => format!("{many} submitters: {what}"),
    };
    let row = |name: &str, unit, compared_with, of: fn(&Run) -> f64| {
        let pairs = rounds
            .iter()
            .map(|round| Ok((of(round.run_of(CreateClient::Runway)?), of(round.run_of(compared_with)?))));
        Ok::<_, Box<dyn Error>>(Row::new(
            what(name),
            unit,
            pairs.collect::<BenchResult<Vec<_>>>()?.into_iter(),
        ))
    };
    let slowest = row("p99", "ms", CreateClient::Bare, |turn| turn.p99)?.target(Target::AtMost(1.10));
    Ok(vec![
        row("jobs created", "/s", CreateClient::Bare, |turn| turn.jobs_per_second)?
            .target(Target::AtLeast(0.95)),
        row("p50", "ms", CreateClient::Bare, |turn| turn.p50)?,
        if load.submitters == 100 { slowest.target(Target::Below(500.0)) } else { slowest },
        row("client, CPU time", "ms", CreateClient::Bare, |turn| turn.client)?,
        row("servers, CPU time", "ms", CreateClient::Bare, |turn| turn.servers)?,
        row("per second, bare watches", "/s", CreateClient::Watching, |turn| turn.jobs_per_second)?,
        row("p99, bare watches", "ms", CreateClient::Watching, |turn| turn.p99)?,
        row("client, bare watches", "ms", CreateClient::Watching, |turn| turn.client)?,
        row("servers, bare watches", "ms", CreateClient::Watching, |turn| turn.servers)?,
    ])
}
