//! Who holds what: one hold for each job, from the moment it is admitted until nothing of it runs.
//!
//! A hold is `Reserved` while the job is being created and `Live` once it exists. It is released when the job has ended
//! or is gone and none of its pods runs any more; releasing is idempotent, since watches repeat themselves and lose
//! things. The totals of each tenant and of the cluster are always the sums of the holds.
//!
//! Holds are kept in no order: to reserve, confirm and release costs the same however many there are. Only a refusal
//! looks through them, for those that end first; it takes time in their number, and nobody is admitted by it.

mod limits;

pub use limits::{QuotaKind, QuotaLimits, Shortage, Usage};

use crate::hash::{HashSeed, KeyedMap};
use crate::name::{JobId, Tenant};
use crate::units::{GpuCount, Seconds, Timestamp};
use std::collections::{BTreeSet, hash_map::Entry};
use std::num::NonZeroU64;

/// A hold, by when it will be free at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HeldUntil {
    /// Whose hold it is.
    pub id: JobId,
    /// When it will be free at the latest.
    pub deadline: Timestamp,
    /// How many GPUs it has.
    pub gpus: GpuCount,
}

/// What one job holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hold {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its GPUs.
    pub gpus: GpuCount,
    /// How long the job can take from its start to its very end.
    pub term: Seconds,
    /// When it will have ended at the latest.
    pub deadline: Timestamp,
    /// How far it is.
    pub state: HoldState,
}

/// How far a hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// The job is being created; whether it exists is not known.
    Reserved,
    /// The job exists. The number orders confirmations and listings.
    Live(NonZeroU64),
}

/// What a job is about to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRequest {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its GPUs.
    pub gpus: GpuCount,
    /// How long the job can take from its start to its very end.
    pub term: Seconds,
}

/// A job that was seen in the backend and has not let go of what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its GPUs.
    pub gpus: GpuCount,
    /// How long it can take from its start to its very end.
    pub term: Seconds,
    /// When it will have ended at the latest.
    pub deadline: Timestamp,
}

/// A listing of the backend that has begun. Made by [`Ledger::begin_listing`] before the listing is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing(NonZeroU64);

/// What the sight of a job meant for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sighting {
    /// It was held already.
    Known,
    /// Its creation had not been answered yet, and now is.
    Confirmed,
    /// It had no hold, and has one now.
    Adopted,
}

/// What the ledger had wrong, and now has right.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    /// Jobs that exist and had no hold.
    pub adopted: Vec<JobId>,
    /// Holds whose jobs are gone.
    pub dropped: Vec<JobId>,
    /// Holds of another tenant or size than their jobs.
    pub corrected: Vec<JobId>,
}

impl Drift {
    /// Whether the ledger was right.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.adopted.is_empty() && self.dropped.is_empty() && self.corrected.is_empty()
    }
}

/// What can happen to a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HoldEvent {
    /// The job was created.
    Confirm,
    /// The job was definitely not created.
    Abort,
    /// Nothing of the job runs any more.
    Release,
}

/// Why the ledger did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// An id can be held once.
    #[error("job {id} is held already")]
    HeldAlready {
        /// The job.
        id: JobId,
    },
    /// There is no hold to confirm: it was released meanwhile, or never made.
    #[error("job {id} is not held")]
    NotHeld {
        /// The job.
        id: JobId,
    },
    /// The event cannot happen to a hold in this state.
    #[error("job {id} exists, so its hold cannot be given up as that of a job never created")]
    AbortedLive {
        /// The job.
        id: JobId,
    },
    /// Another listing has begun since.
    #[error("another listing has begun since this one")]
    StaleListing,
}

/// The holds of all jobs, and their totals.
#[derive(Debug, Clone)]
pub struct Ledger {
    holds: KeyedMap<JobId, Hold>,
    tenants: KeyedMap<Tenant, Usage>,
    cluster: Usage,
    /// Counts confirmations and listings, so that their order does not hang on a clock.
    sequence: NonZeroU64,
    listing: Option<OpenListing>,
}

#[derive(Debug, Clone)]
struct OpenListing {
    began: NonZeroU64,
    /// What was released since: the listing may still show it.
    released: BTreeSet<JobId>,
}

impl Ledger {
    /// A ledger without holds.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        Self {
            holds: KeyedMap::with_hasher(seed),
            tenants: KeyedMap::with_hasher(seed),
            cluster: Usage::default(),
            sequence: NonZeroU64::MIN,
            listing: None,
        }
    }

    /// Holds what a job will need, if no limit is exceeded by it.
    ///
    /// # Errors
    /// [`LedgerError::HeldAlready`] for an id that has a hold; nothing is changed then.
    ///
    /// ```
    /// use runway_core::quota::{HoldRequest, Ledger, Usage};
    /// use runway_core::units::{GpuCount, Seconds, Timestamp};
    /// use runway_core::HashSeed;
    ///
    /// let mut ledger = Ledger::new(HashSeed(1, 2));
    /// let request = HoldRequest { tenant: "vision".parse()?, gpus: GpuCount::new(2), term: Seconds::new(630) };
    /// let (id, now) = ("4d5c9fa91db4".parse()?, Timestamp::from_seconds(1000));
    /// ledger.reserve(id, request, now)?;
    /// ledger.confirm(id, now)?;
    /// assert_eq!(ledger.tenant_usage("vision"), Usage { gpus: 2, jobs: 1 });
    /// ledger.release(id);
    /// ledger.release(id); // as often as the watch says so
    /// assert_eq!(ledger.cluster_usage(), Usage::default());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&mut self, id: JobId, request: HoldRequest, now: Timestamp) -> Result<(), LedgerError> {
        let Entry::Vacant(place) = self.holds.entry(id) else {
            return Err(LedgerError::HeldAlready { id });
        };
        let deadline = now.saturating_add(request.term);
        let HoldRequest { tenant, gpus, term } = request;
        count(&mut self.cluster, &mut self.tenants, &tenant, gpus);
        place.insert(Hold { tenant, gpus, term, deadline, state: HoldState::Reserved });
        Ok(())
    }

    /// The job was created; it started no later than `started`. Confirming twice changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::NotHeld`] where the hold was released meanwhile: the job has come and gone.
    pub fn confirm(&mut self, id: JobId, started: Timestamp) -> Result<(), LedgerError> {
        self.apply(id, HoldEvent::Confirm, started).map(drop)
    }

    /// The job was definitely not created. Returns the hold that was given up, if there was one.
    ///
    /// # Errors
    /// [`LedgerError::AbortedLive`] where the job is known to exist.
    pub fn abort(&mut self, id: JobId) -> Result<Option<Hold>, LedgerError> {
        self.apply(id, HoldEvent::Abort, Timestamp::EPOCH)
    }

    /// Nothing of the job runs any more. Returns the hold that was released, if there was one.
    pub fn release(&mut self, id: JobId) -> Option<Hold> {
        self.apply(id, HoldEvent::Release, Timestamp::EPOCH).unwrap_or_default()
    }

    fn apply(
        &mut self,
        id: JobId,
        event: HoldEvent,
        started: Timestamp,
    ) -> Result<Option<Hold>, LedgerError> {
        let hold = self.holds.get_mut(&id);
        match (hold.as_ref().map(|hold| hold.state), event) {
            (Some(HoldState::Reserved), HoldEvent::Confirm) => {
                self.sequence = self.sequence.saturating_add(1);
                if let Some(hold) = hold {
                    hold.state = HoldState::Live(self.sequence);
                    hold.deadline = started.saturating_add(hold.term);
                }
                Ok(None)
            }
            (Some(HoldState::Live(_)), HoldEvent::Confirm) | (None, HoldEvent::Abort) => Ok(None),
            (None, HoldEvent::Confirm) => Err(LedgerError::NotHeld { id }),
            (Some(HoldState::Live(_)), HoldEvent::Abort) => Err(LedgerError::AbortedLive { id }),
            (Some(HoldState::Reserved), HoldEvent::Abort)
            | (Some(HoldState::Reserved | HoldState::Live(_)) | None, HoldEvent::Release) => {
                if let Some(listing) = &mut self.listing {
                    listing.released.insert(id);
                }
                Ok(self.remove(id))
            }
        }
    }

    /// Takes note of a job that was seen outside of a listing and has not let go of what it holds.
    ///
    /// A `Reserved` hold is confirmed by that; a job without a hold gets one, whether or not it fits the limits, since it
    /// runs. A hold that knows another tenant or size is left to the next listing.
    pub fn observe(&mut self, job: Observed) -> Sighting {
        self.sequence = self.sequence.saturating_add(1);
        let state = HoldState::Live(self.sequence);
        match self.holds.get_mut(&job.id) {
            None => {
                let Observed { id, tenant, gpus, term, deadline } = job;
                self.insert(id, Hold { tenant, gpus, term, deadline, state });
                Sighting::Adopted
            }
            Some(hold) => {
                hold.deadline = job.deadline;
                match hold.state {
                    HoldState::Reserved => {
                        hold.state = state;
                        Sighting::Confirmed
                    }
                    HoldState::Live(_) => Sighting::Known,
                }
            }
        }
    }

    /// Says that a listing of the backend is about to be asked for.
    pub fn begin_listing(&mut self) -> Listing {
        self.sequence = self.sequence.saturating_add(1);
        self.listing = Some(OpenListing { began: self.sequence, released: BTreeSet::new() });
        Listing(self.sequence)
    }

    /// Sets the ledger right by a listing of every job that has not let go of what it holds.
    ///
    /// A `Reserved` hold without a job stays: its job may be on its way, and only who sent it can tell; call
    /// [`abort`](Self::abort) when that is settled. One whose job is seen is confirmed by that. A `Live` hold without a job
    /// is dropped if it was confirmed before the listing began. A job without a hold gets one, whether or not it fits the
    /// limits, since it runs; but not if its hold was released after the listing began.
    ///
    /// # Errors
    /// [`LedgerError::StaleListing`] where another listing has begun since; nothing is changed then.
    pub fn reconcile(
        &mut self,
        listing: Listing,
        observed: impl IntoIterator<Item = Observed>,
    ) -> Result<Drift, LedgerError> {
        let Some(open) = self.listing.take_if(|open| open.began == listing.0) else {
            return Err(LedgerError::StaleListing);
        };
        let mut drift = Drift::default();
        let mut seen = BTreeSet::new();
        for job in observed {
            let id = job.id;
            if !seen.insert(id) {
                continue;
            }
            let now_live = Hold {
                tenant: job.tenant,
                gpus: job.gpus,
                term: job.term,
                deadline: job.deadline,
                state: HoldState::Live(self.sequence),
            };
            match self.holds.get(&id) {
                // What the listing shows of an id that was released since is over, whatever the id stands for now.
                _ if open.released.contains(&id) => {}
                None => {
                    self.insert(id, now_live);
                    drift.adopted.push(id);
                }
                Some(hold) => {
                    // A job that is seen exists: that confirms it, though its answer was lost.
                    let state = match hold.state {
                        HoldState::Reserved => now_live.state,
                        live @ HoldState::Live(_) => live,
                    };
                    let right = Hold { state, ..now_live };
                    // A deadline is known better once the job has started: that is no drift.
                    if hold.tenant != right.tenant || hold.gpus != right.gpus {
                        drift.corrected.push(id);
                    }
                    if *hold != right {
                        self.remove(id);
                        self.insert(id, right);
                    }
                }
            }
        }
        let gone = |(id, hold): (&JobId, &Hold)| match hold.state {
            HoldState::Live(confirmed) if confirmed < listing.0 && !seen.contains(id) => Some(*id),
            HoldState::Live(_) | HoldState::Reserved => None,
        };
        drift.dropped = self.holds.iter().filter_map(gone).collect();
        drift.dropped.sort_unstable();
        for id in &drift.dropped {
            self.remove(*id);
        }
        Ok(drift)
    }

    /// What a tenant holds.
    #[must_use]
    pub fn tenant_usage(&self, tenant: &str) -> Usage {
        self.tenants.get(tenant).copied().unwrap_or_default()
    }

    /// What all tenants together hold.
    #[must_use]
    pub const fn cluster_usage(&self) -> Usage {
        self.cluster
    }

    /// The hold of a job.
    #[must_use]
    pub fn hold(&self, id: JobId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// All holds, in no particular order.
    pub fn holds(&self) -> impl Iterator<Item = (JobId, &Hold)> {
        self.holds.iter().map(|(id, hold)| (*id, hold))
    }

    /// The tenants that hold anything, in no particular order.
    pub fn tenants(&self) -> impl Iterator<Item = (&Tenant, Usage)> {
        self.tenants.iter().map(|(tenant, usage)| (tenant, *usage))
    }

    /// The holds that end first and together free what is missing, by their deadlines. Fewer than needed, where all of
    /// them together are not enough.
    #[must_use]
    pub fn in_the_way(&self, tenant: &str, shortage: &Shortage) -> Vec<HeldUntil> {
        let of_tenant = matches!(shortage.kind, QuotaKind::TenantGpus | QuotaKind::TenantJobs);
        let of_gpus = matches!(shortage.kind, QuotaKind::TenantGpus | QuotaKind::ClusterGpus);
        let concerned = |hold: &Hold| {
            (!of_tenant || hold.tenant.as_str() == tenant) && (!of_gpus || hold.gpus != GpuCount::ZERO)
        };
        let mut holds: Vec<_> = self
            .holds
            .iter()
            .filter(|(_, hold)| concerned(hold))
            .map(|(id, hold)| HeldUntil { id: *id, deadline: hold.deadline, gpus: hold.gpus })
            .collect();
        // Each of them frees at least one, so no more than are missing are needed: only those have to be sorted.
        let order = |hold: &HeldUntil| (hold.deadline, hold.id);
        let needed = usize::try_from(shortage.missing()).unwrap_or(usize::MAX);
        if needed < holds.len() {
            holds.select_nth_unstable_by_key(needed, order);
            holds.truncate(needed);
        }
        holds.sort_unstable_by_key(order);
        let mut freed = 0u64;
        holds.retain(|hold| {
            let needed = freed < shortage.missing();
            freed = freed.saturating_add(if of_gpus { hold.gpus.units() } else { 1 });
            needed
        });
        holds
    }

    fn insert(&mut self, id: JobId, hold: Hold) {
        count(&mut self.cluster, &mut self.tenants, &hold.tenant, hold.gpus);
        self.holds.insert(id, hold);
    }

    fn remove(&mut self, id: JobId) -> Option<Hold> {
        let hold = self.holds.remove(&id)?;
        self.cluster.remove(hold.gpus);
        if let Some(usage) = self.tenants.get_mut(&hold.tenant) {
            usage.remove(hold.gpus);
            if usage.jobs == 0 {
                self.tenants.remove(&hold.tenant);
            }
        }
        Some(hold)
    }
}

/// Adds one job to the totals.
fn count(cluster: &mut Usage, tenants: &mut KeyedMap<Tenant, Usage>, tenant: &Tenant, gpus: GpuCount) {
    cluster.add(gpus);
    match tenants.get_mut(tenant) {
        Some(usage) => usage.add(gpus),
        None => tenants.entry(tenant.clone()).or_default().add(gpus),
    }
}
