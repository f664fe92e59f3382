//! Runway on a real API server, beside the least that a client could do there: `cargo xtask bench --cluster`.

pub(crate) mod bed;
pub(crate) mod rebuilding;
mod rest;
pub(crate) mod submitting;
pub(crate) mod table;

use crate::timing::Outcome;
use bed::Cluster;
use rest::Rest;
use submitting::{Load, Pair};
use table::{Row, Target, print};
use tokio::runtime::Runtime;

pub(crate) use rebuilding::{CHILD, child};

/// How many submit at a time, and how many jobs they submit in a turn: enough for the API server to collect its garbage
/// several times in each, since one such collection more or less would otherwise decide.
const LOADS: [Load; 3] = [
    Load { submitters: 1, jobs: 200 },
    Load { submitters: 32, jobs: 4_000 },
    Load { submitters: 100, jobs: 4_000 },
];

const REBUILT: usize = 10_000;

/// Measures, and prints one table.
pub(crate) fn measure(rounds: usize, shorter: usize) -> Outcome {
    Runtime::new()?.block_on(async {
        let cluster = Cluster::connect().await?;
        let mut rest = Rest::default();
        let mut rows = Vec::new();
        for load in LOADS {
            let load = Load { jobs: (load.jobs / shorter).max(load.submitters), ..load };
            eprintln!("{} submitters, {} jobs a turn, {rounds} rounds", load.submitters, load.jobs);
            let pairs = submitting::take_turns(&cluster, &mut rest, load, rounds).await?;
            rows.extend(rows_of(load, &pairs));
        }
        let jobs = REBUILT / shorter;
        eprintln!("rebuilding from {jobs} jobs, {rounds} rounds");
        let rebuilt = rebuilding::take_turns(&cluster, &mut rest, jobs, rounds).await?;
        let row = |what: &str, unit, of: fn(&rebuilding::Rebuilt) -> f64| {
            Row::new(
                format!("{what} {jobs} jobs"),
                unit,
                rebuilt.iter().map(|pair| (of(&pair[0]), of(&pair[1]))),
            )
        };
        rows.push(row("rebuilding from", "ms", |rebuilt| rebuilt.millis));
        rows.push(row("peak memory at", "MiB", |rebuilt| rebuilt.mebibytes));
        println!("{}", rest.summary());
        println!("medians of the turns; ratios of neighbouring turns: the median, and the quartiles\n");
        print(&rows);
        Ok(())
    })
}

fn rows_of(load: Load, pairs: &[Pair]) -> [Row; 3] {
    let what = |what: &str| match load.submitters {
        1 => format!("1 submitter: {what}"),
        many => format!("{many} submitters: {what}"),
    };
    let row = |name: &str, unit, of: fn(&submitting::Turn) -> f64| {
        Row::new(what(name), unit, pairs.iter().map(|pair| (of(&pair.runway), of(&pair.bare))))
    };
    let slowest = row("p99", "ms", |turn| turn.p99).target(Target::AtMost(1.10));
    [
        row("jobs a second", "/s", |turn| turn.jobs_a_second).target(Target::AtLeast(0.95)),
        row("p50", "ms", |turn| turn.p50),
        if load.submitters == 100 { slowest.target(Target::Below(500.0)) } else { slowest },
    ]
}
