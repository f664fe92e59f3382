//! The gate: decides on each submission by rate limit, spec, quotas and capacity, and records the result.

mod decision;
mod decision_inputs;
mod quota_refusal;
mod replay;

pub use decision::{AdmittedJob, Decision, Outcome, Refusal};
pub use decision_inputs::{BlockingHolds, DecisionInputs};
pub use replay::{ReplayError, ReplayLineError, ReplayResult, replay, replay_line};

use crate::capability::Capabilities;
use crate::check::{CheckInput, CheckResult, check};
use crate::code::Code;
use crate::hash::HashSeed;
use crate::name::{JobId, Tenant};
use crate::policy::Policy;
use crate::quota::{
    Drift, Hold, HoldExpiry, HoldRequest, Ledger, LedgerError, ListToken, ObserveOutcome, ObservedHold,
    QuotaExceeded, Usage,
};
use crate::rate::{Buckets, RateLimit, RateLimitExceeded, RateLimiter, RateRemaining, RateScope};
use crate::spec::{JobSpec, ParsedSpec};
use crate::units::Timestamp;
use crate::violation::Violation;
use quota_refusal::{available_at, quota_limits, quota_violations, zero_limit_violations};
use std::sync::Arc;

/// A submission: a spec, the violations found while parsing it, and the tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submission {
    /// The spec, with the fields that could be parsed.
    pub spec: Arc<JobSpec>,
    /// The violations found while parsing the document.
    pub parse_violations: Vec<Violation>,
    /// The tenant from outside the document: the header `X-Tenant-ID`, or the option `--tenant`.
    pub tenant: Option<String>,
}

impl From<JobSpec> for Submission {
    fn from(spec: JobSpec) -> Self {
        Self { spec: Arc::new(spec), ..Self::default() }
    }
}

impl From<ParsedSpec> for Submission {
    fn from(parsed: ParsedSpec) -> Self {
        Self { spec: Arc::new(parsed.spec), parse_violations: parsed.violations, tenant: None }
    }
}

impl Submission {
    /// Sets the tenant from the header or command line.
    #[must_use]
    pub fn with_tenant(mut self, tenant: Option<String>) -> Self {
        self.tenant = tenant;
        self
    }

    fn check_input<'a>(&'a self, capabilities: Option<&'a Capabilities>) -> CheckInput<'a> {
        CheckInput {
            spec: &self.spec,
            parse_violations: &self.parse_violations,
            tenant: self.tenant.as_deref(),
            capabilities,
        }
    }

    /// Returns the tenant that submits and pays: the one from the header or command line, else the one in the
    /// spec.
    ///
    /// Returns `None` if the name is missing or invalid. The gate refuses such a submission.
    #[must_use]
    pub fn tenant(&self) -> Option<Tenant> {
        self.tenant.as_deref().or(self.spec.tenant.as_deref())?.parse().ok()
    }
}

/// Policy, rate limiter and ledger together. The gate decides on every submission.
///
/// ```
/// use runway_core::{Gate, HashSeed, JobSpec, Policy, Submission, units::Timestamp};
/// use std::sync::Arc;
///
/// let policy = Policy::builtin();
/// let mut gate = Gate::new(Arc::new(policy), HashSeed(1, 2)); // use two random numbers
/// let submission = Submission::from(JobSpec {
///     name: Some("embed-docs".into()),
///     tenant: Some("search".into()),
///     image: Some("registry.internal/embed:1.8.0".into()),
///     ..JobSpec::default()
/// });
/// let id = "4d5c9fa91db4".parse()?; // random, or derived from the tenant and the idempotency key
/// let now = Timestamp::from_seconds(1_795_248_000);
/// let decision = gate.submit(id, &submission, now)?;
/// assert!(decision.admitted().is_some());
/// gate.confirm(id, now)?; // after the backend has created the job
/// gate.release(id); // after the job and all its pods have terminated
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gate {
    policy: Arc<Policy>,
    limiter: RateLimiter,
    ledger: Ledger,
    capabilities: Option<Arc<Capabilities>>,
}

/// A new policy would change the namespace of the jobs, which is not possible at runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot change `run.namespace` from `{from}` to `{to}` at runtime; restart the server instead")]
pub struct NamespaceChanged {
    /// The namespace in the active policy.
    pub from: String,
    /// The namespace in the new policy.
    pub to: String,
}

impl Gate {
    /// Returns a gate with an empty ledger and full rate-limit buckets. Use a random seed, so that tenants
    /// cannot predict the hashes. No decision depends on the seed.
    #[must_use]
    pub fn new(policy: Arc<Policy>, seed: HashSeed) -> Self {
        Self { policy, limiter: RateLimiter::new(seed), ledger: Ledger::new(seed), capabilities: None }
    }

    /// Adds the features of a backend. The gate then refuses jobs that need a feature which the backend
    /// lacks.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Capabilities) -> Self {
        self.capabilities = Some(Arc::new(capabilities));
        self
    }

    /// Returns the features of the backend; `None` if the gate does not check them.
    #[must_use]
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.capabilities.as_deref()
    }

    /// Decides on a submission and records the result.
    ///
    /// The ledger reserves the GPUs and the job slot of an admitted job under `id`. A submission costs a
    /// token of the rate limit, whether the job is admitted or refused. Only a submission that the rate limit
    /// itself refuses costs no token.
    ///
    /// # Errors
    /// [`LedgerError::AlreadyHeld`] if the id is in use. The gate then decides nothing and changes nothing.
    pub fn submit(
        &mut self,
        id: JobId,
        submission: &Submission,
        now: Timestamp,
    ) -> Result<Decision, LedgerError> {
        if self.ledger.hold(id).is_some() {
            return Err(LedgerError::AlreadyHeld { id });
        }
        let snapshot = self.snapshot(submission, now);
        let decision = snapshot.decide(submission, |t, s| self.ledger.blocking_holds(t, s));
        if let Ok(after) = snapshot.inputs.rate_result {
            self.limiter.commit(snapshot.tenant.as_ref(), after, now);
        }
        if let Outcome::Admitted(admitted) = &decision.outcome {
            let job = admitted.job();
            let (gpus, max_duration) = (job.resources.gpu, job.max_duration(&self.policy));
            self.ledger.reserve(id, HoldRequest { tenant: job.tenant.clone(), gpus, max_duration }, now)?;
        }
        Ok(decision)
    }

    /// Returns the decision that [`submit`](Self::submit) would make at this time, and records nothing.
    #[must_use]
    pub fn preview(&self, submission: &Submission, now: Timestamp) -> Decision {
        self.snapshot(submission, now).decide(submission, |t, s| self.ledger.blocking_holds(t, s))
    }

    /// Returns a snapshot of the state that the decision on this submission depends on, without the blocking
    /// holds.
    ///
    /// The snapshot is cheap to take. [`GateSnapshot::decide`] can take much longer, and does not borrow the
    /// gate. A caller that guards the gate with a lock can release the lock before the decision. The caller
    /// needs the lock again only to read the blocking holds of a refused job.
    #[must_use]
    pub fn snapshot(&self, submission: &Submission, now: Timestamp) -> GateSnapshot {
        let tenant = submission.tenant();
        let inputs = self.inputs(tenant.as_ref(), now);
        let capabilities = self.capabilities.clone();
        GateSnapshot { policy: Arc::clone(&self.policy), capabilities, tenant, inputs, now }
    }

    fn inputs(&self, tenant: Option<&Tenant>, now: Timestamp) -> GateInputs {
        let (buckets, usage) = match tenant {
            Some(tenant) => {
                (self.limiter.buckets(tenant.as_str()), self.ledger.tenant_usage(tenant.as_str()))
            }
            None => {
                (Buckets { server: self.limiter.server_bucket(), ..Buckets::default() }, Usage::default())
            }
        };
        let rate_result = try_acquire(&self.policy, tenant, buckets, now);
        GateInputs { buckets, rate_result, tenant_usage: usage, cluster_usage: self.ledger.cluster_usage() }
    }

    /// Confirms the hold of a job that the backend has created. The job started no later than `started`.
    ///
    /// # Errors
    /// [`LedgerError::NotHeld`] if the hold has been released in the meantime.
    pub fn confirm(&mut self, id: JobId, started: Timestamp) -> Result<(), LedgerError> {
        self.ledger.confirm(id, started)
    }

    /// Releases the hold of a job that was definitely not created. The rate-limit token stays spent.
    ///
    /// # Errors
    /// [`LedgerError::JobExists`] if the hold is confirmed, so the job exists.
    pub fn abort(&mut self, id: JobId) -> Result<Option<Hold>, LedgerError> {
        self.ledger.abort(id)
    }

    /// Releases the hold of a job whose processes have all terminated.
    pub fn release(&mut self, id: JobId) -> Option<Hold> {
        self.ledger.release(id)
    }

    /// Records a job that the backend reports and that still occupies resources; see [`Ledger::observe`].
    pub fn observe(&mut self, job: ObservedHold) -> ObserveOutcome {
        self.ledger.observe(job)
    }

    /// Starts a list of the backend. Call this before the request for the list is sent.
    pub fn begin_list(&mut self) -> ListToken {
        self.ledger.begin_list()
    }

    /// Corrects the ledger by a complete list of the backend's jobs; see [`Ledger::reconcile`].
    ///
    /// # Errors
    /// [`LedgerError::StaleList`] if another list has started since.
    pub fn reconcile(
        &mut self,
        token: ListToken,
        observed: impl IntoIterator<Item = ObservedHold>,
    ) -> Result<Drift, LedgerError> {
        self.ledger.reconcile(token, observed)
    }

    /// Returns the active policy.
    #[must_use]
    pub const fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Replaces the active policy. Existing holds remain. Spent rate-limit tokens remain spent, up to the new
    /// burst.
    ///
    /// # Errors
    /// [`NamespaceChanged`] if the new policy runs jobs in another namespace. The active policy then stays in
    /// use.
    pub fn set_policy(&mut self, policy: Arc<Policy>, now: Timestamp) -> Result<(), NamespaceChanged> {
        let (from, to) = (&self.policy.run_settings().namespace, &policy.run_settings().namespace);
        if from != to {
            return Err(NamespaceChanged { from: from.clone(), to: to.clone() });
        }
        let limit_of = |tenant: &Tenant| policy.tenant_policy(tenant.as_str()).rate_limit.value;
        self.limiter.set_limits(policy.capacity().rate_limit, limit_of, now);
        self.policy = policy;
        Ok(())
    }

    /// Returns the ledger of all holds.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the remaining submissions of a tenant under the rate limit of this tenant.
    #[must_use]
    pub fn rate_remaining(&self, tenant: &str, now: Timestamp) -> RateRemaining {
        self.limiter.remaining(tenant, self.policy.tenant_policy(tenant).rate_limit.value, now)
    }
}

/// A snapshot of the policy, the rate-limit buckets and the usage, for one submission.
#[derive(Debug, Clone)]
pub struct GateSnapshot {
    policy: Arc<Policy>,
    capabilities: Option<Arc<Capabilities>>,
    tenant: Option<Tenant>,
    inputs: GateInputs,
    now: Timestamp,
}

impl GateSnapshot {
    /// Returns the decision on the submission that this snapshot was taken for.
    ///
    /// `blocking_holds` takes the tenant and an exceeded quota, and returns the holds that block the job; see
    /// [`Ledger::blocking_holds`]. It is called once for each exceeded quota.
    #[must_use]
    pub fn decide(
        &self,
        submission: &Submission,
        blocking_holds: impl Fn(&str, &QuotaExceeded) -> Vec<HoldExpiry>,
    ) -> Decision {
        let Self { policy, capabilities, tenant, inputs, now } = self;
        decide(policy, capabilities.as_ref(), submission, tenant.as_ref(), *inputs, blocking_holds, *now)
    }
}

/// The state of the gate that a decision reads, except the holds that block the job.
#[derive(Debug, Clone, Copy)]
struct GateInputs {
    buckets: Buckets,
    rate_result: Result<Buckets, RateLimitExceeded>,
    tenant_usage: Usage,
    cluster_usage: Usage,
}

/// Takes a token from the buckets and returns the new buckets. If the tenant is missing or invalid, the
/// bucket of the tenant is a full one that the gate never stores, so only the server's bucket loses a token.
fn try_acquire(
    policy: &Policy,
    tenant: Option<&Tenant>,
    buckets: Buckets,
    now: Timestamp,
) -> Result<Buckets, RateLimitExceeded> {
    let limit =
        tenant.map_or(RateLimit::DEFAULT, |tenant| policy.tenant_policy(tenant.as_str()).rate_limit.value);
    buckets.try_acquire(policy.capacity().rate_limit, limit, now)
}

/// Makes the decision. The same arguments always give the same bytes.
fn decide(
    policy: &Policy,
    capabilities: Option<&Arc<Capabilities>>,
    submission: &Submission,
    tenant: Option<&Tenant>,
    gate_inputs: GateInputs,
    blocking_holds: impl Fn(&str, &QuotaExceeded) -> Vec<HoldExpiry>,
    now: Timestamp,
) -> Decision {
    let mut inputs = DecisionInputs {
        policy: policy.digest(),
        spec: Arc::clone(&submission.spec),
        parse_violations: submission.parse_violations.clone(),
        tenant: submission.tenant.clone(),
        buckets: gate_inputs.buckets,
        tenant_usage: gate_inputs.tenant_usage,
        cluster_usage: gate_inputs.cluster_usage,
        holds: Vec::new(),
        now,
        capabilities: capabilities.cloned(),
    };
    if let Err(exceeded) = gate_inputs.rate_result {
        let policy_path = match (exceeded.scope, tenant) {
            (RateScope::Tenant, Some(tenant)) => {
                policy.tenant_policy(tenant.as_str()).rate_limit.source.to_string()
            }
            _ => "capacity.rate_limit".to_owned(),
        };
        let excess = match exceeded.scope {
            RateScope::Server => "all tenants together exceed their rate limit",
            RateScope::Tenant => "the tenant exceeds its rate limit",
        };
        let message = format!("{excess}; retry at {}", exceeded.retry_at);
        let refusal = Refusal {
            job: None,
            quote: None,
            violations: vec![Violation::new(Code::RateLimited, "", message).policy(policy_path)],
            retry_at: Some(exceeded.retry_at),
            free_by: None,
        };
        return Decision { outcome: Outcome::Refused(refusal), inputs };
    }
    let CheckResult { job, mut violations } =
        check(policy, submission.check_input(capabilities.map(|capabilities| &**capabilities)));
    let quote = job.as_ref().and_then(|job| job.quote(policy));
    let mut free_by = None;
    if violations.is_empty()
        && let Some(job) = &job
    {
        let tenant_policy = policy.tenant_policy(job.tenant.as_str());
        let limits = quota_limits(policy, tenant_policy);
        violations = zero_limit_violations(limits, tenant_policy);
        let exceeded =
            limits.exceeded(gate_inputs.tenant_usage, gate_inputs.cluster_usage, job.resources.gpu);
        // No hold blocks the job if a limit is 0, so there is no time at which the job fits.
        if violations.is_empty() && !exceeded.is_empty() {
            let blocking = |quota: &QuotaExceeded| blocking_holds(job.tenant.as_str(), quota);
            inputs.holds =
                exceeded.iter().map(|s| BlockingHolds { quota: s.kind, holds: blocking(s) }).collect();
            let available_times: Vec<_> = exceeded
                .iter()
                .zip(&inputs.holds)
                .map(|(s, named)| available_at(s, &named.holds, now))
                .collect();
            // The job fits when the last of its exceeded quotas becomes available.
            free_by = available_times
                .iter()
                .copied()
                .collect::<Option<Vec<_>>>()
                .and_then(|times| times.into_iter().max());
            violations =
                quota_violations(policy, tenant_policy, submission, job, &exceeded, &available_times);
        }
    }
    let outcome = match (job, quote) {
        (Some(job), Some(quote)) if violations.is_empty() => {
            Outcome::Admitted(AdmittedJob::new(job, quote, Arc::clone(&submission.spec)))
        }
        (job, quote) => Outcome::Refused(Refusal { job, quote, violations, retry_at: None, free_by }),
    };
    Decision { outcome, inputs }
}
