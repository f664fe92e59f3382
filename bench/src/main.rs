//! Runway against its peers and against its own targets: one run, one table.

#![expect(
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    reason = "a measurement may stop wherever it is wrong, and its statistics are not money"
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
use timing::Outcome;

const USAGE: &str = "usage: runway-bench [--runway PATH [--local] | --cluster [--submitters N] | --http PATH] [--rounds N] [--quick]";

struct Arguments {
    /// The built command line.
    runway: Option<PathBuf>,
    /// Measures on the cluster of `KUBECONFIG`, and nothing else.
    cluster: bool,
    /// There, so many submitters and nothing else.
    submitters: Option<usize>,
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
        let mut read = Self {
            runway: None,
            cluster: false,
            submitters: None,
            local: false,
            http: None,
            rounds: None,
            shorter: 1,
        };
        let number = |argument: Option<String>| Outcome::Ok(argument.ok_or(USAGE)?.parse::<usize>()?.max(1));
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--runway" => read.runway = Some(arguments.next().ok_or(USAGE)?.into()),
                "--cluster" => read.cluster = true,
                "--local" => read.local = true,
                "--http" => read.http = Some(arguments.next().ok_or(USAGE)?.into()),
                "--submitters" => read.submitters = Some(number(arguments.next())?),
                "--rounds" => read.rounds = Some(number(arguments.next())?),
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
    let Arguments { runway, cluster, submitters, local, http, rounds, shorter } =
        Arguments::read(arguments.into_iter())?;
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

/// Whole policy engines take long to build, so that those who measure something else leave them out.
#[cfg(not(feature = "peers"))]
fn peers(_: Option<PathBuf>, _: usize, _: usize) -> Outcome {
    Err("built without the peers (feature `peers`)".into())
}
