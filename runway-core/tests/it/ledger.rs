//! Compares the ledger with a model of the ledger and the cluster, for random events that are lost,
//! repeated and reordered.

use proptest::prelude::*;
use runway_core::quota::{
    Hold, HoldExpiry, HoldRequest, HoldState, Ledger, LedgerError, ListToken, ObserveOutcome, ObservedHold,
    QuotaExceeded, QuotaKind, QuotaLimits, Usage,
};
use runway_core::units::{GpuCount, Seconds, Timestamp};
use runway_core::{HashSeed, JobId, Tenant};
use std::collections::{BTreeMap, BTreeSet};

const LIMITS: QuotaLimits =
    QuotaLimits { tenant: Usage { gpus: 6, jobs: 4 }, cluster: Usage { gpus: 10, jobs: 8 } };

#[derive(Debug, Clone)]
enum Event {
    /// A submission passes the gate, if the quota allows it.
    Reserve { id: u8, tenant: u8, gpus: u64 },
    /// The cluster creates the job. The response may be lost.
    ApplyCreate { id: u8 },
    /// The response arrives, possibly twice.
    Confirm { id: u8 },
    /// The create request fails definitively.
    Abort { id: u8 },
    /// The job finishes and no longer uses resources.
    Finish { id: u8 },
    /// The watch reports the end of a job, possibly late, repeatedly or never.
    Release { id: u8 },
    /// The watch reports a running job.
    Observe { id: u8 },
    /// A list starts. The model keeps the current state of the cluster as its snapshot.
    BeginList,
    /// The list arrives. It contains the state at its start or the current state, and each job once or twice.
    Reconcile { stale: bool, twice: bool },
    /// The process that holds the ledger crashes, restarts and lists the cluster.
    Crash,
}

fn event() -> impl Strategy<Value = Event> {
    let id = 0u8..14;
    prop_oneof![
        6 => (id.clone(), 0u8..3, 0u64..5).prop_map(|(id, tenant, gpus)| Event::Reserve { id, tenant, gpus }),
        5 => id.clone().prop_map(|id| Event::ApplyCreate { id }),
        5 => id.clone().prop_map(|id| Event::Confirm { id }),
        2 => id.clone().prop_map(|id| Event::Abort { id }),
        4 => id.clone().prop_map(|id| Event::Finish { id }),
        4 => id.clone().prop_map(|id| Event::Release { id }),
        2 => id.prop_map(|id| Event::Observe { id }),
        2 => Just(Event::BeginList),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(stale, twice)| Event::Reconcile { stale, twice }),
        1 => Just(Event::Crash),
    ]
}

fn job_id(n: u8) -> JobId {
    JobId::from_random(u128::from(n))
}

fn tenant(n: u8) -> Tenant {
    format!("tenant-{n}").parse().unwrap()
}

/// A hold in the model.
#[derive(Debug, Clone, PartialEq)]
struct Held {
    tenant: u8,
    gpus: u64,
    live: bool,
}

struct Model {
    ledger: Ledger,
    /// The holds that the ledger should have.
    held: BTreeMap<u8, Held>,
    /// The running jobs, with tenant and GPUs.
    cluster: BTreeMap<u8, (u8, u64)>,
    /// The ids of create requests that neither took effect nor failed.
    in_flight: BTreeSet<u8>,
    list: Option<OpenList>,
    now: u64,
}

struct OpenList {
    token: ListToken,
    snapshot: BTreeMap<u8, (u8, u64)>,
    /// The holds that were live when the list started.
    live_at_start: BTreeSet<u8>,
    released_since_start: BTreeSet<u8>,
}

impl Model {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(HashSeed(5, 6)),
            held: BTreeMap::new(),
            cluster: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            list: None,
            now: 1_000_000,
        }
    }

    fn usage(&self, of: Option<u8>) -> Usage {
        let mine = |held: &&Held| of.is_none_or(|tenant| held.tenant == tenant);
        let held: Vec<_> = self.held.values().filter(mine).collect();
        Usage { gpus: held.iter().map(|held| held.gpus).sum(), jobs: held.len() as u64 }
    }

    fn observed(cluster: &BTreeMap<u8, (u8, u64)>, twice: bool, now: u64) -> Vec<ObservedHold> {
        let once = cluster.iter().map(|(id, (owner, gpus))| ObservedHold {
            id: job_id(*id),
            tenant: tenant(*owner),
            gpus: GpuCount::new(*gpus),
            max_duration: Seconds::new(600),
            deadline: Timestamp::from_seconds(now + 600),
        });
        let mut all: Vec<_> = once.collect();
        if twice {
            let again: Vec<_> = all.iter().rev().cloned().collect();
            all.extend(again);
        }
        all
    }

    fn step(&mut self, event: &Event) -> Result<(), TestCaseError> {
        self.now += 1;
        let now = Timestamp::from_seconds(self.now);
        match *event {
            Event::Reserve { id, tenant: owner, gpus } => {
                let (mine, all) = (self.usage(Some(owner)), self.usage(None));
                let shortages = LIMITS.exceeded(mine, all, GpuCount::new(gpus));
                let fits = shortages.is_empty();
                // The model skips an id that is in use, because random ids are unique. An id can be reused
                // after its job has finished, as with an idempotency key.
                if self.cluster.contains_key(&id) || self.in_flight.contains(&id) {
                    return Ok(());
                }
                for shortage in &shortages {
                    let ways = self.ledger.blocking_holds(tenant(owner).as_str(), shortage);
                    prop_assert_eq!(ways, self.expected_blocking_holds(owner, shortage));
                }
                let request = HoldRequest {
                    tenant: tenant(owner),
                    gpus: GpuCount::new(gpus),
                    max_duration: Seconds::new(600),
                };
                if !fits {
                    return Ok(());
                }
                let found = self.ledger.reserve(job_id(id), request, now);
                if self.held.contains_key(&id) {
                    prop_assert_eq!(found, Err(LedgerError::AlreadyHeld { id: job_id(id) }));
                } else {
                    prop_assert_eq!(found, Ok(()));
                    self.held.insert(id, Held { tenant: owner, gpus, live: false });
                    self.in_flight.insert(id);
                }
            }
            Event::ApplyCreate { id } => {
                if self.in_flight.remove(&id) {
                    let held = &self.held[&id];
                    self.cluster.insert(id, (held.tenant, held.gpus));
                }
            }
            Event::Confirm { id } => {
                // A job is confirmed only after its create request took effect.
                if self.in_flight.contains(&id) {
                    return Ok(());
                }
                let found = self.ledger.confirm(job_id(id), now);
                match self.held.get_mut(&id) {
                    Some(held) => {
                        prop_assert_eq!(found, Ok(()));
                        held.live = true;
                    }
                    None => prop_assert_eq!(found, Err(LedgerError::NotHeld { id: job_id(id) })),
                }
            }
            Event::Abort { id } => {
                if self.in_flight.remove(&id) {
                    prop_assert!(self.ledger.abort(job_id(id)).unwrap().is_some());
                    self.remove_hold(id);
                } else if self.held.get(&id).is_some_and(|held| held.live) {
                    prop_assert_eq!(
                        self.ledger.abort(job_id(id)),
                        Err(LedgerError::JobExists { id: job_id(id) })
                    );
                } else if !self.held.contains_key(&id) {
                    prop_assert_eq!(self.ledger.abort(job_id(id)), Ok(None));
                }
            }
            Event::Finish { id } => drop(self.cluster.remove(&id)),
            Event::Release { id } => {
                // A hold is released only after the job has finished.
                if self.cluster.contains_key(&id) || self.in_flight.contains(&id) {
                    return Ok(());
                }
                let found = self.ledger.release(job_id(id));
                prop_assert_eq!(found.is_some(), self.held.contains_key(&id));
                self.remove_hold(id);
            }
            Event::Observe { id } => {
                let Some(&(owner, gpus)) = self.cluster.get(&id) else { return Ok(()) };
                let shown = BTreeMap::from([(id, (owner, gpus))]);
                let found = self.ledger.observe(Self::observed(&shown, false, self.now).swap_remove(0));
                let expected = match self.held.get(&id) {
                    None => ObserveOutcome::Adopted,
                    Some(held) if held.live => ObserveOutcome::AlreadyHeld,
                    Some(_) => ObserveOutcome::Confirmed,
                };
                prop_assert_eq!(found, expected);
                self.held.insert(id, Held { tenant: owner, gpus, live: true });
            }
            Event::BeginList => {
                let live_then = self.held.iter().filter(|(_, held)| held.live).map(|(id, _)| *id).collect();
                self.list = Some(OpenList {
                    token: self.ledger.begin_list(),
                    snapshot: self.cluster.clone(),
                    live_at_start: live_then,
                    released_since_start: BTreeSet::new(),
                });
            }
            Event::Reconcile { stale, twice } => {
                let Some(open) = self.list.take() else { return Ok(()) };
                let shown = if stale { open.snapshot } else { self.cluster.clone() };
                let drift =
                    self.ledger.reconcile(open.token, Self::observed(&shown, twice, self.now)).unwrap();
                let mut expected = self.held.clone();
                expected.retain(|id, held| {
                    let was_live = open.live_at_start.contains(id) && !open.released_since_start.contains(id);
                    !held.live || shown.contains_key(id) || !was_live
                });
                for (id, (owner, gpus)) in &shown {
                    if !open.released_since_start.contains(id) {
                        let seen = Held { tenant: *owner, gpus: *gpus, live: true };
                        expected.entry(*id).or_insert(seen).live = true;
                    }
                }
                let dropped: Vec<_> =
                    self.held.keys().filter(|id| !expected.contains_key(id)).map(|id| job_id(*id)).collect();
                prop_assert_eq!(drift.dropped.iter().collect::<BTreeSet<_>>(), dropped.iter().collect());
                prop_assert_eq!(drift.adopted.len(), expected.len() + dropped.len() - self.held.len());
                self.held = expected;
            }
            Event::Crash => {
                // A crash loses the requests in flight.
                self.in_flight.clear();
                self.ledger = Ledger::new(HashSeed(7, 8));
                let listing = self.ledger.begin_list();
                self.ledger.reconcile(listing, Self::observed(&self.cluster, false, self.now)).unwrap();
                let live = |(id, (owner, gpus)): (&u8, &(u8, u64))| {
                    (*id, Held { tenant: *owner, gpus: *gpus, live: true })
                };
                self.held = self.cluster.iter().map(live).collect();
                self.list = None;
            }
        }
        self.check()
    }

    /// Returns the holds that block a request. It sorts all holds, unlike the ledger.
    fn expected_blocking_holds(&self, owner: u8, shortage: &QuotaExceeded) -> Vec<HoldExpiry> {
        let of_tenant = matches!(shortage.kind, QuotaKind::TenantGpus | QuotaKind::TenantJobs);
        let of_gpus = matches!(shortage.kind, QuotaKind::TenantGpus | QuotaKind::ClusterGpus);
        let mut holds: Vec<_> = self
            .ledger
            .holds()
            .filter(|(_, hold)| !of_tenant || hold.tenant == tenant(owner))
            .filter(|(_, hold)| !of_gpus || hold.gpus.units() > 0)
            .map(|(id, hold)| HoldExpiry { id, deadline: hold.deadline, gpus: hold.gpus })
            .collect();
        holds.sort_by_key(|hold| (hold.deadline, hold.id));
        let mut missing = i128::from(shortage.excess());
        let frees = |hold: &HoldExpiry| if of_gpus { i128::from(hold.gpus.units()) } else { 1 };
        let enough = holds.iter().position(|hold| {
            missing -= frees(hold);
            missing <= 0
        });
        holds.truncate(enough.map_or(holds.len(), |last| last + 1));
        holds
    }

    fn remove_hold(&mut self, id: u8) {
        self.held.remove(&id);
        if let Some(listing) = &mut self.list {
            listing.released_since_start.insert(id);
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        // The ledger equals the model, and its totals are the sums of its holds.
        let found: BTreeMap<_, _> = self.ledger.holds().map(|(id, hold)| (id, hold.clone())).collect();
        prop_assert_eq!(found.len(), self.held.len());
        for (id, held) in &self.held {
            let hold = &found[&job_id(*id)];
            prop_assert_eq!(&hold.tenant, &tenant(held.tenant));
            prop_assert_eq!(hold.gpus.units(), held.gpus);
            prop_assert_eq!(matches!(hold.state, HoldState::Live(_)), held.live);
        }
        prop_assert_eq!(self.ledger.cluster_usage(), self.usage(None));
        for owner in 0..3 {
            let usage = self.ledger.tenant_usage(tenant(owner).as_str());
            prop_assert_eq!(usage, self.usage(Some(owner)));
            // No limit is exceeded, because every adopted job passed the gate earlier.
            prop_assert!(usage.gpus <= LIMITS.tenant.gpus && usage.jobs <= LIMITS.tenant.jobs);
        }
        let all = self.ledger.cluster_usage();
        prop_assert!(all.gpus <= LIMITS.cluster.gpus && all.jobs <= LIMITS.cluster.jobs);
        // Every running job has a hold, and tenants without holds are removed.
        prop_assert!(self.cluster.keys().all(|id| self.held.contains_key(id)));
        prop_assert_eq!(
            self.ledger.tenants().count(),
            self.held.values().map(|held| held.tenant).collect::<BTreeSet<_>>().len()
        );
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn ledger_matches_model_in_any_history(events in prop::collection::vec(event(), 1..120)) {
        let mut world = Model::new();
        for event in &events {
            world.step(event)?;
        }
    }
}

/// An operation on one of a few ids, with an amount that the gate would never admit.
#[derive(Debug, Clone)]
enum ExtremeStep {
    Observe { id: u8, tenant: u8, gpus: u64 },
    Release { id: u8 },
    List { jobs: Vec<(u8, u8, u64)> },
}

fn extreme_step() -> impl Strategy<Value = ExtremeStep> {
    let gpus = prop_oneof![
        3 => 0u64..9,
        2 => any::<u64>(),
        2 => Just(u64::MAX),
        1 => Just(i64::MAX.unsigned_abs()),
    ];
    let job = (0u8..6, 0u8..3, gpus);
    prop_oneof![
        5 => job.clone().prop_map(|(id, tenant, gpus)| ExtremeStep::Observe { id, tenant, gpus }),
        4 => (0u8..6).prop_map(|id| ExtremeStep::Release { id }),
        2 => prop::collection::vec(job, 0..6).prop_map(|jobs| ExtremeStep::List { jobs }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn totals_equal_the_holds_for_any_amount(steps in prop::collection::vec(extreme_step(), 1..60)) {
        let observed = |(id, owner, gpus): (u8, u8, u64)| ObservedHold {
            id: job_id(id),
            tenant: tenant(owner),
            gpus: GpuCount::new(gpus),
            max_duration: Seconds::new(u64::MAX),
            deadline: Timestamp::from_nanos(u64::MAX),
        };
        let mut ledger = Ledger::new(HashSeed(5, 6));
        for step in steps {
            match step {
                ExtremeStep::Observe { id, tenant, gpus } => {
                    ledger.observe(observed((id, tenant, gpus)));
                }
                ExtremeStep::Release { id } => drop(ledger.release(job_id(id))),
                ExtremeStep::List { jobs } => {
                    let list = ledger.begin_list();
                    ledger.reconcile(list, jobs.into_iter().map(observed)).unwrap();
                }
            }
            let sum = |of: Option<u8>| {
                let of = of.map(tenant);
                let mine = |hold: &&Hold| of.as_ref().is_none_or(|tenant| hold.tenant == *tenant);
                let held: Vec<_> = ledger.holds().map(|(_, hold)| hold).filter(mine).collect();
                let gpus: u128 = held.iter().map(|hold| u128::from(hold.gpus.units())).sum();
                Usage { gpus: u64::try_from(gpus).unwrap_or(u64::MAX), jobs: held.len() as u64 }
            };
            prop_assert_eq!(ledger.cluster_usage(), sum(None));
            for owner in 0..3 {
                prop_assert_eq!(ledger.tenant_usage(tenant(owner).as_str()), sum(Some(owner)));
            }
        }
    }
}

#[test]
fn huge_observed_jobs_leave_no_trace_in_the_totals() {
    let mut ledger = Ledger::new(HashSeed::default());
    let now = Timestamp::from_seconds(1);
    let request =
        || HoldRequest { tenant: tenant(0), gpus: GpuCount::new(8), max_duration: Seconds::new(60) };
    for id in 0..8 {
        ledger.reserve(job_id(id), request(), now).unwrap();
        ledger.confirm(job_id(id), now).unwrap();
    }
    let huge = BTreeMap::from([10, 11, 12].map(|id| (id, (1, i64::MAX.unsigned_abs()))));
    for job in Model::observed(&huge, false, 1) {
        ledger.observe(job);
    }
    assert_eq!(ledger.cluster_usage(), Usage { gpus: u64::MAX, jobs: 11 });
    huge.keys().for_each(|id| drop(ledger.release(job_id(*id))));
    assert_eq!(ledger.cluster_usage(), Usage { gpus: 64, jobs: 8 });
}

#[test]
fn stale_list_is_rejected() {
    let mut ledger = Ledger::new(HashSeed::default());
    let first = ledger.begin_list();
    let second = ledger.begin_list();
    let cluster = BTreeMap::from([(1, (0, 2))]);
    let stale = ledger.reconcile(first, Model::observed(&cluster, false, 1));
    assert_eq!(stale, Err(LedgerError::StaleList));
    assert_eq!(ledger.cluster_usage(), Usage::default());
    assert!(ledger.reconcile(second, Model::observed(&cluster, false, 1)).is_ok());
    assert_eq!(ledger.cluster_usage(), Usage { gpus: 2, jobs: 1 });
}

#[test]
fn changes_during_a_list_are_kept() {
    let mut ledger = Ledger::new(HashSeed::default());
    let now = Timestamp::from_seconds(1);
    let request =
        || HoldRequest { tenant: tenant(0), gpus: GpuCount::new(1), max_duration: Seconds::new(60) };
    for id in [1, 2] {
        ledger.reserve(job_id(id), request(), now).unwrap();
        ledger.confirm(job_id(id), now).unwrap();
    }
    let listing = ledger.begin_list();
    // After the list starts, job 1 ends, job 3 is created, and job 4 is in flight. The list does not include
    // these changes.
    ledger.release(job_id(1));
    ledger.reserve(job_id(3), request(), now).unwrap();
    ledger.confirm(job_id(3), now).unwrap();
    ledger.reserve(job_id(4), request(), now).unwrap();
    let before = BTreeMap::from([(1, (0, 1)), (2, (0, 1))]);
    let drift = ledger.reconcile(listing, Model::observed(&before, false, 1)).unwrap();
    assert!(drift.is_empty(), "{drift:?}");
    let mut held: Vec<_> = ledger.holds().map(|(id, _)| id).collect();
    held.sort_unstable();
    assert_eq!(held, [job_id(2), job_id(3), job_id(4)]);
    // Jobs 2 and 3 were confirmed before the next list, and this list is empty. So the ledger drops their
    // holds. Job 4 is still in flight, so its hold remains.
    let listing = ledger.begin_list();
    let drift = ledger.reconcile(listing, []).unwrap();
    assert_eq!(drift.dropped, [job_id(2), job_id(3)]);
    assert_eq!(ledger.cluster_usage(), Usage { gpus: 1, jobs: 1 });
}

#[test]
fn listed_job_confirms_its_hold() {
    let mut ledger = Ledger::new(HashSeed::default());
    let now = Timestamp::from_seconds(1);
    let request = HoldRequest { tenant: tenant(0), gpus: GpuCount::new(1), max_duration: Seconds::new(60) };
    ledger.reserve(job_id(1), request, now).unwrap();
    let listing = ledger.begin_list();
    let cluster = BTreeMap::from([(1, (0, 1))]);
    assert!(ledger.reconcile(listing, Model::observed(&cluster, false, 1)).unwrap().is_empty());
    // The event for the end of the job is lost. The next list does not contain the job, so the ledger drops
    // the hold.
    let listing = ledger.begin_list();
    assert_eq!(ledger.reconcile(listing, []).unwrap().dropped, [job_id(1)]);
    assert_eq!(ledger.cluster_usage(), Usage::default());
}

#[test]
fn reused_id_keeps_its_new_size_during_a_list() {
    let mut ledger = Ledger::new(HashSeed::default());
    let now = Timestamp::from_seconds(1);
    let request =
        |gpus| HoldRequest { tenant: tenant(0), gpus: GpuCount::new(gpus), max_duration: Seconds::new(60) };
    ledger.reserve(job_id(1), request(1), now).unwrap();
    ledger.confirm(job_id(1), now).unwrap();
    let listing = ledger.begin_list();
    ledger.release(job_id(1));
    ledger.reserve(job_id(1), request(3), now).unwrap();
    ledger.confirm(job_id(1), now).unwrap();
    let before = BTreeMap::from([(1, (0, 1))]);
    assert!(ledger.reconcile(listing, Model::observed(&before, false, 1)).unwrap().is_empty());
    assert_eq!(ledger.cluster_usage(), Usage { gpus: 3, jobs: 1 });
}

#[test]
fn list_corrects_hold_of_wrong_size() {
    let mut ledger = Ledger::new(HashSeed::default());
    let now = Timestamp::from_seconds(1);
    let request = HoldRequest { tenant: tenant(0), gpus: GpuCount::new(1), max_duration: Seconds::new(60) };
    ledger.reserve(job_id(1), request, now).unwrap();
    ledger.confirm(job_id(1), now).unwrap();
    let listing = ledger.begin_list();
    let cluster = BTreeMap::from([(1, (2, 3))]);
    let drift = ledger.reconcile(listing, Model::observed(&cluster, false, 1)).unwrap();
    assert_eq!(drift.corrected, [job_id(1)]);
    assert_eq!(ledger.tenant_usage("tenant-0"), Usage::default());
    assert_eq!(ledger.tenant_usage("tenant-2"), Usage { gpus: 3, jobs: 1 });
}

#[test]
fn quota_limits_are_exact() {
    for (tenant, cluster, gpus, fits) in [
        (Usage { gpus: 4, jobs: 3 }, Usage { gpus: 8, jobs: 7 }, 2, true),
        (Usage { gpus: 5, jobs: 3 }, Usage { gpus: 8, jobs: 7 }, 2, false),
        (Usage { gpus: 4, jobs: 4 }, Usage { gpus: 8, jobs: 7 }, 2, false),
        (Usage { gpus: 4, jobs: 3 }, Usage { gpus: 9, jobs: 7 }, 2, false),
        (Usage { gpus: 4, jobs: 3 }, Usage { gpus: 8, jobs: 8 }, 2, false),
        // A job without GPUs is not affected by an exceeded GPU limit.
        (Usage { gpus: 99, jobs: 3 }, Usage { gpus: 99, jobs: 7 }, 0, true),
    ] {
        let shortages = LIMITS.exceeded(tenant, cluster, GpuCount::new(gpus));
        assert_eq!(shortages.is_empty(), fits, "{tenant:?} {cluster:?} {gpus}");
    }
}
