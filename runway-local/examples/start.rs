//! Starts a job on this machine, prints its output, cancels it, and prints its final phase.
//!
//! `cargo run -p runway-local --example start`

use runway_control::backend::CreateRequest;
use runway_control::{Env, SystemEnv};
use runway_core::capability::BackendKind;
use runway_core::spec::SecretLiterals;
use runway_core::{Gate, JobId, JobSpec, Policy, Submission};
use runway_local::{Job, LocalSettings, Machine, Supervision, reexec_init};
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;

/// A job that prints three lines and then waits. Images are not used on one machine.
const JOB: &str = r#"
name: count
tenant: search
image: unused
command: ["sh", "-c", "for i in 1 2 3; do echo $i; done; exec sleep 600"]
"#;

/// Checks and prices a job as `runway run` does.
fn admit(job: &str) -> Result<CreateRequest, Box<dyn Error>> {
    let spec = JobSpec::parse_all(job.as_bytes(), SecretLiterals::Require).into_iter().next();
    let submission = Submission::from(spec.ok_or("the text contains no job")?);
    let policy = Arc::new(Policy::builtin());
    let gate = Gate::new(Arc::clone(&policy), SystemEnv.hash_seed())
        .with_capabilities(BackendKind::Local.capabilities());
    let decision = gate.preview(&submission, SystemEnv.now());
    let admitted = decision.admitted().ok_or_else(|| format!("refused: {:?}", decision.violations()))?;
    Ok(CreateRequest { id: JobId::from_random(SystemEnv.random()), admitted: admitted.clone(), policy })
}

/// Prints the output of a job until it ends. Cancels the job after its third line.
fn print_output(job: &Job) -> Result<(), Box<dyn Error>> {
    let mut reader = job.reader()?;
    while let Some(chunk) = reader.next_blocking()? {
        io::stdout().write_all(&chunk.bytes)?;
        if chunk.bytes.ends_with(b"3\n") {
            job.cancel()?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    // The supervisor of a job is this program, started again. So this call comes first.
    reexec_init();
    let machine = Machine::open(LocalSettings::with_state_dir(None)?)?;
    let job = Job::start(&machine, &admit(JOB)?, Supervision::Attached)?;
    println!("started {}", job.id());
    print_output(&job)?;
    let end = job.wait(None)?;
    println!("{} after {} attempt", end.status.phase, end.status.attempts);
    job.remove()?;
    Ok(())
}
