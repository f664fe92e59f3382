//! The ledger: one hold for each job, from its admission until all its pods have terminated.
//!
//! A hold is `Reserved` while the backend creates the job, and `Live` once the job exists. It is released
//! when the job has finished or has been deleted, and none of its pods is running. Releasing twice is
//! allowed, because watches repeat and lose events. The totals of each tenant and of the cluster always equal
//! the sums of the holds, whatever amounts the backend reports.
//!
//! Holds are unordered, so reserve, confirm and release take constant time. A refusal for a quota scans all
//! holds for those with the earliest deadlines, which takes linear time.

mod limits;

pub use limits::{QuotaExceeded, QuotaKind, QuotaLimits, Usage};

use crate::hash::{HashSeed, KeyedMap};
use crate::name::{JobId, Tenant};
use crate::units::{GpuCount, Seconds, Timestamp};
use limits::Totals;
use std::collections::{BTreeSet, hash_map::Entry};
use std::num::NonZeroU64;

/// A hold with the time at which it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HoldExpiry {
    /// The id of the job.
    pub id: JobId,
    /// The time by which the job must have finished; see [`Hold::deadline`].
    pub deadline: Timestamp,
    /// The GPUs of the hold.
    pub gpus: GpuCount,
}

/// The GPUs and the job slot that one job occupies.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hold {
    /// The tenant that owns the job.
    pub tenant: Tenant,
    /// The job's GPUs.
    pub gpus: GpuCount,
    /// The maximum time from the start to the end of the job: the timeout plus the termination grace.
    #[serde(rename = "term")]
    pub max_duration: Seconds,
    /// The time by which the job must have finished: its start plus `max_duration`. As long as the hold is
    /// reserved, the time of the reservation counts as the start.
    pub deadline: Timestamp,
    /// The state of the hold.
    pub state: HoldState,
}

/// The state of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// The backend is creating the job. It is unknown whether the job exists.
    Reserved,
    /// The job exists. The number is the position of the confirmation in the sequence of confirmations and
    /// lists. It shows whether a list started before or after the confirmation.
    Live(NonZeroU64),
}

/// A request for a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRequest {
    /// The tenant that owns the job.
    pub tenant: Tenant,
    /// The job's GPUs.
    pub gpus: GpuCount,
    /// The maximum time from the start to the end of the job: the timeout plus the termination grace.
    pub max_duration: Seconds,
}

/// A job that still occupies resources, as the backend reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedHold {
    /// The job's id.
    pub id: JobId,
    /// The tenant that owns the job.
    pub tenant: Tenant,
    /// The job's GPUs.
    pub gpus: GpuCount,
    /// The maximum time from the start to the end of the job: the timeout plus the termination grace.
    pub max_duration: Seconds,
    /// The time by which the job must have finished. [`Timestamp::MAX`] if it can outlive its deadline.
    pub deadline: Timestamp,
}

/// Identifies one list of the backend. [`Ledger::begin_list`] returns it before the request for the list is
/// sent.
#[derive(Debug, PartialEq, Eq)]
pub struct ListToken(NonZeroU64);

/// The effect of an observed job on the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObserveOutcome {
    /// The job already had a live hold.
    AlreadyHeld,
    /// The job had a reserved hold, which is now live.
    Confirmed,
    /// The job had no hold. The ledger added one.
    Adopted,
}

/// The corrections that [`Ledger::reconcile`] made.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    /// Jobs without a hold. The ledger added one for each.
    pub adopted: Vec<JobId>,
    /// Jobs with a live hold that the list does not contain. The ledger removed their holds.
    pub dropped: Vec<JobId>,
    /// Jobs whose holds had another tenant or another number of GPUs. The ledger replaced these holds.
    pub corrected: Vec<JobId>,
}

impl Drift {
    /// Returns `true` if the ledger needed no correction.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.adopted.is_empty() && self.dropped.is_empty() && self.corrected.is_empty()
    }
}

/// An event that changes a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HoldEvent {
    /// The backend created the job.
    Confirm,
    /// The job was definitely not created.
    Abort,
    /// All processes of the job have terminated.
    Release,
}

/// The error of a ledger operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The id already has a hold.
    #[error("job {id} already has a hold")]
    AlreadyHeld {
        /// The id of the job.
        id: JobId,
    },
    /// There is no hold to confirm. It has been released, or it never existed.
    #[error("job {id} has no hold")]
    NotHeld {
        /// The id of the job.
        id: JobId,
    },
    /// An abort is not possible, because the job exists.
    #[error("cannot abort the creation of job {id}: the job exists")]
    JobExists {
        /// The id of the job.
        id: JobId,
    },
    /// Another list has started since this one.
    #[error("another list has started since this one")]
    StaleList,
}

/// The holds of all jobs, with totals per tenant and for the cluster.
#[derive(Debug, Clone)]
pub struct Ledger {
    holds: KeyedMap<JobId, Hold>,
    tenants: KeyedMap<Tenant, Totals>,
    cluster: Totals,
    /// The number of confirmations, observations and lists so far. It defines their order without a clock.
    sequence: NonZeroU64,
    open_list: Option<OpenList>,
}

#[derive(Debug, Clone)]
struct OpenList {
    token: NonZeroU64,
    /// Ids released since the list started. The list may still contain their jobs.
    released: BTreeSet<JobId>,
}

impl Ledger {
    /// Returns an empty ledger.
    #[must_use]
    pub fn new(seed: HashSeed) -> Self {
        Self {
            holds: KeyedMap::with_hasher(seed),
            tenants: KeyedMap::with_hasher(seed),
            cluster: Totals::default(),
            sequence: NonZeroU64::MIN,
            open_list: None,
        }
    }

    /// Reserves the GPUs and the job slot of a job. The ledger does not check any limit.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyHeld`] if the id has a hold. The ledger is then unchanged.
    ///
    /// ```
    /// use runway_core::HashSeed;
    /// use runway_core::quota::{HoldRequest, Ledger, Usage};
    /// use runway_core::units::{GpuCount, Seconds, Timestamp};
    ///
    /// let mut ledger = Ledger::new(HashSeed(1, 2));
    /// let max_duration = Seconds::new(630);
    /// let request = HoldRequest { tenant: "vision".parse()?, gpus: GpuCount::new(2), max_duration };
    /// let (id, now) = ("4d5c9fa91db4".parse()?, Timestamp::from_seconds(1000));
    /// ledger.reserve(id, request, now)?;
    /// ledger.confirm(id, now)?;
    /// assert_eq!(ledger.tenant_usage("vision"), Usage { gpus: 2, jobs: 1 });
    /// ledger.release(id);
    /// ledger.release(id); // a repeated release changes nothing
    /// assert_eq!(ledger.cluster_usage(), Usage::default());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&mut self, id: JobId, request: HoldRequest, now: Timestamp) -> Result<(), LedgerError> {
        let Entry::Vacant(entry) = self.holds.entry(id) else {
            return Err(LedgerError::AlreadyHeld { id });
        };
        let deadline = now.saturating_add(request.max_duration);
        let HoldRequest { tenant, gpus, max_duration } = request;
        add_to_totals(&mut self.cluster, &mut self.tenants, &tenant, gpus);
        entry.insert(Hold { tenant, gpus, max_duration, deadline, state: HoldState::Reserved });
        Ok(())
    }

    /// Confirms the hold of a job that the backend has created. The job started no later than `started`.
    ///
    /// A second call changes nothing.
    ///
    /// # Errors
    /// [`LedgerError::NotHeld`] if there is no hold, for example because the job has already finished and its
    /// hold was released.
    pub fn confirm(&mut self, id: JobId, started: Timestamp) -> Result<(), LedgerError> {
        self.apply(id, HoldEvent::Confirm, started).map(drop)
    }

    /// Releases the hold of a job that was definitely not created. Returns the hold, if there was one.
    ///
    /// # Errors
    /// [`LedgerError::JobExists`] if the hold is live, so the job exists.
    pub fn abort(&mut self, id: JobId) -> Result<Option<Hold>, LedgerError> {
        self.apply(id, HoldEvent::Abort, Timestamp::EPOCH)
    }

    /// Releases the hold of a job whose processes have all terminated. Returns the hold, if there was one.
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
                    hold.deadline = started.saturating_add(hold.max_duration);
                }
                Ok(None)
            }
            (Some(HoldState::Live(_)), HoldEvent::Confirm) | (None, HoldEvent::Abort) => Ok(None),
            (None, HoldEvent::Confirm) => Err(LedgerError::NotHeld { id }),
            (Some(HoldState::Live(_)), HoldEvent::Abort) => Err(LedgerError::JobExists { id }),
            (Some(HoldState::Reserved), HoldEvent::Abort)
            | (Some(HoldState::Reserved | HoldState::Live(_)) | None, HoldEvent::Release) => {
                if let Some(listing) = &mut self.open_list {
                    listing.released.insert(id);
                }
                Ok(self.remove(id))
            }
        }
    }

    /// Records a job that the backend's watch reports and that still occupies resources.
    ///
    /// The report confirms a reserved hold and updates the deadline. A job without a hold gets one even if it
    /// exceeds a limit, because the job already exists. If the hold has another tenant or number of GPUs,
    /// this method does not change them. The next list corrects them.
    pub fn observe(&mut self, job: ObservedHold) -> ObserveOutcome {
        self.sequence = self.sequence.saturating_add(1);
        let state = HoldState::Live(self.sequence);
        match self.holds.get_mut(&job.id) {
            None => {
                let ObservedHold { id, tenant, gpus, max_duration, deadline } = job;
                self.insert(id, Hold { tenant, gpus, max_duration, deadline, state });
                ObserveOutcome::Adopted
            }
            Some(hold) => {
                hold.deadline = job.deadline;
                match hold.state {
                    HoldState::Reserved => {
                        hold.state = state;
                        ObserveOutcome::Confirmed
                    }
                    HoldState::Live(_) => ObserveOutcome::AlreadyHeld,
                }
            }
        }
    }

    /// Starts a list of the backend. Call this before the request for the list is sent.
    pub fn begin_list(&mut self) -> ListToken {
        self.sequence = self.sequence.saturating_add(1);
        self.open_list = Some(OpenList { token: self.sequence, released: BTreeSet::new() });
        ListToken(self.sequence)
    }

    /// Corrects the ledger by a complete list of the jobs that occupy resources.
    ///
    /// - A reserved hold whose job is in the list becomes live. If the job is not in the list, the hold
    ///   stays, because the create request may still be in flight. Its sender must call
    ///   [`abort`](Self::abort) if the request fails.
    /// - A live hold whose job is not in the list is removed, if it was confirmed before the list started.
    /// - A hold that differs from the listed job is replaced. Another deadline does not count as drift.
    /// - A job without a hold gets one even if it exceeds a limit, because the job already exists. A job
    ///   whose hold was released after the list started gets none.
    ///
    /// # Errors
    /// [`LedgerError::StaleList`] if another list has started since. The ledger is then unchanged.
    pub fn reconcile(
        &mut self,
        token: ListToken,
        observed: impl IntoIterator<Item = ObservedHold>,
    ) -> Result<Drift, LedgerError> {
        let Some(open) = self.open_list.take_if(|open| open.token == token.0) else {
            return Err(LedgerError::StaleList);
        };
        let mut drift = Drift::default();
        let mut listed_ids = BTreeSet::new();
        for job in observed {
            let id = job.id;
            if !listed_ids.insert(id) {
                continue;
            }
            let observed_hold = Hold {
                tenant: job.tenant,
                gpus: job.gpus,
                max_duration: job.max_duration,
                deadline: job.deadline,
                state: HoldState::Live(self.sequence),
            };
            match self.holds.get(&id) {
                // The hold of this id was released after the list started. So the list may describe a job
                // that has ended, even if a new job has the same id.
                _ if open.released.contains(&id) => {}
                None => {
                    self.insert(id, observed_hold);
                    drift.adopted.push(id);
                }
                Some(hold) => {
                    // A listed job exists. This confirms its hold even if the response to the create request
                    // was lost.
                    let state = match hold.state {
                        HoldState::Reserved => observed_hold.state,
                        live @ HoldState::Live(_) => live,
                    };
                    let corrected = Hold { state, ..observed_hold };
                    // The deadline becomes more precise after the job has started. That does not count as
                    // drift.
                    if hold.tenant != corrected.tenant || hold.gpus != corrected.gpus {
                        drift.corrected.push(id);
                    }
                    if *hold != corrected {
                        self.remove(id);
                        self.insert(id, corrected);
                    }
                }
            }
        }
        let dropped_id = |(id, hold): (&JobId, &Hold)| match hold.state {
            HoldState::Live(confirmed) if confirmed < token.0 && !listed_ids.contains(id) => Some(*id),
            HoldState::Live(_) | HoldState::Reserved => None,
        };
        drift.dropped = self.holds.iter().filter_map(dropped_id).collect();
        drift.dropped.sort_unstable();
        for id in &drift.dropped {
            self.remove(*id);
        }
        Ok(drift)
    }

    /// Returns the usage of a tenant.
    #[must_use]
    pub fn tenant_usage(&self, tenant: &str) -> Usage {
        self.tenants.get(tenant).copied().unwrap_or_default().usage()
    }

    /// Returns the usage of all tenants together.
    #[must_use]
    pub fn cluster_usage(&self) -> Usage {
        self.cluster.usage()
    }

    /// Returns the hold of a job.
    #[must_use]
    pub fn hold(&self, id: JobId) -> Option<&Hold> {
        self.holds.get(&id)
    }

    /// Returns all holds, in no particular order.
    pub fn holds(&self) -> impl Iterator<Item = (JobId, &Hold)> {
        self.holds.iter().map(|(id, hold)| (*id, hold))
    }

    /// Returns the tenants that have holds, with their usage, in no particular order.
    pub fn tenants(&self) -> impl Iterator<Item = (&Tenant, Usage)> {
        self.tenants.iter().map(|(tenant, totals)| (tenant, totals.usage()))
    }

    /// Returns the holds with the earliest deadlines that together release enough for the request. They are
    /// in the order of their deadlines.
    ///
    /// If all holds together do not release enough, the result contains all of them.
    #[must_use]
    pub fn blocking_holds(&self, tenant: &str, exceeded: &QuotaExceeded) -> Vec<HoldExpiry> {
        let is_tenant_quota = matches!(exceeded.kind, QuotaKind::TenantGpus | QuotaKind::TenantJobs);
        let is_gpu_quota = matches!(exceeded.kind, QuotaKind::TenantGpus | QuotaKind::ClusterGpus);
        let counts_toward_quota = |hold: &Hold| {
            (!is_tenant_quota || hold.tenant.as_str() == tenant)
                && (!is_gpu_quota || hold.gpus != GpuCount::ZERO)
        };
        let mut holds: Vec<_> = self
            .holds
            .iter()
            .filter(|(_, hold)| counts_toward_quota(hold))
            .map(|(id, hold)| HoldExpiry { id: *id, deadline: hold.deadline, gpus: hold.gpus })
            .collect();
        // Each hold releases at least one unit. So at most `excess` holds are needed, and only these are
        // sorted.
        let sort_key = |hold: &HoldExpiry| (hold.deadline, hold.id);
        let max_holds = usize::try_from(exceeded.excess()).unwrap_or(usize::MAX);
        if max_holds < holds.len() {
            holds.select_nth_unstable_by_key(max_holds, sort_key);
            holds.truncate(max_holds);
        }
        holds.sort_unstable_by_key(sort_key);
        let mut freed = 0u64;
        holds.retain(|hold| {
            let is_needed = freed < exceeded.excess();
            freed = freed.saturating_add(if is_gpu_quota { hold.gpus.units() } else { 1 });
            is_needed
        });
        holds
    }

    fn insert(&mut self, id: JobId, hold: Hold) {
        add_to_totals(&mut self.cluster, &mut self.tenants, &hold.tenant, hold.gpus);
        self.holds.insert(id, hold);
    }

    fn remove(&mut self, id: JobId) -> Option<Hold> {
        let hold = self.holds.remove(&id)?;
        self.cluster.remove(hold.gpus);
        if let Some(totals) = self.tenants.get_mut(&hold.tenant) {
            totals.remove(hold.gpus);
            if totals.jobs == 0 {
                self.tenants.remove(&hold.tenant);
            }
        }
        Some(hold)
    }
}

/// Adds one job to the totals.
fn add_to_totals(
    cluster: &mut Totals,
    tenants: &mut KeyedMap<Tenant, Totals>,
    tenant: &Tenant,
    gpus: GpuCount,
) {
    cluster.add(gpus);
    match tenants.get_mut(tenant) {
        Some(totals) => totals.add(gpus),
        None => tenants.entry(tenant.clone()).or_default().add(gpus),
    }
}
