//! Benchmarks of Runway's HTTP server, partly compared with a minimal server: `cargo xtask bench --http`.

mod client;
mod process;
mod servers;

use crate::cluster::harness::Cluster;
use crate::cluster::rebuild::create_jobs;
use crate::cluster::submit::{Load, Run, run};
use crate::cluster::table::{Row, Target, print};
use crate::timing::BenchResult;
use client::Clients;
use process::ServerProcess;
use std::path::Path;
use tokio::runtime::Runtime;

/// The number of concurrent clients that request quotes.
const QUOTE_CLIENTS: usize = 32;
/// The number of concurrent clients that list jobs.
const LIST_CLIENTS: usize = 10;
/// The number of concurrent submitters.
const SUBMIT_CLIENTS: usize = 100;
/// The number of jobs in the list and memory benchmarks.
const KNOWN_JOBS: usize = 10_000;

const QUOTES: &str = "/v1/quotes";

/// Prints one table for the benchmarks without a cluster, and one for those on a cluster.
pub(crate) fn measure(server: &Path, rounds: usize, shorter: usize) -> BenchResult {
    // Format the log messages and discard them. So the server in this process also spends the time for its
    // logs.
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::sink).init();
    // A run of the quotes takes only a fraction of a second, so other processes affect it more. More rounds
    // compensate for this.
    let mut rows = quotes(3 * rounds, 20_000 / shorter)?;
    Runtime::new()?.block_on(async {
        rows.push(lists(rounds, KNOWN_JOBS / shorter, 2_000 / shorter).await?);
        println!("medians of the runs; ratios of neighbouring runs: median and quartiles\n");
        print(&rows);
        let mut rows = Vec::new();
        eprintln!("{SUBMIT_CLIENTS} submitters on a cluster, {rounds} rounds");
        rows.push(submissions(server, rounds, 4_000 / shorter).await?);
        eprintln!("{} jobs on a cluster, {rounds} rounds", KNOWN_JOBS / shorter);
        rows.extend(memory(server, rounds, KNOWN_JOBS / shorter).await?);
        println!("\non a cluster\n");
        print(&rows);
        Ok(())
    })
}

/// Sends the same JSON to Runway's `/v1/quotes` and to a plain axum server that returns it.
fn quotes(rounds: usize, requests: usize) -> BenchResult<Vec<Row>> {
    eprintln!("{QUOTE_CLIENTS} clients request quotes, {requests} requests per run, {rounds} rounds");
    // The servers and the clients use separate threads, as in separate processes.
    let servers = Runtime::new()?;
    let (runway, bare) = servers.block_on(async {
        Ok::<_, Box<dyn std::error::Error>>((servers::runway(0).await?, servers::echo().await?))
    })?;
    let load = Load { submitters: QUOTE_CLIENTS, jobs: requests };
    let job = servers::job("t");
    let mut pairs: Vec<[Run; 2]> = Vec::new();
    Runtime::new()?.block_on(async {
        for round in 0..=rounds {
            let mut turns = Vec::new();
            let mut order = [(0, runway), (1, bare)];
            order.rotate_left(round % 2);
            for (index, address) in order {
                let clients = Clients::connect(address, QUOTE_CLIENTS).await?;
                let job = job.clone();
                let turn = run(load, move |_| {
                    let (clients, job) = (clients.clone(), job.clone());
                    async move { clients.post(QUOTES, job, 200).await }
                });
                turns.push((index, turn.await?));
            }
            turns.sort_by_key(|(place, _)| *place);
            let mut turns = turns.into_iter().map(|(_, turn)| turn);
            if let (Some(runway), Some(bare), true) = (turns.next(), turns.next(), round > 0) {
                pairs.push([runway, bare]);
            }
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let row = |name: &str, unit, of: fn(&Run) -> f64| {
        Row::new(format!("quotes: {name}"), unit, pairs.iter().map(|[runway, bare]| (of(runway), of(bare))))
    };
    Ok(vec![
        row("requests per second", "/s", |turn| turn.jobs_per_second).target(Target::AtLeast(0.70)),
        row("p50", "ms", |turn| turn.p50),
        row("p99", "ms", |turn| turn.p99),
    ])
}

/// Measures requests for a page of 100 jobs to a server that knows many jobs.
async fn lists(rounds: usize, known: usize, requests: usize) -> BenchResult<Row> {
    eprintln!("{LIST_CLIENTS} clients list {known} jobs, {requests} requests per run, {rounds} rounds");
    let address = servers::runway(known).await?;
    let load = Load { submitters: LIST_CLIENTS, jobs: requests };
    let mut p99s = Vec::new();
    for round in 0..=rounds {
        let clients = Clients::connect(address, LIST_CLIENTS).await?;
        let turn = run(load, move |_| {
            let clients = clients.clone();
            async move { clients.get("/v1/jobs?limit=100").await }
        });
        let turn = turn.await?;
        if round > 0 {
            p99s.push(turn.p99);
        }
    }
    Ok(Row::single(format!("a page of {known} jobs: p99"), "ms", &mut p99s).target(Target::Below(10.0)))
}

/// Measures submissions to the server program, which creates the jobs on a real API server.
async fn submissions(server: &Path, rounds: usize, jobs: usize) -> BenchResult<Row> {
    let cluster = Cluster::connect().await?;
    let load = Load { submitters: SUBMIT_CLIENTS, jobs: jobs.max(SUBMIT_CLIENTS) };
    let mut p99s = Vec::new();
    for round in 0..=rounds {
        let namespace = cluster.create_namespace().await?;
        let server = ServerProcess::start(server, &namespace).await?;
        let clients = Clients::connect(server.address, SUBMIT_CLIENTS).await?;
        let turn = run(load, move |number| {
            let clients = clients.clone();
            // There are more tenants than submitters, because concurrent submissions are limited per tenant.
            async move { clients.post("/v1/jobs", servers::job(&format!("tenant-{}", number % 1_000)), 201).await }
        });
        let turn = turn.await?;
        server.stop().await?;
        namespace.delete().await?;
        if round > 0 {
            p99s.push(turn.p99);
        }
    }
    Ok(Row::single(format!("{SUBMIT_CLIENTS} submitters: p99"), "ms", &mut p99s).target(Target::Below(500.0)))
}

/// Measures the memory of the server program after it has listed the jobs of a cluster.
async fn memory(server: &Path, rounds: usize, jobs: usize) -> BenchResult<[Row; 2]> {
    let cluster = Cluster::connect().await?;
    let namespace = cluster.create_namespace().await?;
    create_jobs(&cluster, &namespace, jobs).await?;
    let (mut resident, mut peak) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let server = ServerProcess::start(server, &namespace).await?;
        let (now, most) = server.memory()?;
        resident.push(now);
        peak.push(most);
        server.stop().await?;
    }
    namespace.delete().await?;
    let what = |what: &str| format!("{what} at {jobs} jobs");
    Ok([
        Row::single(what("resident memory"), "MiB", &mut resident).target(Target::Below(150.0)),
        Row::single(what("peak resident memory"), "MiB", &mut peak),
    ])
}
