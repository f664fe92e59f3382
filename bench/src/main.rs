//! Benchmarks of Runway against its peers and its own targets. Each invocation prints its results as a table.

#![expect(
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "a benchmark may panic on an error, and its statistics are not money"
)]

mod cluster;
mod http;
#[cfg(target_os = "linux")]
mod local;
#[cfg(feature = "peers")]
mod peers;
mod table;
mod timing;

use std::env;
use std::path::PathBuf;
use timing::BenchResult;

const USAGE: &str = "usage: runway-bench [--runway PATH [--local] | --cluster [--submitters N] | --http PATH] [--rounds N] [--quick]";

struct Arguments {
    /// The path of the `runway` program.
    runway: Option<PathBuf>,
    /// Runs only the benchmarks on the cluster of `KUBECONFIG`.
    cluster: bool,
    /// With `cluster`: runs only the submit benchmark, with this number of submitters.
    submitters: Option<usize>,
    /// Runs only the benchmarks of jobs on this machine.
    local: bool,
    /// The path of the server program. Runs only the server benchmarks, on loopback and on the cluster of
    /// `KUBECONFIG`.
    http: Option<PathBuf>,
    rounds: Option<usize>,
    /// Divisor for the number of operations in a round.
    divisor: usize,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> BenchResult<Self> {
        let mut parsed = Self {
            runway: None,
            cluster: false,
            submitters: None,
            local: false,
            http: None,
            rounds: None,
            divisor: 1,
        };
        let number =
            |argument: Option<String>| BenchResult::Ok(argument.ok_or(USAGE)?.parse::<usize>()?.max(1));
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--runway" => parsed.runway = Some(arguments.next().ok_or(USAGE)?.into()),
                "--cluster" => parsed.cluster = true,
                "--local" => parsed.local = true,
                "--http" => parsed.http = Some(arguments.next().ok_or(USAGE)?.into()),
                "--submitters" => parsed.submitters = Some(number(arguments.next())?),
                "--rounds" => parsed.rounds = Some(number(arguments.next())?),
                "--quick" => (parsed.rounds, parsed.divisor) = (Some(3), 20),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(parsed)
    }
}

fn main() -> BenchResult {
    #[cfg(target_os = "linux")]
    runway_local::reexec_init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some((cluster::CHILD, rest)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        return cluster::child(rest);
    }
    let Arguments { runway, cluster, submitters, local, http, rounds, divisor: shorter } =
        Arguments::parse(arguments.into_iter())?;
    if cluster {
        return cluster::measure(submitters, rounds.unwrap_or(7), shorter);
    }
    if let Some(server) = http {
        return http::measure(&server, rounds.unwrap_or(7), shorter);
    }
    #[cfg(target_os = "linux")]
    if local {
        return local::measure(&runway.ok_or(USAGE)?, rounds.unwrap_or(7), shorter);
    }
    peers(runway, rounds.unwrap_or(15), shorter)
}

#[cfg(feature = "peers")]
use peers::measure as peers;

/// The policy engines take long to build, so the other benchmarks can be built without them.
#[cfg(not(feature = "peers"))]
fn peers(_: Option<PathBuf>, _: usize, _: usize) -> BenchResult {
    Err("built without the feature `peers`".into())
}
