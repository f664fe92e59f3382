//! Jobs on this machine, compared with other programs that isolate a process: `cargo xtask bench --local`.

mod command;
mod concurrent;
mod harness;
mod output;
mod podman;
mod start;

use crate::table::{Row, print};
use crate::timing::{BenchResult, run_interleaved};
use harness::Harness;
use std::path::Path;
use std::rc::Rc;

/// The number of jobs that start at the same time.
const CONCURRENT_JOBS: usize = 200;

/// Runs the benchmarks and prints one table.
pub(crate) fn measure(runway: &Path, rounds: usize, shorter: usize) -> BenchResult {
    let harness = Rc::new(Harness::new()?);
    let starts = (40 / shorter).max(1);
    let (peers, missing) = start::peers(starts);
    let (names, peers): (Vec<_>, Vec<_>) = peers.into_iter().unzip();
    let mut all = vec![
        start::library_to_exit(Rc::clone(&harness), starts),
        start::library_to_output(Rc::clone(&harness), starts),
        start::command_line(runway, starts)?,
    ];
    all.extend(peers);
    run_interleaved(&mut all.iter_mut().collect::<Vec<_>>(), rounds)?;
    let medians: Vec<_> = all.iter_mut().map(crate::timing::Benchmark::median).collect();
    let of = |name: &str| names.iter().position(|peer| *peer == name).map(|at| medians[at + 3]);
    let mut rows = vec![
        Row::new("job: start to exit", medians[0]),
        Row::new("job: start to first output", medians[1]),
        Row::new("`runway run`: start to exit", medians[2]),
    ];
    if let Some(bwrap) = of("bwrap") {
        rows =
            rows.into_iter().map(|row| row.compared_with("bwrap", bwrap).at_most("at most 3", 3.0)).collect();
    }
    if let Some(podman) = of("podman") {
        rows.push(
            Row::new("`runway run` again", medians[2])
                .compared_with("podman", podman)
                .at_most("at most 0.1", 0.1),
        );
    }
    rows.extend(names.iter().zip(&medians[3..]).map(|(name, median)| Row::new(name, *median)));

    let megabytes = (1024 / shorter).max(16);
    let mut streams = vec![output::bare(&harness, megabytes)];
    let counts = [0, 1, 10, 50];
    streams.extend(counts.map(|readers| output::job(Rc::clone(&harness), megabytes, readers)));
    run_interleaved(&mut streams.iter_mut().collect::<Vec<_>>(), rounds.min(5))?;
    let times: Vec<_> = streams.iter_mut().map(crate::timing::Benchmark::median).collect();
    let stream_names = [
        "`cat >file`: a MiB",
        "job, no reader: a MiB",
        "job, 1 reader: a MiB",
        "job, 10 readers: a MiB",
        "job, 50 readers: a MiB",
    ];
    rows.extend(
        stream_names
            .iter()
            .zip(&times)
            .map(|(name, time)| Row::new(name, *time).compared_with("`cat >file`", times[0])),
    );

    let mut concurrent = vec![concurrent::jobs(Rc::clone(&harness), CONCURRENT_JOBS / shorter.min(10))];
    concurrent.extend(concurrent::bwraps(CONCURRENT_JOBS / shorter.min(10)));
    run_interleaved(&mut concurrent.iter_mut().collect::<Vec<_>>(), rounds.min(3))?;
    let medians: Vec<_> = concurrent.iter_mut().map(crate::timing::Benchmark::median).collect();
    rows.push(Row::new("one of many concurrent jobs", medians[0]));
    if let Some(bwrap) = medians.get(1) {
        rows.push(Row::new("one of many concurrent bwraps", *bwrap));
    }
    println!(
        "{rounds} interleaved rounds after a warm-up, {starts} starts each; median times of one operation"
    );
    println!(
        "{megabytes} MiB of output for each reader; {} concurrent jobs",
        CONCURRENT_JOBS / shorter.min(10)
    );
    for missing in missing {
        println!("skipped: {missing}");
    }
    println!();
    print(&rows);
    Ok(())
}
