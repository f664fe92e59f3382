//! The one way in: rate, then the spec, then quotas and capacity; a decision that explains itself; one commit.

mod basis;
mod decision;
mod replay;
mod shortage;

pub use basis::{Basis, NamedHolds};
pub use decision::{AdmittedJob, Decision, Outcome, Refusal};
pub use replay::{ReplayError, replay};

use crate::capability::Capabilities;
use crate::check::{Checked, Subject, check};
use crate::code::Code;
use crate::hash::HashSeed;
use crate::name::{JobId, Tenant};
use crate::policy::Policy;
use crate::quota::{
    Drift, HeldUntil, Hold, HoldRequest, Ledger, LedgerError, Listing, Observed, Shortage, Sighting, Usage,
};
use crate::rate::{Buckets, RateLeft, RateLimit, RateLimiter, RateScope, TooFast};
use crate::spec::{JobSpec, Reading};
use crate::units::Timestamp;
use crate::violation::Violation;
use shortage::{freed_by, quota_limits, quota_violations};
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

    fn subject<'a>(&'a self, capabilities: Option<&'a Capabilities>) -> Subject<'a> {
        Subject { spec: &self.spec, faults: &self.faults, tenant: self.tenant.as_deref(), capabilities }
    }

    /// The tenant that submits and pays: the transport's, else the spec's. `None` if it is missing or not a valid name; the gate
    /// refuses such a submission.
    #[must_use]
    pub fn tenant(&self) -> Option<Tenant> {
        self.tenant.as_deref().or(self.spec.tenant.as_deref())?.parse().ok()
    }
}

/// Policy, rate limiter and ledger together: every submission passes here.
///
/// ```
/// use runway_core::{Gate, HashSeed, JobSpec, Policy, Submission, units::Timestamp};
/// use std::sync::Arc;
///
/// let policy = Policy::builtin();
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
    capabilities: Option<Arc<Capabilities>>,
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
        Self { policy, limiter: RateLimiter::new(seed), ledger: Ledger::new(seed), capabilities: None }
    }

    /// A gate in front of a backend: it refuses jobs that need a feature which the backend lacks.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = Some(Arc::new(capabilities));
        self
    }

    /// The features of the backend; `None` if the gate does not check them.
    #[must_use]
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_deref()
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
        let outlook = self.outlook(submission, now);
        let decision = outlook.decide(submission, |t, s| self.ledger.in_the_way(t, s));
        if let Ok(after) = outlook.facts.drawn {
            self.limiter.commit(outlook.tenant.as_ref(), after, now);
        }
        if let Outcome::Admitted(admitted) = &decision.outcome {
            let job = admitted.job();
            let (gpus, term) = (job.resources.gpu, job.term(&self.policy));
            self.ledger.reserve(id, HoldRequest { tenant: job.tenant.clone(), gpus, term }, now)?;
        }
        Ok(decision)
    }

    /// The decision that [`submit`](Self::submit) would come to just now, without committing anything.
    #[must_use]
    pub fn preview(&self, submission: &Submission, now: Timestamp) -> Decision {
        self.outlook(submission, now).decide(submission, |t, s| self.ledger.in_the_way(t, s))
    }

    /// What such a decision rests on. Taking it is quick; to decide on it can take much longer, and takes no gate and no lock round one.
    #[must_use]
    pub fn outlook(&self, submission: &Submission, now: Timestamp) -> Outlook {
        let tenant = submission.tenant();
        let facts = self.facts(tenant.as_ref(), now);
        let capabilities = self.capabilities.clone();
        Outlook { policy: Arc::clone(&self.policy), capabilities, tenant, facts, now }
    }

    fn facts(&self, tenant: Option<&Tenant>, now: Timestamp) -> Facts {
        let (buckets, usage) = match tenant {
            Some(tenant) => {
                (self.limiter.buckets(tenant.as_str()), self.ledger.tenant_usage(tenant.as_str()))
            }
            None => {
                (Buckets { server: self.limiter.server_bucket(), ..Buckets::default() }, Usage::default())
            }
        };
        let drawn = draw(&self.policy, tenant, buckets, now);
        Facts { buckets, drawn, tenant: usage, cluster: self.ledger.cluster_usage() }
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

    /// A job was seen that has not let go of what it holds; see [`Ledger::observe`].
    pub fn observe(&mut self, job: Observed) -> Sighting {
        self.ledger.observe(job)
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

    /// Puts another policy in force. Jobs that hold something keep it, and tokens that are used stay used.
    ///
    /// # Errors
    /// [`NamespaceChanged`] where jobs would run in another namespace; the old policy stays in force then.
    pub fn set_policy(&mut self, policy: Arc<Policy>, now: Timestamp) -> Result<(), NamespaceChanged> {
        let (from, to) = (&self.policy.run().namespace, &policy.run().namespace);
        if from != to {
            return Err(NamespaceChanged { from: from.clone(), to: to.clone() });
        }
        let limit_of = |tenant: &Tenant| policy.terms(tenant.as_str()).rate_limit.value;
        self.limiter.adopt(policy.capacity().rate_limit, limit_of, now);
        self.policy = policy;
        Ok(())
    }

    /// Who holds what.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What is left of a tenant's rate, as far as its own limit goes.
    #[must_use]
    pub fn rate_left(&self, tenant: &str, now: Timestamp) -> RateLeft {
        self.limiter.left(tenant, self.policy.terms(tenant).rate_limit.value, now)
    }
}

/// How rates and quotas stand at one moment, for one submission.
#[derive(Debug, Clone)]
pub struct Outlook {
    policy: Arc<Policy>,
    capabilities: Option<Arc<Capabilities>>,
    tenant: Option<Tenant>,
    facts: Facts,
    now: Timestamp,
}

impl Outlook {
    /// The decision on the submission that this is for. What is in the way of a tenant's job ([`Ledger::in_the_way`]) is asked where
    /// a quota leaves it no room.
    #[must_use]
    pub fn decide(
        &self,
        submission: &Submission,
        in_the_way: impl Fn(&str, &Shortage) -> Vec<HeldUntil>,
    ) -> Decision {
        let Self { policy, capabilities, tenant, facts, now } = self;
        decide(policy, capabilities.as_ref(), submission, tenant.as_ref(), *facts, in_the_way, *now)
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
    capabilities: Option<&Arc<Capabilities>>,
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
        capabilities: capabilities.cloned(),
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
    let Checked { job, mut violations } =
        check(policy, submission.subject(capabilities.map(|capabilities| &**capabilities)));
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
                shortages.iter().zip(&basis.holds).map(|(s, named)| freed_by(s, &named.holds, now)).collect();
            // Room is there when the last of them has it.
            free_by =
                times.iter().copied().collect::<Option<Vec<_>>>().and_then(|times| times.into_iter().max());
            violations = quota_violations(policy, terms, submission, job, &shortages, &times);
        }
    }
    let outcome = match (job, quote) {
        (Some(job), Some(quote)) if violations.is_empty() => {
            Outcome::Admitted(AdmittedJob::new(job, quote, Arc::clone(&submission.spec)))
        }
        (job, quote) => Outcome::Refused(Refusal { job, quote, violations, retry_at: None, free_by }),
    };
    Decision { outcome, basis }
}
