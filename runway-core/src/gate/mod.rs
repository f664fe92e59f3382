//! The one way in: rate, then the spec, then quotas and capacity; a decision that explains itself; one commit.

mod basis;

pub use basis::{Basis, NamedHolds, ReplayError, replay};

use crate::check::{Checked, Subject, check};
use crate::code::Code;
use crate::hash::HashSeed;
use crate::job::Job;
use crate::name::{JobId, Tenant};
use crate::policy::{Policy, TenantTerms};
use crate::price::Quote;
use crate::quota::{
    Drift, HeldUntil, Hold, HoldRequest, Ledger, LedgerError, Listing, Observed, QuotaKind, QuotaLimits,
    Shortage, Usage,
};
use crate::rate::{Buckets, RateLimit, RateLimiter, RateScope, TooFast};
use crate::spec::{JobSpec, Reading};
use crate::units::{GpuCount, Timestamp};
use crate::violation::Violation;
use serde::ser::SerializeStruct;
use serde_json::Value as Json;
use std::sync::Arc;

/// What somebody submits: a spec, what could not be read of it, and who says that it is theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submission {
    /// What was written, as far as it could be read.
    pub spec: Arc<JobSpec>,
    /// What could not be read.
    pub faults: Vec<Violation>,
    /// The tenant by the transport: the header `X-Tenant-ID`, or the option `--tenant`.
    pub tenant: Option<String>,
}

impl From<JobSpec> for Submission {
    fn from(spec: JobSpec) -> Self {
        Self { spec: Arc::new(spec), ..Self::default() }
    }
}

impl From<Reading> for Submission {
    fn from(reading: Reading) -> Self {
        Self { spec: Arc::new(reading.spec), faults: reading.violations, tenant: None }
    }
}

impl Submission {
    /// With the tenant by the transport.
    #[must_use]
    pub fn with_tenant(mut self, tenant: Option<String>) -> Self {
        self.tenant = tenant;
        self
    }

    fn subject(&self) -> Subject<'_> {
        Subject { spec: &self.spec, faults: &self.faults, tenant: self.tenant.as_deref() }
    }

    /// Whose tokens it costs; nobody's where that cannot be read.
    fn tenant(&self) -> Option<Tenant> {
        self.tenant.as_deref().or(self.spec.tenant.as_deref())?.parse().ok()
    }
}

/// What became of a submission, and all that it hung on.
///
/// Serialized, it is `{"admitted","job","quote","violations","retry_at","free_by","basis"}`: the audit line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What became of it.
    pub outcome: Outcome,
    /// What it hung on: with this and the policy anyone can decide it again, see [`replay`].
    pub basis: Basis,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It may run, and what it needs is held.
    Admitted(AdmittedJob),
    /// It may not, or not now.
    Refused(Refusal),
}

/// A job that has passed the gate. Nothing else makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmittedJob {
    job: Job,
    quote: Quote,
    spec: Arc<JobSpec>,
}

impl AdmittedJob {
    /// The normalised job.
    #[must_use]
    pub const fn job(&self) -> &Job {
        &self.job
    }

    /// The most it can cost.
    #[must_use]
    pub const fn quote(&self) -> &Quote {
        &self.quote
    }

    /// What was written: command, arguments and variables.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.spec
    }
}

/// Why a job may not run, or not now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The normalised job, where every part of it could be read.
    pub job: Option<Job>,
    /// What it would cost at most, where that can be said.
    pub quote: Option<Quote>,
    /// Every reason, of which there is at least one.
    pub violations: Vec<Violation>,
    /// Refused for its rate: the first instant at which the same request passes, unless others come first.
    pub retry_at: Option<Timestamp>,
    /// Refused for a quota: when there is room at the latest, unless others come first. `None` where the holds in the
    /// way, all together, are not enough.
    pub free_by: Option<Timestamp>,
}

impl Decision {
    /// The admitted job, if it is one.
    #[must_use]
    pub const fn admitted(&self) -> Option<&AdmittedJob> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(admitted),
            Outcome::Refused(_) => None,
        }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.outcome {
            Outcome::Admitted(_) => None,
            Outcome::Refused(refusal) => Some(refusal),
        }
    }

    /// The normalised job, where every part of it could be read.
    #[must_use]
    pub const fn job(&self) -> Option<&Job> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(&admitted.job),
            Outcome::Refused(refusal) => refusal.job.as_ref(),
        }
    }

    /// What the job would cost at most, where that can be said.
    #[must_use]
    pub const fn quote(&self) -> Option<&Quote> {
        match &self.outcome {
            Outcome::Admitted(admitted) => Some(&admitted.quote),
            Outcome::Refused(refusal) => refusal.quote.as_ref(),
        }
    }

    /// The reasons for a refusal.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.refusal().map_or(&[], |refusal| &refusal.violations)
    }
}

impl serde::Serialize for Decision {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut decision = serializer.serialize_struct("Decision", 7)?;
        decision.serialize_field("admitted", &self.admitted().is_some())?;
        decision.serialize_field("job", &self.job())?;
        decision.serialize_field("quote", &self.quote())?;
        decision.serialize_field("violations", self.violations())?;
        decision.serialize_field("retry_at", &self.refusal().and_then(|refusal| refusal.retry_at))?;
        decision.serialize_field("free_by", &self.refusal().and_then(|refusal| refusal.free_by))?;
        decision.serialize_field("basis", &self.basis)?;
        decision.end()
    }
}

/// Policy, rate limiter and ledger together: every submission passes here.
///
/// ```
/// use runway_core::{Gate, HashSeed, JobSpec, Policy, Submission, policy::RateOverrides, units::Timestamp};
/// use std::sync::Arc;
///
/// let policy = Policy::parse(include_bytes!("../../../fixtures/policies/default.yaml"), RateOverrides::default())?;
/// let mut gate = Gate::new(Arc::new(policy), HashSeed(1, 2)); // draw the two at random
/// let submission = Submission::from(JobSpec {
///     name: Some("embed-docs".into()),
///     tenant: Some("search".into()),
///     image: Some("registry.internal/embed:1.8.0".into()),
///     ..JobSpec::default()
/// });
/// let id = "4d5c9fa91db4".parse()?; // from randomness, or from tenant and idempotency key
/// let now = Timestamp::from_seconds(1_795_248_000);
/// let decision = gate.submit(id, &submission, now)?;
/// assert!(decision.admitted().is_some());
/// gate.confirm(id, now)?; // once the job is created
/// gate.release(id); // once nothing of it runs
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    policy: Arc<Policy>,
    limiter: RateLimiter,
    ledger: Ledger,
}

/// A policy cannot take the place of this one while the server runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`run.namespace` cannot change from `{from}` to `{to}` while jobs run; restart for that")]
pub struct NamespaceChanged {
    /// Where jobs run now.
    pub from: String,
    /// Where they would.
    pub to: String,
}

impl Gate {
    /// A gate through which nothing has passed. The seed is best drawn at random; no decision depends on it.
    #[must_use]
    pub fn new(policy: Arc<Policy>, seed: HashSeed) -> Self {
        Self { policy, limiter: RateLimiter::new(seed), ledger: Ledger::new(seed) }
    }

    /// Decides on a submission and commits it: an admitted job's needs are held under `id`, and the attempt costs a
    /// token whatever becomes of it, unless it is refused for its rate.
    ///
    /// # Errors
    /// [`LedgerError::HeldAlready`] for an id that is in use; nothing is decided or changed then.
    pub fn submit(
        &mut self,
        id: JobId,
        submission: &Submission,
        now: Timestamp,
    ) -> Result<Decision, LedgerError> {
        if self.ledger.hold(id).is_some() {
            return Err(LedgerError::HeldAlready { id });
        }
        let tenant = submission.tenant();
        let (facts, drawn) = self.facts(tenant.as_ref(), now);
        let decision = decide(
            &self.policy,
            submission,
            tenant.as_ref(),
            facts,
            |t, s| self.ledger.in_the_way(t, s),
            now,
        );
        if let Ok(after) = drawn {
            self.limiter.commit(tenant.as_ref(), after, now);
        }
        if let Outcome::Admitted(AdmittedJob { job, .. }) = &decision.outcome {
            let (gpus, term) = (job.resources.gpu, job.term(&self.policy));
            self.ledger.reserve(id, HoldRequest { tenant: job.tenant.clone(), gpus, term }, now)?;
        }
        Ok(decision)
    }

    /// The decision that [`submit`](Self::submit) would come to just now, without committing anything.
    #[must_use]
    pub fn preview(&self, submission: &Submission, now: Timestamp) -> Decision {
        let tenant = submission.tenant();
        let (facts, _) = self.facts(tenant.as_ref(), now);
        decide(&self.policy, submission, tenant.as_ref(), facts, |t, s| self.ledger.in_the_way(t, s), now)
    }

    fn facts(&self, tenant: Option<&Tenant>, now: Timestamp) -> (Facts, Result<Buckets, TooFast>) {
        let (buckets, usage) = match tenant {
            Some(tenant) => {
                (self.limiter.buckets(tenant.as_str()), self.ledger.tenant_usage(tenant.as_str()))
            }
            None => {
                (Buckets { server: self.limiter.server_bucket(), ..Buckets::default() }, Usage::default())
            }
        };
        let drawn = draw(&self.policy, tenant, buckets, now);
        (Facts { buckets, drawn, tenant: usage, cluster: self.ledger.cluster_usage() }, drawn)
    }

    /// The job was created; it started no later than `started`.
    ///
    /// # Errors
    /// [`LedgerError::NotHeld`] where its hold was released meanwhile.
    pub fn confirm(&mut self, id: JobId, started: Timestamp) -> Result<(), LedgerError> {
        self.ledger.confirm(id, started)
    }

    /// The job was definitely not created. Its token stays spent.
    ///
    /// # Errors
    /// [`LedgerError::AbortedLive`] where the job is known to exist.
    pub fn abort(&mut self, id: JobId) -> Result<Option<Hold>, LedgerError> {
        self.ledger.abort(id)
    }

    /// Nothing of the job runs any more.
    pub fn release(&mut self, id: JobId) -> Option<Hold> {
        self.ledger.release(id)
    }

    /// Says that a listing of the backend is about to be asked for.
    pub fn begin_listing(&mut self) -> Listing {
        self.ledger.begin_listing()
    }

    /// Sets the ledger right by a listing; see [`Ledger::reconcile`].
    ///
    /// # Errors
    /// [`LedgerError::StaleListing`] where another listing has begun since.
    pub fn reconcile(
        &mut self,
        listing: Listing,
        observed: impl IntoIterator<Item = Observed>,
    ) -> Result<Drift, LedgerError> {
        self.ledger.reconcile(listing, observed)
    }

    /// The policy in force.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Puts another policy in force. Jobs that hold something keep it.
    ///
    /// # Errors
    /// [`NamespaceChanged`] where jobs would run in another namespace; the old policy stays in force then.
    pub fn set_policy(&mut self, policy: Arc<Policy>) -> Result<(), NamespaceChanged> {
        let (from, to) = (&self.policy.run().namespace, &policy.run().namespace);
        if from != to {
            return Err(NamespaceChanged { from: from.clone(), to: to.clone() });
        }
        self.policy = policy;
        Ok(())
    }

    /// Who holds what.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How many submissions of a tenant may pass right now, as far as its own limit goes.
    #[must_use]
    pub fn remaining(&self, tenant: &str, now: Timestamp) -> u32 {
        self.limiter.remaining(tenant, self.policy.terms(tenant).rate_limit.value, now)
    }
}

/// Everything outside of policy and submission that a decision hangs on, but for the holds in the way.
#[derive(Debug, Clone, Copy)]
struct Facts {
    buckets: Buckets,
    drawn: Result<Buckets, TooFast>,
    tenant: Usage,
    cluster: Usage,
}

/// Draws a token; a submission whose tenant cannot be read draws from the server's bucket alone.
fn draw(
    policy: &Policy,
    tenant: Option<&Tenant>,
    buckets: Buckets,
    now: Timestamp,
) -> Result<Buckets, TooFast> {
    let limit = tenant.map_or(RateLimit::DEFAULT, |tenant| policy.terms(tenant.as_str()).rate_limit.value);
    buckets.draw(policy.capacity().rate_limit, limit, now)
}

/// The decision itself: the same bytes for the same arguments, wherever it is made.
fn decide(
    policy: &Policy,
    submission: &Submission,
    tenant: Option<&Tenant>,
    facts: Facts,
    in_the_way: impl Fn(&str, &Shortage) -> Vec<HeldUntil>,
    now: Timestamp,
) -> Decision {
    let mut basis = Basis {
        policy: policy.digest(),
        spec: Arc::clone(&submission.spec),
        faults: submission.faults.clone(),
        tenant: submission.tenant.clone(),
        buckets: facts.buckets,
        tenant_usage: facts.tenant,
        cluster_usage: facts.cluster,
        holds: Vec::new(),
        now,
    };
    if let Err(refused) = facts.drawn {
        let line = match (refused.scope, tenant) {
            (RateScope::Tenant, Some(tenant)) => policy.terms(tenant.as_str()).rate_limit.from.to_string(),
            _ => "capacity.rate_limit".to_owned(),
        };
        let whose = match refused.scope {
            RateScope::Server => "all tenants together submit",
            RateScope::Tenant => "this tenant submits",
        };
        let message = format!(
            "{whose} faster than the policy allows; the next submission may pass at {}",
            refused.retry_at
        );
        let refusal = Refusal {
            job: None,
            quote: None,
            violations: vec![Violation::new(Code::RateLimited, "", message).policy(line)],
            retry_at: Some(refused.retry_at),
            free_by: None,
        };
        return Decision { outcome: Outcome::Refused(refusal), basis };
    }
    let Checked { job, mut violations } = check(policy, submission.subject());
    let quote = job.as_ref().and_then(|job| job.quote(policy));
    let mut free_by = None;
    if violations.is_empty()
        && let Some(job) = &job
    {
        let terms = policy.terms(job.tenant.as_str());
        let shortages = quota_limits(policy, terms).shortages(facts.tenant, facts.cluster, job.resources.gpu);
        if !shortages.is_empty() {
            let by = |shortage: &Shortage| in_the_way(job.tenant.as_str(), shortage);
            basis.holds = shortages.iter().map(|s| NamedHolds { quota: s.kind, holds: by(s) }).collect();
            let times: Vec<_> =
                shortages.iter().zip(&basis.holds).map(|(s, named)| freed_by(s, &named.holds)).collect();
            // Room is there when the last of them has it.
            free_by =
                times.iter().copied().collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().max());
            violations = quota_violations(policy, terms, submission, job, &shortages, &times);
        }
    }
    let outcome = match (job, quote) {
        (Some(job), Some(quote)) if violations.is_empty() => {
            Outcome::Admitted(AdmittedJob { job, quote, spec: Arc::clone(&submission.spec) })
        }
        (job, quote) => Outcome::Refused(Refusal { job, quote, violations, retry_at: None, free_by }),
    };
    Decision { outcome, basis }
}

fn quota_limits(policy: &Policy, terms: &TenantTerms) -> QuotaLimits {
    let capacity = policy.capacity();
    let tenant = Usage { gpus: terms.gpus.value.units(), jobs: terms.concurrent_jobs.value.into() };
    let cluster = Usage { gpus: capacity.gpus.units(), jobs: capacity.concurrent_jobs.into() };
    QuotaLimits { tenant, cluster }
}

/// When the holds in the way have freed what is missing, at the latest.
fn freed_by(shortage: &Shortage, holds: &[HeldUntil]) -> Option<Timestamp> {
    let frees = |hold: &HeldUntil| match shortage.kind {
        QuotaKind::TenantGpus | QuotaKind::ClusterGpus => hold.gpus.units(),
        QuotaKind::TenantJobs | QuotaKind::ClusterJobs => 1,
    };
    let freed = holds.iter().map(frees).fold(0, u64::saturating_add);
    if freed < shortage.missing() {
        return None;
    }
    holds.iter().map(|hold| hold.deadline).max()
}

fn quota_violations(
    policy: &Policy,
    terms: &TenantTerms,
    submission: &Submission,
    job: &Job,
    shortages: &[Shortage],
    times: &[Option<Timestamp>],
) -> Vec<Violation> {
    let class = job.class.as_ref().map(crate::name::ClassName::as_str);
    let least =
        policy.limits(Some(job.tenant.as_str()), class).map_or(GpuCount::ZERO, |limits| limits.gpu.min.value);
    // The number of GPUs that every quota has left: that is what would be admitted now, if it is a job at all.
    let is_gpus = |s: &&Shortage| matches!(s.kind, QuotaKind::TenantGpus | QuotaKind::ClusterGpus);
    let left = shortages.iter().filter(is_gpus).map(Shortage::left).min();
    let fix = left.filter(|left| *left >= least.units().max(1));
    let requested = submission.spec.resources.gpu.as_ref().map_or(Json::Null, crate::spec::Written::to_json);
    let violation = |(shortage, time): (&Shortage, &Option<Timestamp>)| {
        let Shortage { kind, requested: asked, held, limit } = *shortage;
        let until = time.map(|time| format!(" by {time} at the latest")).unwrap_or_default();
        let (code, line, message) = match kind {
            QuotaKind::TenantGpus => (
                Code::TenantGpuQuota,
                &*terms.gpus.from,
                format!(
                    "the tenant holds {held} of its {limit} GPUs and asks for {asked}; enough are free{until}"
                ),
            ),
            QuotaKind::ClusterGpus => (
                Code::ClusterGpuCapacity,
                "capacity.gpus",
                format!(
                    "all tenants hold {held} of {limit} GPUs and this job asks for {asked}; enough are free{until}"
                ),
            ),
            QuotaKind::TenantJobs => (
                Code::TenantJobQuota,
                &*terms.concurrent_jobs.from,
                format!(
                    "the tenant has {held} of the {limit} jobs it may have at a time; there is room{until}"
                ),
            ),
            QuotaKind::ClusterJobs => (
                Code::ClusterJobCapacity,
                "capacity.concurrent_jobs",
                format!(
                    "all tenants have {held} of the {limit} jobs there may be at a time; there is room{until}"
                ),
            ),
        };
        let message = if time.is_some() {
            message
        } else {
            // Without a time the half sentence after the semicolon would promise what nobody knows.
            message.split(';').next().unwrap_or_default().to_owned()
        };
        if is_gpus(&shortage) {
            let violation = Violation::new(code, "/resources/gpu", message).requested(requested.clone());
            violation.range(least.units(), shortage.left()).policy(line).fix(fix)
        } else {
            Violation::new(code, "", message).range(Json::Null, limit).policy(line)
        }
    };
    shortages.iter().zip(times).map(violation).collect()
}
