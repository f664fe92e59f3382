//! `runway run`: runs a job on this machine and enforces its limits.

mod error;
mod outcome;
mod screen;
mod signals;

use crate::arguments::{Format, RunArguments};
use crate::document::{Judged, judge_amended, read_all};
use crate::failure::Failure;
use crate::{Exit, output, policy};
use error::RunError;
use outcome::Outcome;
use runway_control::backend::Order;
use runway_control::{Observation, Surroundings, System};
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
const REDRAWING: Duration = Duration::from_millis(500);

pub(super) fn run(arguments: &RunArguments) -> Exit {
    try_run(arguments).unwrap_or_else(|error| {
        error.report();
        Exit::NOT_RUN
    })
}

fn try_run(arguments: &RunArguments) -> Result<Exit, RunError> {
    let common = &arguments.common;
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, Exit::Fine) = read_all(std::slice::from_ref(&arguments.file))? else {
        return Ok(Exit::NOT_RUN);
    };
    let judged =
        judge_amended(&sources, &policy, common, Some(BackendKind::Local), |spec| amend(spec, arguments))?;
    let [judged] = judged.as_slice() else {
        return Err(RunError::NotOneJob { file: arguments.file.clone(), count: judged.len() });
    };
    let Some(admitted) = judged.decision.admitted() else {
        match common.output.format {
            Format::Json => output::print_json(&judged.verdict())?,
            Format::Text => output::print_aside(&judged.story(&policy, common))?,
        }
        return Ok(Exit::NOT_RUN);
    };
    output::print_aside(&verdict(judged, admitted))?;
    let order = Order {
        id: JobId::from_random(System.random()),
        admitted: admitted.clone(),
        policy: Arc::new(policy.policy.clone()),
    };
    // From here on, a signal must end the job and not this process.
    let signals = Signals::listen().map_err(RunError::Signals)?;
    let machine = Machine::open(settings(arguments)?).map_err(RunError::Open)?;
    let job = Job::start(&machine, &order, Supervision::Attached).map_err(RunError::Start)?;
    for limit in job.not_enforced() {
        output::print_aside(&format!("warning: not enforced: {limit}\n"))?;
    }
    let exit = see_through(&job, &order, &signals, common.output.format);
    // Delete the job's files even if the result could not be printed.
    let removed = job.remove().map_err(RunError::Remove);
    let exit = exit?;
    removed?;
    Ok(exit)
}

/// Passes the job's output through until the job ends, and prints the result.
fn see_through(job: &Job, order: &Order, signals: &Signals, format: Format) -> Result<Exit, RunError> {
    let Followed { ended, signal, unwritten } = follow(job, order, signals, format)?;
    let outcome = Outcome::new(job, ended, System.now()).map_err(RunError::Usage)?;
    match format {
        Format::Json => output::print_json(&outcome.record())?,
        Format::Text => output::print_aside(&outcome.story())?,
    }
    match unwritten {
        Some(error) => Err(RunError::WriteOutput(error)),
        None => Ok(outcome.exit(signal)),
    }
}

/// Applies the command of the command line, and the secrets from the environment.
fn amend(spec: &mut JobSpec, arguments: &RunArguments) -> Result<(), Failure> {
    if !arguments.command.is_empty() {
        spec.command.clone_from(&arguments.command);
        spec.args.clear();
    }
    for (name, secret) in &mut spec.secrets {
        if let Secret::FromEnv(from) = secret {
            let value = std::env::var(&*from).map_err(|error| Failure::SecretVariable {
                secret: name.clone(),
                variable: from.clone(),
                is_set: error != VarError::NotPresent,
            })?;
            *secret = Secret::Value(value);
        }
    }
    Ok(())
}

fn settings(arguments: &RunArguments) -> Result<LocalSettings, RunError> {
    let defaults = LocalSettings::with_state_dir(arguments.state_dir.clone());
    Ok(LocalSettings {
        best_effort: arguments.best_effort,
        cgroup_parent: arguments.cgroup_parent.clone(),
        gpus: arguments.gpu_devices.clone().unwrap_or_else(detect_gpus),
        ..defaults.map_err(RunError::StateDir)?
    })
}

/// Formats the line for an admitted job, and a note about the unused image.
fn verdict(judged: &Judged<'_>, admitted: &AdmittedJob) -> String {
    let (job, quote) = (admitted.job(), admitted.quote());
    let class = job.class.as_ref().map(|class| format!(", class {class}")).unwrap_or_default();
    format!(
        "ok: {}: {} (tenant {}{class}): at most {} USD, {} USD an hour\nthe image is not used: the command runs on this \
         machine's files\n",
        judged.file(),
        job.name,
        job.tenant,
        quote.ceiling,
        quote.per_hour
    )
}

/// The result of [`follow_job`].
struct Followed {
    ended: Observation,
    /// The first signal that `runway run` received.
    signal: Option<i32>,
    /// The error from writing the job's output.
    unwritten: Option<io::Error>,
}

/// Passes the job's output through and forwards signals to the job, until it no longer occupies resources.
fn follow(job: &Job, order: &Order, signals: &Signals, format: Format) -> Result<Followed, RunError> {
    let screen = Screen::new(format == Format::Json);
    let timeout = order.admitted.job().timeout;
    let mut reader = job.reader().map_err(RunError::ReadOutput)?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while let Some(chunk) = reader.next_blocking().map_err(RunError::ReadOutput)? {
                let is_out = chunk.stream == Stream::Out;
                if let Err(error) = screen.print(is_out, &chunk.bytes) {
                    job.stop().map_err(RunError::Follow)?;
                    if error.kind() != ErrorKind::BrokenPipe {
                        return Ok(Some(error));
                    }
                    // The reader has closed the pipe: stop the job and exit as SIGPIPE would.
                    signals.note_broken_pipe();
                    break;
                }
            }
            Ok::<_, RunError>(None)
        });
        signals.hand_on_to(job, scope);
        let ended = until_its_end(job, |usage| {
            if screen.has_status() {
                screen.draw(&outcome::progress(usage, job.memory(), job.limits(), timeout));
            }
        });
        if ended.is_err() {
            // The supervisor ends the job when the socket closes, and that ends the output.
            job.let_go();
        }
        signals.close();
        let read = reading.join();
        screen.clear();
        let unwritten = match read {
            Ok(read) => read?,
            Err(_) => None,
        };
        Ok(Followed { ended: ended.map_err(RunError::Follow)?, signal: signals.first(), unwritten })
    })
}

/// Waits until the job no longer occupies resources. Reports its usage at each interval.
fn until_its_end(job: &Job, tell: impl Fn(&Usage)) -> Result<Observation, JobError> {
    loop {
        let seen = job.wait(Some(REDRAWING))?;
        if !seen.status.holds {
            return Ok(seen);
        }
        tell(&job.usage()?);
    }
}
