//! Runway on a real API server, compared with a minimal client: `cargo xtask bench --cluster`.

pub(crate) mod bed;
mod effort;
pub(crate) mod rebuilding;
mod rest;
pub(crate) mod submitting;
pub(crate) mod table;

use crate::timing::Outcome;
use bed::Cluster;
use rest::Rest;
use std::error::Error;
use submitting::{Contender, Load, Round, Turn};
use table::{Row, Target, print};
use tokio::runtime::Runtime;

pub(crate) use rebuilding::{CHILD, child};

/// The numbers of concurrent submitters.
const SUBMITTERS: [usize; 3] = [1, 32, 100];

const REBUILT: usize = 10_000;

/// Returns the number of jobs in a run. In each run the API server should collect its garbage several times.
/// Otherwise, one collection more or less would change the result.
const fn jobs(submitters: usize) -> usize {
    if submitters == 1 { 1_000 } else { 4_000 }
}

/// Runs the benchmarks and prints one table. With a number of submitters, it runs only the submit benchmark.
pub(crate) fn measure(submitters: Option<usize>, rounds: usize, shorter: usize) -> Outcome {
    Runtime::new()?.block_on(async {
        let cluster = Cluster::connect().await?;
        let mut rest = Rest::default();
        let mut rows = Vec::new();
        for submitters in submitters.as_ref().map_or(&SUBMITTERS[..], std::slice::from_ref) {
            let jobs = (jobs(*submitters) / shorter).max(*submitters);
            let load = Load { submitters: *submitters, jobs };
            eprintln!("{} submitters, {} jobs per run, {rounds} rounds", load.submitters, load.jobs);
            let taken = submitting::take_turns(&cluster, &mut rest, load, rounds).await?;
            rows.extend(rows_of(load, &taken)?);
        }
        if submitters.is_none() {
            let jobs = REBUILT / shorter;
            eprintln!("rebuild from {jobs} jobs, {rounds} rounds");
            let rebuilt = rebuilding::take_turns(&cluster, &mut rest, jobs, rounds).await?;
            let row = |what: &str, unit, of: fn(&rebuilding::Rebuilt) -> f64| {
                Row::new(
                    format!("{what} {jobs} jobs"),
                    unit,
                    rebuilt.iter().map(|pair| (of(&pair[0]), of(&pair[1]))),
                )
            };
            rows.push(row("rebuild from", "ms", |rebuilt| rebuilt.millis));
            rows.push(row("peak memory at", "MiB", |rebuilt| rebuilt.mebibytes));
        }
        println!("{}", rest.summary());
        println!("medians of the runs; ratios of neighbouring runs: median and quartiles\n");
        print(&rows);
        Ok(())
    })
}

fn rows_of(load: Load, rounds: &[Round]) -> Outcome<Vec<Row>> {
    let what = |what: &str| match load.submitters {
        1 => format!("1 submitter: {what}"),
        many => format!("{many} submitters: {what}"),
    };
    let row = |name: &str, unit, beside, of: fn(&Turn) -> f64| {
        let pairs =
            rounds.iter().map(|round| Ok((of(round.turn(Contender::Runway)?), of(round.turn(beside)?))));
        Ok::<_, Box<dyn Error>>(Row::new(what(name), unit, pairs.collect::<Outcome<Vec<_>>>()?.into_iter()))
    };
    let slowest = row("p99", "ms", Contender::Bare, |turn| turn.p99)?.target(Target::AtMost(1.10));
    Ok(vec![
        row("jobs created", "/s", Contender::Bare, |turn| turn.jobs_a_second)?.target(Target::AtLeast(0.95)),
        row("p50", "ms", Contender::Bare, |turn| turn.p50)?,
        if load.submitters == 100 { slowest.target(Target::Below(500.0)) } else { slowest },
        row("client, CPU time", "ms", Contender::Bare, |turn| turn.client)?,
        row("servers, CPU time", "ms", Contender::Bare, |turn| turn.servers)?,
        row("per second, bare watches", "/s", Contender::Following, |turn| turn.jobs_a_second)?,
        row("p99, bare watches", "ms", Contender::Following, |turn| turn.p99)?,
        row("client, bare watches", "ms", Contender::Following, |turn| turn.client)?,
        row("servers, bare watches", "ms", Contender::Following, |turn| turn.servers)?,
    ])
}
