//! Simulates thousands of random histories, each from a seed.
//!
//! A history contains submissions with and without keys, callers that disconnect, and jobs that finish, are
//! cancelled, or are deleted without Runway. Responses are lost, watches are interrupted, and the process
//! crashes between any two steps and restarts. After each history, the ledger must equal the cluster.
//!
//! A failed seed is printed. `RUNWAY_SIMULATION_SEED=N` runs only the history of seed N.
//! `RUNWAY_SIMULATIONS=N` runs N histories.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runway_control::backend::CreateError;
use runway_control::fake::{
    Answer, Call, Calm, Chaos, CrashPoint, EventFault, FakeBackend, FakeCluster, FakeJob, Fault, Life,
};
use runway_control::{ControlPlane, Settings, SubmitError, Submitted, Surroundings};
use runway_core::digest::Digest;
use runway_core::units::{Seconds, Timestamp};
use runway_core::{JobId, JobSpec};
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::jobs::spec;
use runway_testing::policies;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TENANT: (u64, usize) = (4, 3);
const CLUSTER: (u64, usize) = (6, 6);

struct Storm {
    dice: StdRng,
    /// The probability of faults, from 0 to 100.
    badness: u32,
    /// The limits that were exceeded at some time.
    exceeded: Arc<Mutex<Vec<String>>>,
}

impl Storm {
    fn happens(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..10_000) < percent * self.badness
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.dice.random_range(0..=most))
    }
}

impl Chaos for Storm {
    fn call(&mut self, call: Call) -> Fault {
        let mut fault = Fault { there: self.millis(200), back: self.millis(200), ..Fault::default() };
        if self.happens(10) {
            // A slow request, up to the request timeout of an API server.
            fault.there = self.millis(59_000);
        }
        fault.answer = match self.dice.random_range(0..100) {
            0..8 if self.happens(100) => Answer::Lost,
            8..16 if self.happens(100) => Answer::NeverArrived,
            16..20 if self.happens(100) => Answer::Unreachable,
            20..23 if self.happens(100) && matches!(call, Call::Create(_)) => Answer::Rejected,
            _ => Answer::True,
        };
        if self.happens(3) {
            let points = [CrashPoint::BeforeSending, CrashPoint::WhileSent, CrashPoint::BeforeAnswer];
            fault.crash = Some(points[self.dice.random_range(0..points.len())]);
        }
        fault
    }

    fn event(&mut self) -> EventFault {
        match self.dice.random_range(0..100) {
            0..10 if self.happens(100) => EventFault::Late(self.millis(20_000)),
            10..20 if self.happens(100) => EventFault::Twice,
            20..24 if self.happens(100) => EventFault::Cut,
            24..30 if self.happens(100) => EventFault::Expired,
            _ => EventFault::None,
        }
    }

    fn life(&mut self, _: JobId) -> Life {
        let lingers = if self.dice.random_bool(0.5) { Duration::ZERO } else { self.millis(30_000) };
        Life {
            waits: self.millis(20_000),
            runs: self.millis(240_000),
            lingers,
            ttl: self.millis(300_000),
            succeeds: self.dice.random_bool(0.7),
        }
    }

    fn landed(&mut self, jobs: &BTreeMap<JobId, FakeJob>) {
        self.exceeded.lock().unwrap().extend(exceeded(jobs));
    }
}

/// Returns the exceeded limits, of each tenant and of the cluster. Untracked jobs are not counted.
fn exceeded(jobs: &BTreeMap<JobId, FakeJob>) -> Vec<String> {
    let live = || jobs.values().filter(|job| job.seen.status.holds && !job.late);
    let held = |tenant: Option<&str>| {
        let mine = live().filter(|job| tenant.is_none_or(|tenant| job.seen.tenant.as_str() == tenant));
        mine.fold((0, 0), |(gpus, jobs), job| (gpus + job.seen.gpus.units(), jobs + 1))
    };
    let limits = [(None, CLUSTER), (Some("a"), TENANT), (Some("b"), TENANT), (Some("c"), TENANT)];
    let beyond = |(whose, limit): &(Option<&str>, (u64, usize))| {
        let held = held(*whose);
        (held.0 > limit.0 || held.1 > limit.1).then(|| format!("{whose:?} holds {held:?} of {limit:?}"))
    };
    limits.iter().filter_map(beyond).collect()
}

struct Process {
    backend: FakeBackend,
    plane: ControlPlane,
}

/// The times at which the processes became ready.
type Counted = Arc<Mutex<Vec<Timestamp>>>;

fn start(cluster: &FakeCluster, surroundings: &Arc<VirtualEnv>, counted: &Counted) -> Process {
    let backend = cluster.connect();
    let settings = Settings::default();
    let surroundings: Arc<dyn Surroundings> = Arc::clone(surroundings) as _;
    let plane = ControlPlane::new(
        Arc::new(backend.clone()),
        policies::parse(policies::SMALL),
        Arc::clone(&surroundings),
        settings,
    );
    tokio::spawn(plane.clone().run());
    let (counting, counted) = (plane.clone(), Arc::clone(counted));
    tokio::spawn(async move {
        counting.ready().await;
        counted.lock().unwrap().push(surroundings.now());
    });
    Process { backend, plane }
}

/// The result that one caller received.
struct Told {
    keyed: bool,
    digest: Digest,
    answer: Result<Submitted, SubmitError>,
}

async fn history(seed: u64) {
    let mut dice = StdRng::seed_from_u64(seed);
    let surroundings = VirtualEnv::new(seed ^ 1);
    let badness = [0, 10, 50, 100][dice.random_range(0..4)];
    let exceeded = Arc::default();
    let storm = Storm { dice: StdRng::seed_from_u64(seed ^ 2), badness, exceeded: Arc::clone(&exceeded) };
    let cluster = FakeCluster::with_chaos(Arc::clone(&surroundings) as _, Box::new(storm));
    let told = Arc::new(Mutex::new(Vec::new()));
    let counted = Counted::default();
    let mut process = start(&cluster, &surroundings, &counted);

    for _ in 0..dice.random_range(20..60) {
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..4_000))).await;
        if !process.backend.is_alive() {
            process = start(&cluster, &surroundings, &counted);
        }
        match dice.random_range(0..100) {
            0..70 => submit(&process, &mut dice, &told),
            70..80 => {
                let landed = cluster.landed();
                if !landed.is_empty() {
                    let id = landed[dice.random_range(0..landed.len())].id;
                    let plane = process.plane.clone();
                    tokio::spawn(async move { plane.cancel(id).await });
                }
            }
            80..88 => {
                let jobs = cluster.jobs();
                if let Some(id) = jobs.keys().nth(dice.random_range(0..jobs.len().max(1))) {
                    cluster.delete(*id, Duration::from_millis(dice.random_range(0..20_000)));
                }
            }
            88..91 if badness > 0 => process.backend.kill(),
            _ => {}
        }
    }

    // No more faults: pending creations settle, and the ledger must equal the cluster.
    cluster.set_chaos(Box::new(Calm));
    if !process.backend.is_alive() {
        process = start(&cluster, &surroundings, &counted);
    }
    let plane = &process.plane;
    plane.ready().await;
    tokio::time::sleep(Duration::from_secs(160)).await;
    let jobs = cluster.jobs();
    let holding: Vec<_> = jobs.iter().filter(|(_, job)| job.seen.status.holds).map(|(id, _)| *id).collect();
    assert_eq!(plane.held(), holding, "the ledger does not equal the cluster");
    assert_eq!(plane.cluster_usage().1, 0, "a creation is still pending");
    for (id, job) in &jobs {
        assert_eq!(plane.job(*id).expect("the job has a record").seen, job.seen);
    }

    // All jobs finish, and all holds are released.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(plane.held(), []);
    let usage = plane.cluster_usage();
    assert_eq!((usage.0.gpus, usage.0.jobs, usage.1), (0, 0, 0));
    for tenant in ["a", "b", "c"] {
        assert_eq!((plane.usage(tenant).held.gpus, plane.usage(tenant).held.jobs), (0, 0));
    }
    assert_eq!(*exceeded.lock().unwrap(), Vec::<String>::new());
    check_history(&cluster, plane, &told.lock().unwrap(), &counted.lock().unwrap());
}

fn check_history(cluster: &FakeCluster, plane: &ControlPlane, told: &[Told], counted: &[Timestamp]) {
    let landed = cluster.landed();
    let ids: BTreeSet<_> = landed.iter().map(|landing| landing.id).collect();
    for told in told {
        match &told.answer {
            Ok(submitted) => {
                let job = &submitted.job().seen;
                assert!(ids.contains(&job.id), "{} was reported but never created", job.id);
                assert_eq!(job.spec_digest, Some(told.digest), "{} has another spec", job.id);
            }
            // With a key, another submission may have created the job.
            Err(SubmitError::Create {
                id,
                error: CreateError::Rejected { .. } | CreateError::Unavailable(_),
            }) if !told.keyed => {
                assert!(!ids.contains(id), "{id} was created although its submission failed");
            }
            Err(_) => {}
        }
    }
    // A key creates one job, with three exceptions:
    //
    // - The process that had the record of the first job was restarted after the job was removed.
    // - The second create request was sent before the first job was removed, and arrived late.
    // - The first job was removed before a response or a watch event arrived, so the request was sent again.
    for (i, second) in landed.iter().enumerate() {
        for first in landed[..i].iter().filter(|first| first.id == second.id) {
            let left = first.left.expect("the earlier job was removed before the later one was created");
            let was_forgotten = counted.iter().any(|counted| (left..=second.at).contains(counted));
            let was_late = second.sent < left;
            let was_unanswered = second.sent < first.sent.saturating_add(Seconds::new(15));
            assert!(
                was_forgotten || was_late || was_unanswered,
                "{} was created twice: {first:?} {second:?}",
                second.id
            );
        }
    }
    // The last process has a record of every job that existed after it became ready.
    let last = counted.last().copied().unwrap();
    for landing in &landed {
        if landing.left.is_none_or(|left| left > last) {
            assert!(plane.job(landing.id).is_some_and(|job| job.gone), "{} has no record", landing.id);
        }
    }
}

fn submit(process: &Process, dice: &mut StdRng, told: &Arc<Mutex<Vec<Told>>>) {
    let tenant = ["a", "b", "c"][dice.random_range(0..3)];
    let number = dice.random_range(0..6);
    // One in ten submissions has another spec with the same key.
    let gpus = if dice.random_bool(0.1) { 4 } else { number % 3 };
    let spec: JobSpec = spec(tenant, &format!("job-{number}"), gpus);
    let key = dice.random_bool(0.6).then(|| format!("key-{number}").parse().unwrap());
    let digest = spec.digest();
    let (plane, told) = (process.plane.clone(), Arc::clone(told));
    let waiting = tokio::spawn(async move {
        let answer = plane.submit(spec.into(), key.as_ref()).await;
        told.lock().unwrap().push(Told { keyed: key.is_some(), digest, answer });
    });
    if dice.random_bool(0.1) {
        // The caller disconnects.
        let patience = Duration::from_millis(dice.random_range(0..500));
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            waiting.abort();
        });
    }
}

/// Prints the seed if the test panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat: RUNWAY_SIMULATION_SEED={} cargo test -p runway-control simulation", self.0);
        }
    }
}

fn from_environment(name: &str) -> Option<u64> {
    #[expect(clippy::disallowed_methods, reason = "selects the histories to run")]
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

#[test]
fn whatever_happens_everything_is_accounted_for() {
    let seeds = match from_environment("RUNWAY_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("RUNWAY_SIMULATIONS").unwrap_or(3_000),
    };
    for seed in seeds {
        let _told = Seed(seed);
        in_virtual_time(history(seed));
    }
}

#[test]
fn a_seed_makes_the_same_history_again() {
    let events = |seed| {
        in_virtual_time(async move {
            let surroundings = VirtualEnv::new(seed);
            let storm = Storm { dice: StdRng::seed_from_u64(seed), badness: 100, exceeded: Arc::default() };
            let cluster = FakeCluster::with_chaos(Arc::clone(&surroundings) as _, Box::new(storm));
            let process = start(&cluster, &surroundings, &Counted::default());
            let told = Arc::new(Mutex::new(Vec::new()));
            let mut dice = StdRng::seed_from_u64(seed);
            for _ in 0..40 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                submit(&process, &mut dice, &told);
            }
            tokio::time::sleep(Duration::from_secs(600)).await;
            cluster.landed()
        })
    };
    for seed in 0..20 {
        assert_eq!(events(seed), events(seed));
    }
    assert_ne!(events(1), events(2));
}
