//! Rebuilds the ledger from the jobs of a cluster, compared with a plain list of the same jobs. Each
//! measurement runs in a separate process, because the peak memory of a process never decreases.

use super::bed::{Cluster, Place, manifests, plane, policy, warm};
use super::rest::Rest;
use crate::timing::Outcome;
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{ListParams, PostParams};
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs};
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The argument that starts this program as the measured child process.
pub(crate) const CHILD: &str = "--rebuild";

const RUNWAY: &str = "runway";
const BARE: &str = "bare";
const PAGE: u32 = 500;
/// The number of concurrent tasks that create the jobs.
const CREATORS: usize = 32;

/// The result of one run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rebuilt {
    pub(crate) millis: f64,
    /// The peak resident memory of the whole process.
    pub(crate) mebibytes: f64,
}

/// Runs Runway and the plain list in alternation. Each round starts with the other one.
pub(super) async fn take_turns(
    cluster: &Cluster,
    rest: &mut Rest,
    jobs: usize,
    rounds: usize,
) -> Outcome<Vec<[Rebuilt; 2]>> {
    let place = cluster.place().await?;
    fill(cluster, &place, jobs).await?;
    let mut pairs = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let mut pair = [(0, RUNWAY), (1, BARE)];
        pair.rotate_left(round % 2);
        let mut rebuilt = [Rebuilt::default(); 2];
        for (place_in_pair, what) in pair {
            rest.wait().await?;
            rebuilt[place_in_pair] = in_a_process(what, &place, jobs).await?;
        }
        if round > 0 {
            pairs.push(rebuilt);
        }
    }
    place.remove().await?;
    Ok(pairs)
}

/// Creates jobs that never change: with a parallelism of 0, the job controller creates no pods.
pub(crate) async fn fill(cluster: &Cluster, place: &Place, jobs: usize) -> Outcome {
    let client = cluster.client().await?;
    warm(&client, place, CREATORS).await?;
    let mut manifests = manifests(jobs, &place.policy()?)?;
    manifests.iter_mut().filter_map(|job| job.spec.as_mut()).for_each(|spec| spec.parallelism = Some(0));
    let manifests = Arc::new(manifests);
    let mut creators = JoinSet::new();
    for creator in 0..CREATORS {
        let (api, manifests) = (Api::<Job>::namespaced(client.clone(), &place.name), Arc::clone(&manifests));
        creators.spawn(async move {
            for job in manifests.iter().skip(creator).step_by(CREATORS) {
                api.create(&PostParams::default(), job).await?;
            }
            Ok::<_, kube::Error>(())
        });
    }
    while let Some(ended) = creators.join_next().await {
        ended??;
    }
    Ok(())
}

async fn in_a_process(what: &str, place: &Place, jobs: usize) -> Outcome<Rebuilt> {
    let mut command = Command::new(env::current_exe()?);
    let output =
        command.args([CHILD, what, &place.name]).stderr(std::process::Stdio::inherit()).output().await?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[found, micros, kibibytes] = numbers.as_slice() else {
        return Err("the child process printed no result".into());
    };
    if !output.status.success() || found != jobs as u64 {
        return Err(format!("{what}: {found} of {jobs} jobs").into());
    }
    Ok(Rebuilt { millis: micros as f64 / 1e3, mebibytes: kibibytes as f64 / 1024.0 })
}

/// Runs the measured child process. It prints the number of jobs, the time in microseconds and the peak
/// memory in KiB.
pub(crate) fn child(arguments: &[String]) -> Outcome {
    let [what, namespace] = arguments else { return Err("expected a client and a namespace".into()) };
    Runtime::new()?.block_on(async {
        let client = Cluster::connect().await?.client().await?;
        let policy = policy(namespace)?;
        let begun = Instant::now();
        let (found, took) = if what == RUNWAY {
            let (plane, _follows) = plane(client, &policy);
            plane.ready().await;
            let took = begun.elapsed();
            (plane.held().len(), took)
        } else {
            let listed = list(&Api::namespaced(client, namespace)).await?;
            (listed.len(), begun.elapsed())
        };
        println!("{found} {} {}", took.as_micros(), peak()?);
        Ok(())
    })
}

async fn list(api: &Api<Job>) -> Outcome<Vec<Job>> {
    let mut parameters = ListParams::default().limit(PAGE);
    let mut jobs = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        jobs.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(jobs),
        }
    }
}

fn peak() -> Outcome<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
