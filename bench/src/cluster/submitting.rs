//! Creates jobs through the control plane, compared with plain create calls for the same manifests.

use super::bed::{Cluster, Place, manifests, plane, submissions, warm};
use super::effort::Effort;
use super::rest::Rest;
use crate::timing::Outcome;
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
pub(crate) struct Turn {
    pub(crate) jobs_a_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// CPU time of this process per job.
    pub(crate) client: f64,
    /// CPU time of the cluster's processes per job.
    pub(crate) servers: f64,
}

/// Consecutive runs, one of each client.
#[derive(Default)]
pub(crate) struct Round {
    turns: [Option<Turn>; 3],
}

/// The client that creates the jobs.
#[derive(Clone, Copy)]
pub(crate) enum Contender {
    /// The control plane.
    Runway,
    /// A client that only creates the jobs.
    Bare,
    /// A client that also watches the jobs with `kube`'s watcher.
    Following,
}

impl Round {
    /// Returns the run of a client.
    pub(crate) fn turn(&self, of: Contender) -> Outcome<&Turn> {
        self.turns[of as usize].as_ref().ok_or_else(|| "a run is missing".into())
    }

    /// Prints the results of the round, so that several benchmark runs can be combined.
    fn tell(&self, number: usize) -> Outcome {
        let (runway, bare) = (self.turn(Contender::Runway)?, self.turn(Contender::Bare)?);
        eprintln!(
            "round {number}: {:.0} and {:.0} jobs per second: {:.2}; p99 {:.1} and {:.1} ms: {:.2}",
            runway.jobs_a_second,
            bare.jobs_a_second,
            runway.jobs_a_second / bare.jobs_a_second,
            runway.p99,
            bare.p99,
            runway.p99 / bare.p99,
        );
        Ok(())
    }
}

/// Runs all clients in each round, after a warm-up round. Each round starts with the next client.
pub(super) async fn take_turns(
    cluster: &Cluster,
    rest: &mut Rest,
    load: Load,
    rounds: usize,
) -> Outcome<Vec<Round>> {
    let mut rounds_taken = Vec::with_capacity(rounds);
    for number in 0..=rounds {
        let mut order = [Contender::Runway, Contender::Bare, Contender::Following];
        order.rotate_left(number % 3);
        let mut round = Round::default();
        for contender in order {
            let turn = match contender {
                Contender::Runway => through_runway(cluster, rest, load).await?,
                Contender::Bare => bare(cluster, rest, load, false).await?,
                Contender::Following => bare(cluster, rest, load, true).await?,
            };
            round.turns[contender as usize] = Some(turn);
        }
        if number > 0 {
            round.tell(number)?;
            rounds_taken.push(round);
        }
    }
    Ok(rounds_taken)
}

/// Submits the jobs to a control plane that watches the cluster, as in a server.
async fn through_runway(cluster: &Cluster, rest: &mut Rest, load: Load) -> Outcome<Turn> {
    let place = cluster.place().await?;
    let client = cluster.client().await?;
    let (plane, follows) = plane(client.clone(), &place.policy()?);
    plane.ready().await;
    warm(&client, &place, load.submitters).await?;
    let submissions = Arc::new(submissions(load.jobs));
    rest.wait().await?;
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
    follows.abort();
    finish(place, load, turn).await
}

/// Creates pre-rendered manifests with `Api::create`. If `watches_jobs` is set, it also watches the Jobs and
/// Pods, as a client that tracks them would.
async fn bare(cluster: &Cluster, rest: &mut Rest, load: Load, follows: bool) -> Outcome<Turn> {
    let place = cluster.place().await?;
    let client = cluster.client().await?;
    let manifests = Arc::new(manifests(load.jobs, &place.policy()?)?);
    warm(&client, &place, load.submitters).await?;
    let mut watches = JoinSet::new();
    if follows {
        watches.spawn(follow::<Job>(client.clone(), place.name.clone()));
        watches.spawn(follow::<Pod>(client.clone(), place.name.clone()));
    }
    let api: Api<Job> = Api::namespaced(client, &place.name);
    let post = PostParams { field_manager: Some("runway".to_owned()), ..PostParams::default() };
    let bare = Arc::new((api, post));
    rest.wait().await?;
    let turn = run(load, move |number| {
        let (bare, manifests) = (Arc::clone(&bare), Arc::clone(&manifests));
        async move {
            let (api, post) = &*bare;
            api.create(post, &manifests[number]).await?;
            Ok(())
        }
    })
    .await?;
    finish(place, load, turn).await
}

async fn follow<K>(client: Client, namespace: String)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + serde::de::DeserializeOwned,
    K: Clone + std::fmt::Debug + Send + 'static,
{
    let ours = watcher::Config::default().labels("app.kubernetes.io/managed-by=runway");
    watcher(Api::<K>::namespaced(client, &namespace), ours).for_each(|_| async {}).await;
}

async fn finish(place: Place, load: Load, turn: Turn) -> Outcome<Turn> {
    let there = place.jobs().list_metadata(&kube::api::ListParams::default()).await?.items.len();
    if there != load.jobs {
        return Err(format!("expected {} jobs, found {there}", load.jobs).into());
    }
    place.remove().await?;
    Ok(turn)
}

pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// Runs concurrent submitters. Each one creates jobs sequentially until the total is reached.
pub(crate) async fn run<F>(load: Load, submit: impl Fn(usize) -> F + Clone + Send + 'static) -> Outcome<Turn>
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut submitters = JoinSet::new();
    let before = Effort::now()?;
    let begun = Instant::now();
    for _ in 0..load.submitters {
        let (next, submit) = (Arc::clone(&next), submit.clone());
        submitters.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= load.jobs {
                    return Ok::<_, Failed>(times);
                }
                let begun = Instant::now();
                submit(number).await?;
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        });
    }
    let mut times = Vec::with_capacity(load.jobs);
    while let Some(ended) = submitters.join_next().await {
        times.extend(ended?.map_err(|failed| -> Box<dyn Error> { failed })?);
    }
    let seconds = begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let percentile = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    // The controllers still create pods at this point, and the client receives their watch events.
    let spent = Effort::spent_since(before).await?;
    let jobs = times.len() as f64;
    Ok(Turn {
        jobs_a_second: jobs / seconds,
        p50: percentile(50),
        p99: percentile(99),
        client: spent.client / jobs,
        servers: spent.servers / jobs,
    })
}
