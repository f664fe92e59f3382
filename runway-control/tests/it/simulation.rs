//! Simulates thousands of random histories, each from a seed.
//!
//! A history contains submissions with and without keys, callers that disconnect, and jobs that finish, are
//! cancelled, or are deleted without Runway. Foreign jobs with extreme amounts come and go. Responses are lost, watches are interrupted, and the simulated
//! process crashes between any two steps and restarts. After each history, the ledger must equal the cluster.
//!
//! A failed seed is printed. `RUNWAY_SIMULATION_SEED=N` runs only the history of seed N.
//! `RUNWAY_SIMULATIONS=N` runs N histories.

use crate::harness::start_on;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use runway_control::backend::CreateError;
use runway_control::fake::{
    Call, CrashPoint, EventFault, FakeBackend, FakeCluster, FakeJob, Fault, FaultPlan, JobTimings, NoFaults,
    Response,
};
use runway_control::{ControlPlane, Env, JobSnapshot, Settings, SubmitError, Submitted};
use runway_core::digest::Digest;
use runway_core::status::Status;
use runway_core::units::{GpuCount, Seconds, Timestamp};
use runway_core::{JobId, JobSpec};
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::jobs::spec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const TENANT_LIMIT: (u64, usize) = (4, 3);
const CLUSTER_LIMIT: (u64, usize) = (6, 6);

struct RandomFaults {
    rng: StdRng,
    /// The factor for the probability of each fault, in percent. 0 means no faults.
    severity: u32,
    /// The limits that were exceeded at some time.
    exceeded: Arc<Mutex<Vec<String>>>,
}

impl RandomFaults {
    fn happens(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..10_000) < percent * self.severity
    }

    fn millis(&mut self, max: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(0..=max))
    }
}

impl FaultPlan for RandomFaults {
    fn call(&mut self, call: Call) -> Fault {
        let mut fault =
            Fault { request_delay: self.millis(200), response_delay: self.millis(200), ..Fault::default() };
        if self.happens(10) {
            // A slow request, up to the request timeout of an API server.
            fault.request_delay = self.millis(59_000);
        }
        fault.response = match self.rng.random_range(0..100) {
            0..8 if self.happens(100) => Response::Lost,
            8..16 if self.happens(100) => Response::RequestLost,
            16..20 if self.happens(100) => Response::Unreachable,
            20..23 if self.happens(100) && matches!(call, Call::Create(_)) => Response::Rejected,
            _ => Response::Delivered,
        };
        if self.happens(3) {
            let points = [CrashPoint::BeforeSending, CrashPoint::WhileSent, CrashPoint::BeforeResponse];
            fault.crash = Some(points[self.rng.random_range(0..points.len())]);
        }
        fault
    }

    fn event(&mut self) -> EventFault {
        match self.rng.random_range(0..100) {
            0..10 if self.happens(100) => EventFault::Late(self.millis(20_000)),
            10..20 if self.happens(100) => EventFault::Twice,
            20..24 if self.happens(100) => EventFault::Cut,
            24..30 if self.happens(100) => EventFault::Expired,
            _ => EventFault::None,
        }
    }

    fn timings(&mut self, _: JobId) -> JobTimings {
        let termination_time = if self.rng.random_bool(0.5) { Duration::ZERO } else { self.millis(30_000) };
        JobTimings {
            queue_time: self.millis(20_000),
            run_time: self.millis(240_000),
            termination_time,
            ttl: self.millis(300_000),
            succeeds: self.rng.random_bool(0.7),
        }
    }

    fn on_created(&mut self, jobs: &BTreeMap<JobId, FakeJob>) {
        self.exceeded.lock().unwrap().extend(exceeded(jobs));
    }
}

/// Returns the exceeded limits, of each tenant and of the cluster. Untracked jobs and foreign jobs, which have
/// no connection, are not counted.
fn exceeded(jobs: &BTreeMap<JobId, FakeJob>) -> Vec<String> {
    let is_counted = |job: &&FakeJob| !job.untracked && job.connection_id > 0;
    let live = || jobs.values().filter(|job| job.snapshot.status.occupies_resources).filter(is_counted);
    let held = |tenant: Option<&str>| {
        let mine = live().filter(|job| tenant.is_none_or(|tenant| job.snapshot.tenant.as_str() == tenant));
        mine.fold((0, 0), |(gpus, jobs), job| (gpus + job.snapshot.gpus.units(), jobs + 1))
    };
    let limits = [
        (None, CLUSTER_LIMIT),
        (Some("a"), TENANT_LIMIT),
        (Some("b"), TENANT_LIMIT),
        (Some("c"), TENANT_LIMIT),
    ];
    let beyond = |(tenant, limit): &(Option<&str>, (u64, usize))| {
        let held = held(*tenant);
        (held.0 > limit.0 || held.1 > limit.1).then(|| format!("{tenant:?} holds {held:?} of {limit:?}"))
    };
    limits.iter().filter_map(beyond).collect()
}

struct Process {
    backend: FakeBackend,
    plane: ControlPlane,
}

/// The times at which the processes became ready.
type ReadyTimes = Arc<Mutex<Vec<Timestamp>>>;

fn start(cluster: &FakeCluster, env: &Arc<VirtualEnv>, ready_times: &ReadyTimes) -> Process {
    let (backend, env) = (cluster.connect(), Arc::clone(env));
    let plane = start_on(backend.clone(), Arc::clone(&env) as _, Settings::default());
    let (waiting_plane, ready_times) = (plane.clone(), Arc::clone(ready_times));
    tokio::spawn(async move {
        waiting_plane.ready().await;
        ready_times.lock().unwrap().push(env.now());
    });
    Process { backend, plane }
}

/// The result that one caller received.
struct SubmitResult {
    has_key: bool,
    digest: Digest,
    result: Result<Submitted, SubmitError>,
}

async fn run_history(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let env = VirtualEnv::new(seed ^ 1);
    let severity = [0, 10, 50, 100][rng.random_range(0..4)];
    let exceeded = Arc::default();
    let faults =
        RandomFaults { rng: StdRng::seed_from_u64(seed ^ 2), severity, exceeded: Arc::clone(&exceeded) };
    let cluster = FakeCluster::with_fault_plan(Arc::clone(&env) as _, Box::new(faults));
    let results = Arc::new(Mutex::new(Vec::new()));
    let ready_times = ReadyTimes::default();
    let mut process = start(&cluster, &env, &ready_times);
    let mut foreign_ids = BTreeSet::new();

    for _ in 0..rng.random_range(20..60) {
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..4_000))).await;
        if !process.backend.is_alive() {
            process = start(&cluster, &env, &ready_times);
        }
        match rng.random_range(0..100) {
            0..70 => submit(&process, &mut rng, &results),
            70..80 => {
                let created_jobs = cluster.created_jobs();
                if !created_jobs.is_empty() {
                    let id = created_jobs[rng.random_range(0..created_jobs.len())].id;
                    let plane = process.plane.clone();
                    tokio::spawn(async move { plane.cancel(id).await });
                }
            }
            80..88 => {
                let jobs = cluster.jobs();
                if let Some(id) = jobs.keys().nth(rng.random_range(0..jobs.len().max(1))) {
                    cluster.delete(*id, Duration::from_millis(rng.random_range(0..20_000)));
                }
            }
            88..91 if severity > 0 => process.backend.kill(),
            91..95 => {
                foreign_ids.insert(insert_foreign_job(&cluster, &env, &mut rng));
            }
            _ => {}
        }
    }

    // No more faults: pending creations settle, and the ledger must equal the cluster.
    cluster.set_fault_plan(Box::new(NoFaults));
    if !process.backend.is_alive() {
        process = start(&cluster, &env, &ready_times);
    }
    let plane = &process.plane;
    plane.ready().await;
    tokio::time::sleep(Duration::from_secs(160)).await;
    let jobs = cluster.jobs();
    let holding: Vec<_> =
        jobs.iter().filter(|(_, job)| job.snapshot.status.occupies_resources).map(|(id, _)| *id).collect();
    assert_eq!(plane.held_job_ids(), holding, "the ledger does not equal the cluster");
    assert_eq!(plane.cluster_usage().1, 0, "a creation is still pending");
    for (id, job) in &jobs {
        assert_eq!(plane.job(*id).expect("the job has a record").snapshot, job.snapshot);
    }

    // All jobs finish, and all holds are released.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(plane.held_job_ids(), []);
    let usage = plane.cluster_usage();
    assert_eq!((usage.0.gpus, usage.0.jobs, usage.1), (0, 0, 0));
    for tenant in ["a", "b", "c"] {
        assert_eq!((plane.usage(tenant).held.gpus, plane.usage(tenant).held.jobs), (0, 0));
    }
    assert_eq!(*exceeded.lock().unwrap(), Vec::<String>::new());
    let ready_times = ready_times.lock().unwrap();
    check_history(&cluster, plane, &results.lock().unwrap(), &ready_times, &foreign_ids);
}

/// Creates a job without Runway, with amounts that the gate would never admit. It is deleted soon after.
fn insert_foreign_job(cluster: &FakeCluster, env: &Arc<VirtualEnv>, rng: &mut StdRng) -> JobId {
    let id = JobId::from_random(env.random());
    let gpus = [0, 1, i64::MAX.unsigned_abs(), u64::MAX][rng.random_range(0..4)];
    let tenant = ["a", "b", "c", "d"][rng.random_range(0..4)];
    cluster.insert_job(JobSnapshot {
        id,
        name: "foreign".parse().unwrap(),
        tenant: tenant.parse().unwrap(),
        class: None,
        gpus: GpuCount::new(gpus),
        timeout: Seconds::new(u64::MAX),
        grace: Seconds::new(u64::MAX),
        created_at: env.now(),
        quote: None,
        spec_digest: None,
        status: Status::created(),
    });
    cluster.delete(id, Duration::from_millis(rng.random_range(0..30_000)));
    id
}

fn check_history(
    cluster: &FakeCluster,
    plane: &ControlPlane,
    results: &[SubmitResult],
    ready_times: &[Timestamp],
    foreign_ids: &BTreeSet<JobId>,
) {
    let created_jobs = cluster.created_jobs();
    let ids: BTreeSet<_> = created_jobs.iter().map(|landing| landing.id).collect();
    for result in results {
        match &result.result {
            Ok(submitted) => {
                let job = &submitted.job().snapshot;
                assert!(ids.contains(&job.id), "{} was reported but never created", job.id);
                assert_eq!(job.spec_digest, Some(result.digest), "{} has another spec", job.id);
            }
            // Without a key, each submission has its own id. With a key, another submission may have created
            // the job.
            Err(SubmitError::Create {
                id,
                error: CreateError::Rejected { .. } | CreateError::Unavailable(_),
            }) if !result.has_key => {
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
    for (i, later) in created_jobs.iter().enumerate() {
        for earlier in created_jobs[..i].iter().filter(|first| first.id == later.id) {
            let removed_at =
                earlier.removed_at.expect("the earlier job was removed before the later one was created");
            let was_lost_by_restart =
                ready_times.iter().any(|counted| (removed_at..=later.created_at).contains(counted));
            let was_late = later.sent_at < removed_at;
            let was_unanswered = later.sent_at < earlier.sent_at.saturating_add(Seconds::new(15));
            assert!(
                was_lost_by_restart || was_late || was_unanswered,
                "{} was created twice: {earlier:?} {later:?}",
                later.id
            );
        }
    }
    // The last process has a record of every job that existed after it became ready. A foreign job can come and
    // go while the watch is interrupted.
    let last_ready = ready_times.last().copied().unwrap();
    for created in created_jobs.iter().filter(|created| !foreign_ids.contains(&created.id)) {
        if created.removed_at.is_none_or(|left| left > last_ready) {
            assert!(plane.job(created.id).is_some_and(|job| job.gone), "{} has no record", created.id);
        }
    }
}

fn submit(process: &Process, rng: &mut StdRng, results: &Arc<Mutex<Vec<SubmitResult>>>) {
    let tenant = ["a", "b", "c"][rng.random_range(0..3)];
    let number = rng.random_range(0..6);
    // The key and the name depend only on `number`. One in ten submissions requests another number of GPUs,
    // so its key may belong to another spec.
    let gpus = if rng.random_bool(0.1) { 4 } else { number % 3 };
    let spec: JobSpec = spec(tenant, &format!("job-{number}"), gpus);
    let key = rng.random_bool(0.6).then(|| format!("key-{number}").parse().unwrap());
    let digest = spec.digest();
    let (plane, results) = (process.plane.clone(), Arc::clone(results));
    let task = tokio::spawn(async move {
        let result = plane.submit(spec.into(), key.as_ref()).await;
        results.lock().unwrap().push(SubmitResult { has_key: key.is_some(), digest, result });
    });
    if rng.random_bool(0.1) {
        // The caller disconnects.
        let timeout = Duration::from_millis(rng.random_range(0..500));
        tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            task.abort();
        });
    }
}

/// Prints the seed if the test panics.
struct PrintSeedOnPanic(u64);

impl Drop for PrintSeedOnPanic {
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
fn ledger_matches_the_cluster_after_random_faults() {
    let seeds = match from_environment("RUNWAY_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..from_environment("RUNWAY_SIMULATIONS").unwrap_or(3_000),
    };
    for seed in seeds {
        let _guard = PrintSeedOnPanic(seed);
        in_virtual_time(run_history(seed));
    }
}

#[test]
fn equal_seeds_give_equal_histories() {
    let events = |seed| {
        in_virtual_time(async move {
            let env = VirtualEnv::new(seed);
            let faults =
                RandomFaults { rng: StdRng::seed_from_u64(seed), severity: 100, exceeded: Arc::default() };
            let cluster = FakeCluster::with_fault_plan(Arc::clone(&env) as _, Box::new(faults));
            let process = start(&cluster, &env, &ReadyTimes::default());
            let results = Arc::new(Mutex::new(Vec::new()));
            let mut rng = StdRng::seed_from_u64(seed);
            for _ in 0..40 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                submit(&process, &mut rng, &results);
            }
            tokio::time::sleep(Duration::from_secs(600)).await;
            cluster.created_jobs()
        })
    };
    for seed in 0..20 {
        assert_eq!(events(seed), events(seed));
    }
    assert_ne!(events(1), events(2));
}
