//! `runway run`: the same job, under the same limits, on this machine.

mod outcome;
mod screen;
mod signals;

use crate::arguments::{Format, RunArguments};
use crate::document::{Judged, judge_amended, read_all};
use crate::input::Failure;
use crate::{Exit, clock, output, policy};
use outcome::Outcome;
use runway_control::backend::Order;
use runway_core::spec::Secret;
use runway_core::{AdmittedJob, JobId, JobSpec};
use runway_local::{Job, LocalSettings, Machine, StartError, Stream, Supervision, detect_gpus};
use screen::Screen;
use signals::Signals;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// How often the status line is drawn anew.
const REDRAWING: Duration = Duration::from_millis(500);

pub(super) fn run(arguments: &RunArguments) -> Exit {
    try_run(arguments).unwrap_or_else(|error| {
        output::error(&error);
        Exit::NOT_RUN
    })
}

fn try_run(arguments: &RunArguments) -> Result<Exit, Failure> {
    let common = &arguments.common;
    let policy = policy::load(common.policy.file.as_deref())?;
    let (sources, Exit::Fine) = read_all(std::slice::from_ref(&arguments.file))? else {
        return Ok(Exit::NOT_RUN);
    };
    let judged = judge_amended(&sources, &policy, common, |spec| amend(spec, arguments))?;
    let [judged] = judged.as_slice() else {
        let message = format!("`{}` has {} jobs; `run` takes one", arguments.file.display(), judged.len());
        return Err(Failure::Usage(message));
    };
    let Some(admitted) = judged.decision.admitted() else {
        match common.output.format {
            Format::Json => output::print_json(&judged.verdict())?,
            Format::Text => output::print_aside(&judged.story(&policy, common))?,
        }
        return Ok(Exit::NOT_RUN);
    };
    output::print_aside(&verdict(judged, admitted))?;
    let order = Order { id: new_id()?, admitted: admitted.clone(), policy: Arc::new(policy.policy.clone()) };
    // From here on somebody may want to end it.
    let signals = Signals::listen().map_err(|error| failed("signals cannot be heard", &error))?;
    let machine = Machine::open(settings(arguments)?).map_err(|error| told(&error))?;
    let job = Job::start(&machine, &order, Supervision::Attached).map_err(|error| match error {
        StartError::NotEnforced(limits) => {
            Failure::Usage(format!("{limits}; `--best-effort` runs the job all the same"))
        }
        error => told(&error),
    })?;
    for limit in job.not_enforced() {
        output::print_aside(&format!("warning: not enforced: {limit}\n"))?;
    }
    let (ended, signal) = follow(&job, &order, &signals, common.output.format)?;
    let outcome =
        Outcome::new(&job, ended, clock::now()).map_err(|error| failed("what was used is lost", &error))?;
    match common.output.format {
        Format::Json => output::print_json(&outcome.record())?,
        Format::Text => output::print_aside(&outcome.story())?,
    }
    let exit = outcome.exit(signal);
    job.remove().map_err(|error| failed("what was kept of the job cannot be removed", &error))?;
    Ok(exit)
}

/// Takes over what the command line and the environment say.
fn amend(spec: &mut JobSpec, arguments: &RunArguments) -> Result<(), Failure> {
    if !arguments.command.is_empty() {
        spec.command.clone_from(&arguments.command);
        spec.args.clear();
    }
    for (name, secret) in &mut spec.secrets {
        if let Secret::FromEnv(from) = secret {
            let value = std::env::var(&*from).map_err(|error| {
                Failure::Usage(format!("the secret `{name}` comes from the variable {from}: {error}"))
            })?;
            *secret = Secret::Value(value);
        }
    }
    Ok(())
}

fn settings(arguments: &RunArguments) -> Result<LocalSettings, Failure> {
    let usual = || LocalSettings::usual_state(|name| std::env::var_os(name));
    let state = arguments.state_dir.clone().or_else(usual).ok_or_else(|| {
        Failure::Usage("there is no home to keep jobs in; name a folder with `--state-dir`".to_owned())
    })?;
    Ok(LocalSettings {
        best_effort: arguments.best_effort,
        cgroup_parent: arguments.cgroup_parent.clone(),
        gpus: arguments.gpu_devices.clone().unwrap_or_else(detect_gpus),
        ..LocalSettings::new(state)
    })
}

/// That it is admitted, what it may cost, and what is left out here.
fn verdict(judged: &Judged<'_>, admitted: &AdmittedJob) -> String {
    let (job, quote) = (admitted.job(), admitted.quote());
    let class = job.class.as_ref().map(|class| format!(", class {class}")).unwrap_or_default();
    format!(
        "ok: {}: {} (tenant {}{class}): at most {} USD, {} USD an hour\nthe image is not used here: the command runs on this \
         machine's own files\n",
        judged.file(),
        job.name,
        job.tenant,
        quote.ceiling,
        quote.per_hour
    )
}

/// Passes on what the job prints, and signals to it, until nothing of it is left.
fn follow(
    job: &Job,
    order: &Order,
    signals: &Signals,
    format: Format,
) -> Result<(runway_control::Observation, Option<i32>), Failure> {
    let lost = |error: std::io::Error| failed("the job's folder cannot be read", &error);
    let screen = Screen::new(format == Format::Json);
    let timeout = order.admitted.job().timeout;
    let mut reader = job.reader().map_err(lost)?;
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            while let Some(chunk) = reader.next_blocking()? {
                let is_out = chunk.stream == Stream::Out;
                if screen.print(is_out, &chunk.bytes).is_err() {
                    // Nobody reads what it prints: as a program of theirs would, it ends.
                    signals.note_broken_pipe();
                    job.stop()?;
                    break;
                }
            }
            std::io::Result::Ok(())
        });
        signals.hand_on_to(job, scope);
        let ended = loop {
            let seen = job.wait(Some(REDRAWING)).map_err(lost)?;
            if !seen.status.holds {
                break seen;
            }
            if screen.has_status() {
                let usage = job.usage().map_err(lost)?;
                screen.draw(&outcome::progress(&usage, job.memory(), job.limits(), timeout));
            }
        };
        signals.close();
        if let Ok(read) = reading.join() {
            read.map_err(lost)?;
        }
        screen.clear();
        Ok((ended, signals.first()))
    })
}

fn new_id() -> Result<JobId, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| failed("there is no randomness", &error))?;
    Ok(JobId::from_random(u128::from_ne_bytes(bytes)))
}

fn failed(what: &str, error: &dyn Error) -> Failure {
    Failure::Usage(format!("{what}: {error}"))
}

/// An error with what is beneath it.
fn told(error: &dyn Error) -> Failure {
    let beneath = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    Failure::Usage(format!("{error}{beneath}"))
}
