//! Runway against its peers and against its own targets: one run, one table.

#![expect(
    clippy::cast_possible_truncation,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "a measurement may stop wherever it is wrong, and its statistics are not money"
)]

mod cli;
mod cluster;
mod decision;
mod engines;
mod http;
mod ledger;
mod limiter;
#[cfg(target_os = "linux")]
mod local;
mod random;
mod table;
mod timing;

use ledger::Released;
use std::env;
use std::path::PathBuf;
use table::{Row, print};
use timing::{Outcome, take_turns};

const USAGE: &str =
    "usage: runway-bench [--runway PATH [--local] | --cluster | --http PATH] [--rounds N] [--quick]";

struct Arguments {
    /// The built command line.
    runway: Option<PathBuf>,
    /// Measures on the cluster of `KUBECONFIG`, and nothing else.
    cluster: bool,
    /// Measures jobs on this machine, and nothing else.
    local: bool,
    /// The built server, which is measured on loopback and on the cluster of `KUBECONFIG`, and nothing else.
    http: Option<PathBuf>,
    rounds: Option<usize>,
    /// The operations of a round are this many times fewer.
    shorter: usize,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut read =
            Self { runway: None, cluster: false, local: false, http: None, rounds: None, shorter: 1 };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--runway" => read.runway = Some(arguments.next().ok_or(USAGE)?.into()),
                "--cluster" => read.cluster = true,
                "--local" => read.local = true,
                "--http" => read.http = Some(arguments.next().ok_or(USAGE)?.into()),
                "--rounds" => read.rounds = Some(arguments.next().ok_or(USAGE)?.parse::<usize>()?.max(1)),
                "--quick" => (read.rounds, read.shorter) = (Some(3), 20),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(read)
    }
}

fn main() -> Outcome {
    #[cfg(target_os = "linux")]
    runway_local::run_if_asked();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((cluster::CHILD, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return cluster::child(rest);
    }
    let Arguments { runway, cluster, local, http, rounds, shorter } = Arguments::read(arguments.into_iter())?;
    if cluster {
        return cluster::measure(rounds.unwrap_or(7), shorter);
    }
    if let Some(server) = http {
        return http::measure(&server, rounds.unwrap_or(7), shorter);
    }
    #[cfg(target_os = "linux")]
    if local {
        return local::measure(&runway.ok_or(USAGE)?, rounds.unwrap_or(7), shorter);
    }
    let rounds = rounds.unwrap_or(15);
    let (decisions, draws, cycles) = (20_000 / shorter, 200_000 / shorter, 20_000 / shorter);
    let mut contenders = [
        decision::deciding(decisions)?,
        decision::rendering(decisions)?,
        engines::rego::contender(decisions)?,
        engines::cedar::contender(decisions)?,
        engines::cel::contender(decisions)?,
        limiter::runway_with_clock(draws)?,
        limiter::governor_with_clock(draws),
        limiter::runway(draws)?,
        limiter::governor(draws),
        ledger::contender(100, Released::Same, cycles)?,
        ledger::contender(100_000, Released::Same, cycles)?,
        ledger::contender(100, Released::Random, cycles)?,
        ledger::contender(100_000, Released::Random, cycles)?,
        ledger::refusing(100, 1_000 / shorter)?,
        ledger::refusing(100_000, 20)?,
    ];
    let mut processes = runway.map(|runway| cli::contenders(&runway, rounds)).transpose()?;
    let all = contenders.iter_mut().chain(processes.iter_mut().flatten());
    take_turns(&mut all.collect::<Vec<_>>(), rounds)?;

    let [
        decision,
        rendering,
        rego,
        cedar,
        cel,
        draw_clock,
        governor_clock,
        draw,
        governor,
        few,
        many,
        few_random,
        many_random,
        refusal_few,
        refusal_many,
    ] = contenders.map(|mut contender| contender.median());
    let fastest = rego.min(cedar).min(cel);
    let mut rows = vec![
        Row::new("decision", decision).against("fastest engine", fastest).at_most("less than 1", 1.0),
        Row::new("decision + rendering", rendering).against("decision", decision),
        Row::new("rules in Rego (regorus)", rego).against("decision", decision),
        Row::new("rules in Cedar (cedar-policy)", cedar).against("decision", decision),
        Row::new("rules in CEL (cel)", cel).against("decision", decision),
        Row::new("limiter, reading the clock", draw_clock)
            .against("governor, likewise", governor_clock)
            .at_most("at most 1", 1.0),
        Row::new("governor (DashMap, quanta)", governor_clock),
        Row::new("limiter, told the time", draw)
            .against("governor, likewise", governor)
            .at_most("at most 1", 1.0),
        Row::new("governor (HashMap, no clock)", governor),
        Row::new("ledger beside 100 holds", few),
        Row::new("ledger beside 100,000 holds", many).against("beside 100", few).at_most("at most 1.5", 1.5),
        Row::new("ledger, a random one of 100", few_random),
        Row::new("ledger, a random one of 100,000", many_random).against("of 100", few_random),
        Row::new("refusal for GPUs beside 100 holds", refusal_few),
        Row::new("refusal for GPUs beside 100,000", refusal_many).against("beside 100", refusal_few),
    ];
    let [files, cold] = processes.map_or([None, None], |contenders| contenders.map(|mut c| Some(c.median())));
    rows.push(
        Row::maybe("`check` of 1,000 files", files).against("cold, 1,000 times", cold.unwrap_or(0.0) * 1e3),
    );
    rows.push(
        Row::maybe("cold `check` of one file", cold).against("10 ms", 10e6).at_most("less than 1", 1.0),
    );
    println!("{rounds} rounds in turns after one to warm up; medians of the time for one operation");
    println!("{decisions} decisions, {draws} draws, {cycles} ledger cycles a round; 1,000 tenants\n");
    print(&rows);
    Ok(())
}
