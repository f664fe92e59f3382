//! Runway compared with its peers, without a cluster.

#![expect(clippy::cast_possible_truncation, reason = "a benchmark may panic on an error")]

mod cli;
mod decision;
mod engines;
mod ledger;
mod limiter;
mod random;

use crate::table::{Row, print};
use crate::timing::{Outcome, take_turns};
use ledger::Released;
use std::path::PathBuf;

/// Runs the benchmarks and prints one table.
pub(crate) fn measure(runway: Option<PathBuf>, rounds: usize, shorter: usize) -> Outcome {
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
        Row::new("limiter, with a clock", draw_clock)
            .against("governor, likewise", governor_clock)
            .at_most("at most 1", 1.0),
        Row::new("governor (DashMap, quanta)", governor_clock),
        Row::new("limiter, without a clock", draw)
            .against("governor, likewise", governor)
            .at_most("at most 1", 1.0),
        Row::new("governor (HashMap, no clock)", governor),
        Row::new("ledger beside 100 holds", few),
        Row::new("ledger beside 100,000 holds", many).against("beside 100", few).at_most("at most 1.5", 1.5),
        Row::new("ledger, random hold of 100", few_random),
        Row::new("ledger, random hold of 100,000", many_random).against("of 100", few_random),
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
    println!("{rounds} interleaved rounds after a warm-up round; median times of one operation");
    println!("{decisions} decisions, {draws} rate checks, {cycles} ledger cycles per round; 1,000 tenants\n");
    print(&rows);
    Ok(())
}
