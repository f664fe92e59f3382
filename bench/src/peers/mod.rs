//! Runway compared with its peers, without a cluster.

#![expect(clippy::cast_possible_truncation, reason = "a benchmark may panic on an error")]

mod cli;
mod decision;
mod engines;
mod ledger;
mod limiter;
mod random;

use crate::table::{Row, print};
use crate::timing::{BenchResult, run_interleaved};
use ledger::Released;
use std::path::PathBuf;

/// Runs the benchmarks and prints one table.
pub(crate) fn measure(runway: Option<PathBuf>, rounds: usize, shorter: usize) -> BenchResult {
    let (decisions, draws, cycles) = (20_000 / shorter, 200_000 / shorter, 20_000 / shorter);
    let mut benchmarks = [
        decision::decide(decisions)?,
        decision::decide_and_render(decisions)?,
        engines::rego::benchmark(decisions)?,
        engines::cedar::benchmark(decisions)?,
        engines::cel::benchmark(decisions)?,
        limiter::runway_with_clock(draws)?,
        limiter::governor_with_clock(draws),
        limiter::runway(draws)?,
        limiter::governor(draws),
        ledger::benchmark(100, Released::Same, cycles)?,
        ledger::benchmark(100_000, Released::Same, cycles)?,
        ledger::benchmark(100, Released::Random, cycles)?,
        ledger::benchmark(100_000, Released::Random, cycles)?,
        ledger::blocking_holds(100, 1_000 / shorter)?,
        ledger::blocking_holds(100_000, 20)?,
    ];
    let mut processes = runway.map(|runway| cli::benchmarks(&runway, rounds)).transpose()?;
    let all = benchmarks.iter_mut().chain(processes.iter_mut().flatten());
    run_interleaved(&mut all.collect::<Vec<_>>(), rounds)?;

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
    ] = benchmarks.map(|mut contender| contender.median());
    let fastest = rego.min(cedar).min(cel);
    let mut rows = vec![
        Row::new("decision", decision).compared_with("fastest engine", fastest).at_most("less than 1", 1.0),
        Row::new("decision + rendering", rendering).compared_with("decision", decision),
        Row::new("rules in Rego (regorus)", rego).compared_with("decision", decision),
        Row::new("rules in Cedar (cedar-policy)", cedar).compared_with("decision", decision),
        Row::new("rules in CEL (cel)", cel).compared_with("decision", decision),
        Row::new("limiter, with a clock", draw_clock)
            .compared_with("governor, likewise", governor_clock)
            .at_most("at most 1", 1.0),
        Row::new("governor (DashMap, quanta)", governor_clock),
        Row::new("limiter, without a clock", draw)
            .compared_with("governor, likewise", governor)
            .at_most("at most 1", 1.0),
        Row::new("governor (HashMap, no clock)", governor),
        Row::new("ledger beside 100 holds", few),
        Row::new("ledger beside 100,000 holds", many)
            .compared_with("beside 100", few)
            .at_most("at most 1.5", 1.5),
        Row::new("ledger, random hold of 100", few_random),
        Row::new("ledger, random hold of 100,000", many_random).compared_with("of 100", few_random),
        Row::new("refusal for GPUs beside 100 holds", refusal_few),
        Row::new("refusal for GPUs beside 100,000", refusal_many).compared_with("beside 100", refusal_few),
    ];
    let [files, cold] = processes.map_or([None, None], |contenders| contenders.map(|mut c| Some(c.median())));
    rows.push(
        Row::optional("`check` of 1,000 files", files)
            .compared_with("cold, 1,000 times", cold.unwrap_or(0.0) * 1e3),
    );
    rows.push(
        Row::optional("cold `check` of one file", cold)
            .compared_with("10 ms", 10e6)
            .at_most("less than 1", 1.0),
    );
    println!("{rounds} interleaved rounds after a warm-up round; median times of one operation");
    println!("{decisions} decisions, {draws} rate checks, {cycles} ledger cycles per round; 1,000 tenants\n");
    print(&rows);
    Ok(())
}
