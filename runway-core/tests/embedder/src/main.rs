//! Decides on one job and replays the decision. With the feature `kubernetes`, it also renders the job.

use runway_core::gate::{ReplayResult, replay_line};
use runway_core::units::Timestamp;
use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission};
use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

fn main() -> Result<(), Box<dyn Error>> {
    let policy = Arc::new(Policy::builtin());
    let mut gate = Gate::new(Arc::clone(&policy), HashSeed(1, 2));
    let submission = Submission::from(JobSpec {
        name: Some("embed-docs".into()),
        tenant: Some("search".into()),
        image: Some("registry.internal/embed:1.8.0".into()),
        workdir: Some("/workspace".into()),
        ..JobSpec::default()
    });
    let id = JobId::from_random(7);
    let decision = gate.submit(id, &submission, Timestamp::try_from(SystemTime::now())?)?;
    let admitted = decision.admitted().ok_or("refused")?;
    println!("{} costs at most {} USD", admitted.job().name, admitted.quote().ceiling);

    let line = serde_json::to_string(&decision)?;
    assert_eq!(replay_line(&policy, &line)?, ReplayResult::Identical);

    #[cfg(feature = "kubernetes")]
    kubernetes(admitted, id, &policy)?;
    Ok(())
}

#[cfg(feature = "kubernetes")]
fn kubernetes(admitted: &runway_core::AdmittedJob, id: JobId, policy: &Policy) -> Result<(), Box<dyn Error>> {
    let job: k8s_openapi::api::batch::v1::Job = runway_core::render::render(admitted, id, policy)?.job;
    let pod = job.spec.and_then(|job| job.template.spec).ok_or("no pod")?;
    assert_eq!(pod.containers[0].working_dir.as_deref(), Some("/workspace"));
    println!("{}", job.metadata.name.unwrap_or_default());
    Ok(())
}
