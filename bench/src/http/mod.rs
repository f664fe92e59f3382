//! The server beside the least that a server could do: `cargo xtask bench --http`.

mod client;
mod process;
mod servers;

use crate::cluster::bed::Cluster;
use crate::cluster::rebuilding::fill;
use crate::cluster::submitting::{Load, Turn, run};
use crate::cluster::table::{Row, Target, print};
use crate::timing::Outcome;
use client::Clients;
use process::Server;
use std::path::Path;
use tokio::runtime::Runtime;

/// As many ask at a time for quotes.
const ASKING: usize = 32;
/// As many ask at a time for lists.
const LISTING: usize = 10;
/// As many submit at a time.
const SUBMITTING: usize = 100;
/// As many jobs are known.
const KNOWN: usize = 10_000;

const QUOTES: &str = "/v1/quotes";

/// Measures, and prints a table of what needs no cluster, and one of what does.
pub(crate) fn measure(server: &Path, rounds: usize, shorter: usize) -> Outcome {
    // What the server logs by itself costs it something here, too.
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::sink).init();
    // A turn takes a fraction of a second, in which much else can happen.
    let mut rows = quotes(3 * rounds, 20_000 / shorter)?;
    Runtime::new()?.block_on(async {
        rows.push(lists(rounds, KNOWN / shorter, 2_000 / shorter).await?);
        println!("medians of the turns; ratios of neighbouring turns: the median, and the quartiles\n");
        print(&rows);
        let mut rows = Vec::new();
        eprintln!("{SUBMITTING} submitters on a cluster, {rounds} rounds");
        rows.push(submissions(server, rounds, 4_000 / shorter).await?);
        eprintln!("{} jobs on a cluster, {rounds} rounds", KNOWN / shorter);
        rows.extend(memory(server, rounds, KNOWN / shorter).await?);
        println!("\non a cluster\n");
        print(&rows);
        Ok(())
    })
}

/// The same JSON, sent to Runway's `/v1/quotes` and to a bare axum server that sends it back.
fn quotes(rounds: usize, requests: usize) -> Outcome<Vec<Row>> {
    eprintln!("{ASKING} ask for quotes, {requests} a turn, {rounds} rounds");
    // Servers and clients have threads of their own, as they would in processes of their own.
    let servers = Runtime::new()?;
    let (runway, bare) = servers.block_on(async {
        Ok::<_, Box<dyn std::error::Error>>((servers::runway(0).await?, servers::echo().await?))
    })?;
    let load = Load { submitters: ASKING, jobs: requests };
    let job = servers::job("t");
    let mut pairs: Vec<[Turn; 2]> = Vec::new();
    Runtime::new()?.block_on(async {
        for round in 0..=rounds {
            let mut turns = Vec::new();
            let mut order = [(0, runway), (1, bare)];
            order.rotate_left(round % 2);
            for (place, address) in order {
                let clients = Clients::connect(address, ASKING).await?;
                let job = job.clone();
                let turn = run(load, move |_| {
                    let (clients, job) = (clients.clone(), job.clone());
                    async move { clients.post(QUOTES, job, 200).await }
                });
                turns.push((place, turn.await?));
            }
            turns.sort_by_key(|(place, _)| *place);
            let mut turns = turns.into_iter().map(|(_, turn)| turn);
            if let (Some(runway), Some(bare), true) = (turns.next(), turns.next(), round > 0) {
                pairs.push([runway, bare]);
            }
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    })?;
    let row = |name: &str, unit, of: fn(&Turn) -> f64| {
        Row::new(format!("quotes: {name}"), unit, pairs.iter().map(|[runway, bare]| (of(runway), of(bare))))
    };
    Ok(vec![
        row("requests a second", "/s", |turn| turn.jobs_a_second).target(Target::AtLeast(0.70)),
        row("p50", "ms", |turn| turn.p50),
        row("p99", "ms", |turn| turn.p99),
    ])
}

/// Pages of a hundred, where many jobs are known.
async fn lists(rounds: usize, known: usize, requests: usize) -> Outcome<Row> {
    eprintln!("{LISTING} list {known} jobs, {requests} a turn, {rounds} rounds");
    let address = servers::runway(known).await?;
    let load = Load { submitters: LISTING, jobs: requests };
    let mut slowest = Vec::new();
    for round in 0..=rounds {
        let clients = Clients::connect(address, LISTING).await?;
        let turn = run(load, move |_| {
            let clients = clients.clone();
            async move { clients.get("/v1/jobs?limit=100").await }
        });
        let turn = turn.await?;
        if round > 0 {
            slowest.push(turn.p99);
        }
    }
    Ok(Row::alone(format!("a page of {known} jobs: p99"), "ms", &mut slowest).target(Target::Below(10.0)))
}

/// Jobs submitted to the built server on a real API server.
async fn submissions(server: &Path, rounds: usize, jobs: usize) -> Outcome<Row> {
    let cluster = Cluster::connect().await?;
    let load = Load { submitters: SUBMITTING, jobs: jobs.max(SUBMITTING) };
    let mut slowest = Vec::new();
    for round in 0..=rounds {
        let place = cluster.place().await?;
        let server = Server::start(server, &place).await?;
        let clients = Clients::connect(server.address, SUBMITTING).await?;
        let turn = run(load, move |number| {
            let clients = clients.clone();
            // More tenants than submitters, since each may have only so many submissions at a time.
            async move { clients.post("/v1/jobs", servers::job(&format!("tenant-{}", number % 1_000)), 201).await }
        });
        let turn = turn.await?;
        server.stop().await?;
        place.remove().await?;
        if round > 0 {
            slowest.push(turn.p99);
        }
    }
    Ok(Row::alone(format!("{SUBMITTING} submitters: p99"), "ms", &mut slowest).target(Target::Below(500.0)))
}

/// The memory of the built server, once it has taken over the jobs of a cluster.
async fn memory(server: &Path, rounds: usize, jobs: usize) -> Outcome<[Row; 2]> {
    let cluster = Cluster::connect().await?;
    let place = cluster.place().await?;
    fill(&cluster, &place, jobs).await?;
    let (mut resident, mut peak) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let server = Server::start(server, &place).await?;
        let (now, most) = server.memory()?;
        resident.push(now);
        peak.push(most);
        server.stop().await?;
    }
    place.remove().await?;
    let what = |what: &str| format!("{what} at {jobs} jobs");
    Ok([
        Row::alone(what("resident memory"), "MiB", &mut resident).target(Target::Below(150.0)),
        Row::alone(what("peak of it"), "MiB", &mut peak),
    ])
}
