//! Rebuilds the ledger from the jobs of a cluster, compared with a plain list of the same jobs. Each
//! measurement runs in a separate process, because the peak memory of a process never decreases.

use super::harness::{BenchNamespace, Cluster, manifests, open_connections, policy, start_plane};
use super::idle::IdleWait;
use crate::timing::BenchResult;
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
const CREATE_TASKS: usize = 32;

/// The result of one run.
#[derive(Clone, Copy, Default)]
pub(crate) struct RebuildCost {
    pub(crate) millis: f64,
    /// The peak resident memory of the whole process.
    pub(crate) mebibytes: f64,
}

/// In each round, runs Runway and the plain list once. The order alternates between the rounds. The first
/// round is a warm-up.
pub(super) async fn run_interleaved(
    cluster: &Cluster,
    idle: &mut IdleWait,
    jobs: usize,
    rounds: usize,
) -> BenchResult<Vec<[RebuildCost; 2]>> {
    let namespace = cluster.create_namespace().await?;
    create_jobs(cluster, &namespace, jobs).await?;
    let mut pairs = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let mut pair = [(0, RUNWAY), (1, BARE)];
        pair.rotate_left(round % 2);
        let mut rebuilt = [RebuildCost::default(); 2];
        for (index, what) in pair {
            idle.wait().await?;
            rebuilt[index] = measure_in_child(what, &namespace, jobs).await?;
        }
        if round > 0 {
            pairs.push(rebuilt);
        }
    }
    namespace.delete().await?;
    Ok(pairs)
}

/// Creates jobs that never change: with a parallelism of 0, the job controller creates no pods.
pub(crate) async fn create_jobs(cluster: &Cluster, namespace: &BenchNamespace, jobs: usize) -> BenchResult {
    let client = cluster.client().await?;
    open_connections(&client, namespace, CREATE_TASKS).await?;
    let mut manifests = manifests(jobs, &namespace.policy()?)?;
    manifests.iter_mut().filter_map(|job| job.spec.as_mut()).for_each(|spec| spec.parallelism = Some(0));
    let manifests = Arc::new(manifests);
    let mut creators = JoinSet::new();
    for creator in 0..CREATE_TASKS {
        let (api, manifests) =
            (Api::<Job>::namespaced(client.clone(), &namespace.name), Arc::clone(&manifests));
        creators.spawn(async move {
            for job in manifests.iter().skip(creator).step_by(CREATE_TASKS) {
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

async fn measure_in_child(what: &str, namespace: &BenchNamespace, jobs: usize) -> BenchResult<RebuildCost> {
    let mut command = Command::new(env::current_exe()?);
    let output =
        command.args([CHILD, what, &namespace.name]).stderr(std::process::Stdio::inherit()).output().await?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let &[found, micros, kibibytes] = numbers.as_slice() else {
        return Err("the child process printed no result".into());
    };
    if !output.status.success() || found != jobs as u64 {
        return Err(format!("{what}: {found} of {jobs} jobs").into());
    }
    Ok(RebuildCost { millis: micros as f64 / 1e3, mebibytes: kibibytes as f64 / 1024.0 })
}

/// Runs the measured child process. It prints the number of jobs, the time in microseconds and the peak
/// memory in KiB.
pub(crate) fn child(arguments: &[String]) -> BenchResult {
    let [what, namespace] = arguments else { return Err("expected a client and a namespace".into()) };
    Runtime::new()?.block_on(async {
        let client = Cluster::connect().await?.client().await?;
        let policy = policy(namespace)?;
        let start = Instant::now();
        let (found, took) = if what == RUNWAY {
            let (plane, _follows) = start_plane(client, &policy);
            plane.ready().await;
            let took = start.elapsed();
            (plane.held_job_ids().len(), took)
        } else {
            let listed = list(&Api::namespaced(client, namespace)).await?;
            (listed.len(), start.elapsed())
        };
        println!("{found} {} {}", took.as_micros(), peak_memory_kib()?);
        Ok(())
    })
}

async fn list(api: &Api<Job>) -> BenchResult<Vec<Job>> {
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

fn peak_memory_kib() -> BenchResult<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}
