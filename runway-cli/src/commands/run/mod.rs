//! `runway run`: runs a job on this machine and enforces its limits.

mod error;
mod outcome;
mod screen;
mod signals;

use crate::arguments::{RunArgs, TextOrJson};
use crate::document::{Evaluated, evaluate_with, read_sources};
use crate::error::CliError;
use crate::{Exit, output, policy};
use error::RunError;
use outcome::Outcome;
use runway_control::backend::CreateRequest;
use runway_control::{Env, JobSnapshot, SystemEnv};
use runway_core::capability::BackendKind;
use runway_core::spec::Secret;
use runway_core::{AdmittedJob, JobId, JobSpec};
use runway_local::{Job, JobError, LocalSettings, Machine, Stream, Supervision, Usage, detect_gpus};
use screen::Screen;
use signals::Signals;
use std::env::VarError;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

/// The interval between two updates of the status line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);

pub(super) fn run(arguments: &RunArgs) -> Exit {
    try_run(arguments).unwrap_or_else(|error| {
        error.report();
        Exit::NOT_RUN
    })
}

fn try_run(arguments: &RunArgs) -> Result<Exit, RunError> {
    let common = &arguments.common;
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, Exit::Success) = read_sources(std::slice::from_ref(&arguments.file))? else {
        return Ok(Exit::NOT_RUN);
    };
    let evaluated = evaluate_with(&sources, &policy, common, Some(BackendKind::Local), |spec| {
        apply_overrides(spec, arguments)
    })?;
    let [evaluated] = evaluated.as_slice() else {
        return Err(RunError::NotOneJob { file: arguments.file.clone(), count: evaluated.len() });
    };
    let Some(admitted) = evaluated.decision.admitted() else {
        match common.output.format {
            TextOrJson::Json => output::print_json(&evaluated.dry_run_result())?,
            TextOrJson::Text => output::eprint(&evaluated.render_text(&policy, common))?,
        }
        return Ok(Exit::NOT_RUN);
    };
    output::eprint(&render_admitted(evaluated, admitted))?;
    let request = CreateRequest {
        id: JobId::from_random(SystemEnv.random()),
        admitted: admitted.clone(),
        policy: Arc::new(policy.policy.clone()),
    };
    // After this line, a signal cancels the job. A signal no longer ends `runway run` directly.
    let signals = Signals::register().map_err(RunError::Signals)?;
    let machine = Machine::open(settings(arguments)?).map_err(RunError::Open)?;
    let job = Job::start(&machine, &request, Supervision::Attached).map_err(RunError::Start)?;
    for limit in job.not_enforced() {
        output::eprint(&format!("warning: not enforced: {limit}\n"))?;
    }
    let result = run_to_completion(&job, &request, &signals, common.output.format);
    // Delete the job's files even if the result could not be printed.
    let removed = job.remove().map_err(RunError::Remove);
    let exit = result?;
    removed?;
    Ok(exit)
}

/// Passes the job's output through until the job ends, and prints the result.
fn run_to_completion(
    job: &Job,
    request: &CreateRequest,
    signals: &Signals,
    format: TextOrJson,
) -> Result<Exit, RunError> {
    let FollowedJob { final_snapshot, signal, write_error } = follow_job(job, request, signals, format)?;
    let outcome = Outcome::new(job, final_snapshot, SystemEnv.now()).map_err(RunError::Usage)?;
    match format {
        TextOrJson::Json => output::print_json(&outcome.record())?,
        TextOrJson::Text => output::eprint(&outcome.render_text())?,
    }
    match write_error {
        Some(error) => Err(RunError::WriteOutput(error)),
        None => Ok(outcome.exit(signal)),
    }
}

/// Replaces the command of the job with the one from the command line, if there is one. Replaces references
/// to environment variables in secrets with the values of the variables.
fn apply_overrides(spec: &mut JobSpec, arguments: &RunArgs) -> Result<(), CliError> {
    if !arguments.command.is_empty() {
        spec.command.clone_from(&arguments.command);
        spec.args.clear();
    }
    for (name, secret) in &mut spec.secrets {
        if let Secret::FromEnv(variable) = secret {
            let value = std::env::var(&*variable).map_err(|error| CliError::SecretVariable {
                secret: name.clone(),
                variable: variable.clone(),
                is_set: error != VarError::NotPresent,
            })?;
            *secret = Secret::Value(value);
        }
    }
    Ok(())
}

fn settings(arguments: &RunArgs) -> Result<LocalSettings, RunError> {
    let defaults = LocalSettings::with_state_dir(arguments.state_dir.clone());
    Ok(LocalSettings {
        best_effort: arguments.best_effort,
        cgroup_parent: arguments.cgroup_parent.clone(),
        gpus: arguments.gpu_devices.clone().unwrap_or_else(detect_gpus),
        ..defaults.map_err(RunError::StateDir)?
    })
}

/// Formats the line for an admitted job, and a note about the unused image.
fn render_admitted(evaluated: &Evaluated<'_>, admitted: &AdmittedJob) -> String {
    let (job, quote) = (admitted.job(), admitted.quote());
    let class = job.class.as_ref().map(|class| format!(", class {class}")).unwrap_or_default();
    format!(
        "ok: {}: {} (tenant {}{class}): at most {} USD, {} USD an hour\nthe image is not used: the command runs on this \
         machine's files\n",
        evaluated.file(),
        job.name,
        job.tenant,
        quote.ceiling,
        quote.per_hour
    )
}

/// The result of [`follow_job`].
struct FollowedJob {
    final_snapshot: JobSnapshot,
    /// The first signal that `runway run` received, or SIGPIPE if the reader of standard output closed the
    /// pipe first.
    signal: Option<i32>,
    /// The error from writing the job's output. `None` if only the pipe was closed.
    write_error: Option<io::Error>,
}

/// Passes the job's output through and forwards signals to the job, until the job no longer occupies
/// resources.
fn follow_job(
    job: &Job,
    request: &CreateRequest,
    signals: &Signals,
    format: TextOrJson,
) -> Result<FollowedJob, RunError> {
    let screen = Screen::new(format == TextOrJson::Json);
    let timeout = request.admitted.job().timeout;
    let mut reader = job.reader().map_err(RunError::ReadOutput)?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while let Some(chunk) = reader.next_blocking().map_err(RunError::ReadOutput)? {
                let is_stdout = chunk.stream == Stream::Stdout;
                if let Err(error) = screen.print(is_stdout, &chunk.bytes) {
                    job.cancel().map_err(RunError::Follow)?;
                    if error.kind() != ErrorKind::BrokenPipe {
                        return Ok(Some(error));
                    }
                    // The reader of the output has closed the pipe. Exit with the same code as a program that
                    // was ended by SIGPIPE.
                    signals.record_broken_pipe();
                    break;
                }
            }
            Ok::<_, RunError>(None)
        });
        signals.forward_to(job, scope);
        let final_snapshot = wait_for_end(job, |usage| {
            if screen.has_status() {
                screen.draw_status(&outcome::progress(usage, job.memory(), job.limits(), timeout));
            }
        });
        if final_snapshot.is_err() {
            // Closing the socket makes the supervisor cancel the job. The thread that reads the output then
            // ends too.
            job.disconnect();
        }
        signals.close();
        let read = reading.join();
        screen.clear_status();
        let write_error = match read {
            Ok(read) => read?,
            Err(_) => None,
        };
        Ok(FollowedJob {
            final_snapshot: final_snapshot.map_err(RunError::Follow)?,
            signal: signals.first(),
            write_error,
        })
    })
}

/// Waits until the job no longer occupies resources. Calls `report_usage` at each [`REDRAW_INTERVAL`], and
/// after each status change.
fn wait_for_end(job: &Job, report_usage: impl Fn(&Usage)) -> Result<JobSnapshot, JobError> {
    loop {
        let snapshot = job.wait(Some(REDRAW_INTERVAL))?;
        if !snapshot.status.occupies_resources {
            return Ok(snapshot);
        }
        report_usage(&job.usage()?);
    }
}
