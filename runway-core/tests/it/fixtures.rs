//! For every violation code, a fixture is refused with this code. Every fixture in `jobs` itself is
//! admitted.

use runway_core::capability::BackendKind;
use runway_core::policy::PriceOverrides;
use runway_core::spec::SecretLiterals;
use runway_core::units::Timestamp;
use runway_core::{Code, Decision, Gate, HashSeed, JobId, JobSpec, Policy, Submission};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
}

fn fixture_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(fixtures().join(directory)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    assert!(!files.is_empty(), "{directory} is empty");
    files
}

fn policy(name: &str) -> Arc<Policy> {
    let source = std::fs::read(fixtures().join(format!("policies/{name}.yaml"))).unwrap();
    Arc::new(Policy::parse(&source, PriceOverrides::default()).unwrap())
}

fn submissions(path: &Path, tenant: Option<&str>) -> Vec<Submission> {
    JobSpec::parse_all(&std::fs::read(path).unwrap(), SecretLiterals::Refuse)
        .into_iter()
        .map(|reading| Submission::from(reading).with_tenant(tenant.map(str::to_owned)))
        .collect()
}

fn preview(policy: &Arc<Policy>, submission: &Submission) -> Decision {
    Gate::new(Arc::clone(policy), HashSeed::default()).preview(submission, Timestamp::from_seconds(1))
}

fn codes(decision: &Decision) -> Vec<Code> {
    decision.violations().iter().map(|violation| violation.code).collect()
}

fn expected_code(path: &Path) -> Code {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn valid_fixtures_are_admitted() {
    let policy = policy("default");
    for path in fixture_files("jobs") {
        for submission in submissions(&path, None) {
            let decision = preview(&policy, &submission);
            assert!(decision.admitted().is_some(), "{}: {:#?}", path.display(), decision.violations());
        }
    }
}

#[test]
fn builtin_policy_is_the_default_fixture() {
    let fixture = std::fs::read_to_string(fixtures().join("policies/default.yaml")).unwrap();
    assert_eq!(Policy::BUILTIN_SOURCE, fixture);
    assert_eq!(Policy::builtin().digest(), policy("default").digest());
}

#[test]
fn every_code_has_a_fixture_that_is_refused_with_it() {
    let mut covered = BTreeSet::new();
    for (folder, name, tenant) in [
        ("jobs/refused", "default", None),
        ("jobs/refused/strict", "strict", None),
        ("jobs/refused/as-search", "default", Some("search")),
        ("jobs/refused/on-local", "default", None),
    ] {
        let policy = policy(name);
        let mut gate = Gate::new(Arc::clone(&policy), HashSeed::default());
        if folder.ends_with("on-local") {
            gate = gate.with_capabilities(BackendKind::Local.capabilities());
        }
        for path in fixture_files(folder) {
            let code = expected_code(&path);
            for submission in submissions(&path, tenant) {
                let codes = codes(&gate.preview(&submission, Timestamp::from_seconds(1)));
                assert!(codes.contains(&code), "{}: {codes:?}", path.display());
            }
            covered.insert(code);
        }
    }
    for path in fixture_files("jobs/refused/in-sequence") {
        let mut gate = Gate::new(policy("in-sequence"), HashSeed::default());
        let now = Timestamp::from_seconds(1_700_000_000);
        let submissions = submissions(&path, None);
        let (last, first) = submissions.split_last().unwrap();
        for (i, submission) in first.iter().enumerate() {
            let decision = gate.submit(JobId::from_random(i as u128), submission, now).unwrap();
            assert!(decision.admitted().is_some(), "{}: {:#?}", path.display(), decision.violations());
        }
        let before = (gate.ledger().cluster_usage(), gate.ledger().holds().count());
        let decision = gate.submit(JobId::from_random(99), last, now).unwrap();
        assert_eq!(codes(&decision), [expected_code(&path)], "{}", path.display());
        assert_eq!((gate.ledger().cluster_usage(), gate.ledger().holds().count()), before);
        let (again, line) = crate::replay::replayed(gate.policy(), &decision);
        assert_eq!(again, line, "{}", path.display());
        assert_admitted_later(&mut gate, last, &decision);
        covered.insert(expected_code(&path));
    }
    for path in fixture_files("policies/refused") {
        let error = Policy::parse(&std::fs::read(&path).unwrap(), PriceOverrides::default()).unwrap_err();
        let codes: Vec<_> = error.violations.iter().map(|violation| violation.code).collect();
        assert!(codes.contains(&expected_code(&path)), "{}: {codes:?}", path.display());
        covered.insert(expected_code(&path));
    }
    for violation in check_zero_job_limits() {
        covered.insert(violation);
    }
    let uncovered: Vec<_> = Code::ALL.iter().filter(|code| !covered.contains(code)).collect();
    assert!(uncovered.is_empty(), "no fixture is refused with {uncovered:?}");
}

/// Asserts that a job quota of 0 and a job capacity of 0 refuse every job. Returns the codes.
fn check_zero_job_limits() -> Vec<Code> {
    let source = std::fs::read_to_string(fixtures().join("policies/in-sequence.yaml")).unwrap();
    let quota = source.replace("quota: {gpus: 4, concurrent_jobs: 2}", "quota: {concurrent_jobs: 0}");
    let capacity =
        source.replace("capacity: {gpus: 7, concurrent_jobs: 3,", "capacity: {gpus: 7, concurrent_jobs: 0,");
    let submission = &submissions(&fixtures().join("jobs/hello.yaml"), None)[0];
    let mut found = Vec::new();
    for (source, policy_path) in [(quota, "quota.concurrent_jobs"), (capacity, "capacity.concurrent_jobs")] {
        let policy = Arc::new(Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap());
        let mut gate = Gate::new(policy, HashSeed::default());
        let decision = gate.submit(JobId::from_random(1), submission, Timestamp::from_seconds(1)).unwrap();
        let [violation] = decision.violations() else { panic!("{:#?}", decision.violations()) };
        assert_eq!(violation.policy.as_deref(), Some(policy_path));
        assert_eq!(violation.code.remedy(), runway_core::code::Remedy::Policy);
        assert_eq!(decision.refusal().unwrap().free_by, None, "waiting does not help");
        let (again, line) = crate::replay::replayed(gate.policy(), &decision);
        assert_eq!(again, line);
        found.push(violation.code);
    }
    found
}

/// Asserts that the job is admitted at the time that the refusal names, once the blocking holds are released.
fn assert_admitted_later(gate: &mut Gate, submission: &Submission, decision: &Decision) {
    let refusal = decision.refusal().unwrap();
    let id = JobId::from_random(100);
    if let Some(at) = refusal.retry_at {
        assert!(refusal.job.is_none(), "a rate refusal has no other violation");
        let early = Timestamp::from_nanos(at.nanos() - 1);
        assert_eq!(codes(&gate.submit(id, submission, early).unwrap()), [Code::RateLimited]);
        assert!(gate.submit(id, submission, at).unwrap().admitted().is_some());
        return;
    }
    let by = refusal.free_by.expect("the blocking holds have a deadline");
    let blocking: Vec<_> = decision.inputs.holds.iter().flat_map(|named| &named.holds).collect();
    assert_eq!(blocking.iter().map(|hold| hold.deadline).max(), Some(by));
    for hold in &blocking {
        assert!(gate.release(hold.id).is_some());
    }
    assert!(gate.submit(id, submission, by).unwrap().admitted().is_some());
}

#[test]
fn fix_with_available_gpus_is_admitted() {
    let mut gate = Gate::new(policy("in-sequence"), HashSeed::default());
    let now = Timestamp::from_seconds(1_700_000_000);
    let path = fixtures().join("jobs/refused/in-sequence/tenant-gpu-quota.yaml");
    let mut submissions = submissions(&path, None);
    gate.submit(JobId::from_random(1), &submissions[0], now).unwrap();
    let decision = gate.submit(JobId::from_random(2), &submissions[1], now).unwrap();
    assert_eq!(decision.violations()[0].fix, 1, "three of four are held");
    let spec = Arc::make_mut(&mut submissions[1].spec);
    spec.resources.gpu = Some(1.into());
    assert!(gate.submit(JobId::from_random(2), &submissions[1], now).unwrap().admitted().is_some());
}

#[test]
fn submission_uses_one_token_unless_rate_limited() {
    let mut gate = Gate::new(policy("default"), HashSeed::default());
    let now = Timestamp::from_seconds(1_700_000_000);
    let refused = &submissions(&fixtures().join("jobs/refused/cpu-above-max.yaml"), None)[0];
    let admitted = &submissions(&fixtures().join("jobs/hello.yaml"), None)[0];
    assert_eq!(gate.rate_remaining("search", now).requests, 10);
    gate.submit(JobId::from_random(0), refused, now).unwrap();
    assert_eq!(gate.rate_remaining("search", now).requests, 9);
    let _ = gate.preview(admitted, now);
    assert_eq!(gate.rate_remaining("search", now).requests, 9, "a preview costs nothing");
    for i in 1..10 {
        gate.submit(JobId::from_random(i), admitted, now).unwrap();
    }
    let first = gate.submit(JobId::from_random(10), admitted, now).unwrap();
    let second = gate.submit(JobId::from_random(10), admitted, now).unwrap();
    assert_eq!(first.refusal().unwrap().retry_at, Some(Timestamp::from_seconds(1_700_000_001)));
    assert_eq!(first, second, "a refused request does not delay the next one");
}

#[test]
fn submission_with_used_id_fails() {
    let mut gate = Gate::new(policy("default"), HashSeed::default());
    let now = Timestamp::from_seconds(1);
    let hello = &submissions(&fixtures().join("jobs/hello.yaml"), None)[0];
    gate.submit(JobId::from_random(1), hello, now).unwrap();
    assert!(gate.submit(JobId::from_random(1), hello, now).is_err());
    assert_eq!(gate.rate_remaining("search", now).requests, 9);
}

#[test]
fn policy_change_cannot_move_running_jobs() {
    let mut gate = Gate::new(policy("default"), HashSeed::default());
    let now = Timestamp::from_seconds(1);
    gate.submit(JobId::from_random(1), &submissions(&fixtures().join("jobs/hello.yaml"), None)[0], now)
        .unwrap();
    assert!(gate.set_policy(policy("strict"), now).is_err());
    assert_eq!(gate.policy().digest(), policy("default").digest());
    gate.set_policy(policy("in-sequence"), now).unwrap();
    assert_eq!(gate.ledger().cluster_usage().jobs, 1);
}

#[test]
fn used_tokens_survive_policy_change() {
    let with_rate = |per_minute: u32, burst: u32| {
        let source = std::fs::read_to_string(fixtures().join("policies/default.yaml")).unwrap();
        let rate = format!("rate_limit: {{per_minute: {per_minute}, burst: {burst}}}");
        let source = source.replace("rate_limit: {per_minute: 60, burst: 10}", &rate);
        Arc::new(Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap())
    };
    let now = Timestamp::from_seconds(1_700_000_000);
    let mut gate = Gate::new(with_rate(1, 100), HashSeed::default());
    let hello = &submissions(&fixtures().join("jobs/hello.yaml"), None)[0];
    for i in 0..100 {
        gate.submit(JobId::from_random(i), hello, now).unwrap();
    }
    assert_eq!(gate.rate_remaining("search", now).requests, 0);
    gate.set_policy(with_rate(2, 50), now).unwrap();
    assert_eq!(gate.rate_remaining("search", now).requests, 0);
    // The bucket is empty under the new burst as well. It gains one token every 30 seconds.
    assert_eq!(gate.rate_remaining("search", Timestamp::from_seconds(1_700_000_030)).requests, 1);
}

#[test]
fn job_quota_refusal_has_no_gpu_fix() {
    let source = std::fs::read_to_string(fixtures().join("policies/in-sequence.yaml")).unwrap();
    let source = source.replace("concurrent_jobs: 2}", "concurrent_jobs: 1}");
    let policy = Arc::new(Policy::parse(source.as_bytes(), PriceOverrides::default()).unwrap());
    let mut gate = Gate::new(policy, HashSeed::default());
    let both = submissions(&fixtures().join("jobs/refused/in-sequence/tenant-gpu-quota.yaml"), None);
    let now = Timestamp::from_seconds(1000);
    gate.submit(JobId::from_random(1), &both[0], now).unwrap();
    let decision = gate.submit(JobId::from_random(2), &both[1], now).unwrap();
    assert_eq!(codes(&decision), [Code::TenantGpuQuota, Code::TenantJobQuota]);
    assert!(decision.violations().iter().all(|violation| violation.fix.is_null()));
    // Long after the deadline, the ledger still has the hold. `free_by` is then the current time and not
    // the deadline.
    let late = Timestamp::from_seconds(100_000);
    let decision = gate.submit(JobId::from_random(2), &both[1], late).unwrap();
    assert_eq!(decision.refusal().unwrap().free_by, Some(late));
}
