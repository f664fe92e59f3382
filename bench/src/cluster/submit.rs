//! Benchmarks of job creation through the control plane, compared with plain create calls for the same
//! manifests.

use super::cpu_time::CpuTime;
use super::harness::{BenchNamespace, Cluster, manifests, open_connections, start_plane, submissions};
use super::idle::IdleWait;
use crate::timing::BenchResult;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use runway_control::Submitted;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::task::JoinSet;

#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) submitters: usize,
    pub(crate) jobs: usize,
}

/// The result of one run. Times are in milliseconds.
pub(crate) struct Run {
    pub(crate) jobs_per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU time of this process per job.
    pub(crate) client: f64,
    /// CPU time of the cluster's processes per job.
    pub(crate) servers: f64,
}

/// One round: three consecutive runs, one with each [`CreateClient`].
#[derive(Default)]
pub(crate) struct Round {
    runs: [Option<Run>; 3],
}

/// The client that creates the jobs.
#[derive(Clone, Copy)]
pub(crate) enum CreateClient {
    /// The control plane.
    Runway,
    /// A client that only creates the jobs.
    Bare,
    /// A client that creates the jobs, and watches the Jobs and Pods with `kube`'s watcher.
    Watching,
}

impl Round {
    /// Returns the run of a client.
    pub(crate) fn run_of(&self, client: CreateClient) -> BenchResult<&Run> {
        self.runs[client as usize].as_ref().ok_or_else(|| "a run is missing".into())
    }

    /// Prints the results of the round, so that several benchmark runs can be combined.
    fn print(&self, number: usize) -> BenchResult {
        let (runway, bare) = (self.run_of(CreateClient::Runway)?, self.run_of(CreateClient::Bare)?);
        eprintln!(
            "round {number}: {:.0} and {:.0} jobs per second: {:.2}; p99 {:.1} and {:.1} ms: {:.2}",
            runway.jobs_per_second,
            bare.jobs_per_second,
            runway.jobs_per_second / bare.jobs_per_second,
            runway.p99,
            bare.p99,
            runway.p99 / bare.p99,
        );
        Ok(())
    }
}

/// Runs all clients in each round, after a warm-up round. The rounds start with different clients in turn.
pub(super) async fn run_interleaved(
    cluster: &Cluster,
    idle: &mut IdleWait,
    load: Load,
    rounds: usize,
) -> BenchResult<Vec<Round>> {
    let mut completed = Vec::with_capacity(rounds);
    for number in 0..=rounds {
        let mut order = [CreateClient::Runway, CreateClient::Bare, CreateClient::Watching];
        order.rotate_left(number % 3);
        let mut round = Round::default();
        for client in order {
            let run = match client {
                CreateClient::Runway => run_with_runway(cluster, idle, load).await?,
                CreateClient::Bare => run_bare(cluster, idle, load, false).await?,
                CreateClient::Watching => run_bare(cluster, idle, load, true).await?,
            };
            round.runs[client as usize] = Some(run);
        }
        if number > 0 {
            round.print(number)?;
            completed.push(round);
        }
    }
    Ok(completed)
}

/// Submits the jobs to a control plane that watches the cluster, as in a server.
async fn run_with_runway(cluster: &Cluster, idle: &mut IdleWait, load: Load) -> BenchResult<Run> {
    let namespace = cluster.create_namespace().await?;
    let client = cluster.client().await?;
    let (plane, watch) = start_plane(client.clone(), &namespace.policy()?);
    plane.ready().await;
    open_connections(&client, &namespace, load.submitters).await?;
    let submissions = Arc::new(submissions(load.jobs));
    idle.wait().await?;
    let turn = run(load, move |number| {
        let (plane, submissions) = (plane.clone(), Arc::clone(&submissions));
        async move {
            match plane.submit(submissions[number].clone(), None).await? {
                Submitted::Created { .. } => Ok(()),
                Submitted::Replayed { .. } => Err("the job already existed".into()),
            }
        }
    })
    .await?;
    watch.abort();
    check_and_delete(namespace, load, turn).await
}

/// Creates pre-rendered manifests with `Api::create`. If `watches_jobs` is set, it also watches the Jobs and
/// Pods, as a client that tracks them would.
async fn run_bare(
    cluster: &Cluster,
    idle: &mut IdleWait,
    load: Load,
    watches_jobs: bool,
) -> BenchResult<Run> {
    let namespace = cluster.create_namespace().await?;
    let client = cluster.client().await?;
    let manifests = Arc::new(manifests(load.jobs, &namespace.policy()?)?);
    open_connections(&client, &namespace, load.submitters).await?;
    let mut watches = JoinSet::new();
    if watches_jobs {
        watches.spawn(watch::<Job>(client.clone(), namespace.name.clone()));
        watches.spawn(watch::<Pod>(client.clone(), namespace.name.clone()));
    }
    let api: Api<Job> = Api::namespaced(client, &namespace.name);
    let post = PostParams { field_manager: Some("runway".to_owned()), ..PostParams::default() };
    let bare = Arc::new((api, post));
    idle.wait().await?;
    let turn = run(load, move |number| {
        let (bare, manifests) = (Arc::clone(&bare), Arc::clone(&manifests));
        async move {
            let (api, post) = &*bare;
            api.create(post, &manifests[number]).await?;
            Ok(())
        }
    })
    .await?;
    check_and_delete(namespace, load, turn).await
}

async fn watch<K>(client: Client, namespace: String)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + serde::de::DeserializeOwned,
    K: Clone + std::fmt::Debug + Send + 'static,
{
    let config = watcher::Config::default().labels("app.kubernetes.io/managed-by=runway");
    watcher(Api::<K>::namespaced(client, &namespace), config).for_each(|_| async {}).await;
}

async fn check_and_delete(namespace: BenchNamespace, load: Load, run: Run) -> BenchResult<Run> {
    let created = namespace.jobs_api().list_metadata(&kube::api::ListParams::default()).await?.items.len();
    if created != load.jobs {
        return Err(format!("expected {} jobs, found {created}", load.jobs).into());
    }
    namespace.delete().await?;
    Ok(run)
}

pub(crate) type SubmitError = Box<dyn Error + Send + Sync>;

/// Runs concurrent submitters. Each one creates jobs sequentially until the total is reached.
pub(crate) async fn run<F>(
    load: Load,
    submit: impl Fn(usize) -> F + Clone + Send + 'static,
) -> BenchResult<Run>
where
    F: Future<Output = Result<(), SubmitError>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut submitters = JoinSet::new();
    let before = CpuTime::now()?;
    let start = Instant::now();
    for _ in 0..load.submitters {
        let (next, submit) = (Arc::clone(&next), submit.clone());
        submitters.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= load.jobs {
                    return Ok::<_, SubmitError>(times);
                }
                let sent_at = Instant::now();
                submit(number).await?;
                times.push(sent_at.elapsed().as_secs_f64() * 1e3);
            }
        });
    }
    let mut times = Vec::with_capacity(load.jobs);
    while let Some(ended) = submitters.join_next().await {
        times.extend(ended?.map_err(|failed| -> Box<dyn Error> { failed })?);
    }
    let seconds = start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let percentile = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    // The controllers still create pods at this point, and the client receives watch events about the pods.
    // The measured CPU time includes this work, for a limited time.
    let spent = CpuTime::since(before).await?;
    let jobs = times.len() as f64;
    Ok(Run {
        jobs_per_second: jobs / seconds,
        p50: percentile(50),
        p99: percentile(99),
        client: spent.client / jobs,
        servers: spent.servers / jobs,
    })
}
