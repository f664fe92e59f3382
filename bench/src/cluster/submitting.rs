//! Jobs created through the control plane, and by bare creates of the same manifests.

use super::bed::{Cluster, Place, manifests, plane, submissions, warm};
use super::rest::Rest;
use crate::timing::Outcome;
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::PostParams;
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

/// What came of a turn. Times are in milliseconds.
pub(crate) struct Turn {
    pub(crate) jobs_a_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Two turns, one right after the other.
pub(crate) struct Pair {
    pub(crate) runway: Turn,
    pub(crate) bare: Turn,
}

/// The two take turns, each round begun by the other of them, after one round to warm up.
pub(super) async fn take_turns(
    cluster: &Cluster,
    rest: &mut Rest,
    load: Load,
    rounds: usize,
) -> Outcome<Vec<Pair>> {
    let mut pairs = Vec::with_capacity(rounds);
    for round in 0..=rounds {
        let pair = if round.is_multiple_of(2) {
            let runway = through_runway(cluster, rest, load).await?;
            Pair { runway, bare: bare(cluster, rest, load).await? }
        } else {
            let bare = bare(cluster, rest, load).await?;
            Pair { runway: through_runway(cluster, rest, load).await?, bare }
        };
        if round > 0 {
            pairs.push(pair);
        }
    }
    Ok(pairs)
}

/// Through a control plane that watches meanwhile, as it does in a server.
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
                Submitted::Replayed { .. } => Err("a job was there before".into()),
            }
        }
    })
    .await?;
    follows.abort();
    finish(place, load, turn).await
}

/// The same manifests, rendered beforehand, and nothing but `Api::create`.
async fn bare(cluster: &Cluster, rest: &mut Rest, load: Load) -> Outcome<Turn> {
    let place = cluster.place().await?;
    let client = cluster.client().await?;
    let manifests = Arc::new(manifests(load.jobs, &place.policy()?)?);
    warm(&client, &place, load.submitters).await?;
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

async fn finish(place: Place, load: Load, turn: Turn) -> Outcome<Turn> {
    let there = place.jobs().list_metadata(&kube::api::ListParams::default()).await?.items.len();
    if there != load.jobs {
        return Err(format!("{} jobs were to be made, and {there} are there", load.jobs).into());
    }
    place.remove().await?;
    Ok(turn)
}

pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// Each submitter creates one job after the other, until there are enough.
pub(crate) async fn run<F>(load: Load, submit: impl Fn(usize) -> F + Clone + Send + 'static) -> Outcome<Turn>
where
    F: Future<Output = Result<(), Failed>> + Send + 'static,
{
    let next = Arc::new(AtomicUsize::new(0));
    let mut submitters = JoinSet::new();
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
    Ok(Turn { jobs_a_second: times.len() as f64 / seconds, p50: percentile(50), p99: percentile(99) })
}
