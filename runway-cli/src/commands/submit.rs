//! `runway submit`: submits jobs to a server.

use crate::arguments::{Form, Submit};
use crate::client::{Client, Jobs, Prepared, Sending, Trouble};
use crate::document::{Written, draw_all, read_all};
use crate::failure::Failure;
use crate::online::{
    Interrupt, Patience, Progress, follow, has_ended, print_values, story, summary, wait_for,
};
use crate::output::{OutputError, printable};
use crate::time::time;
use crate::{Exit, output};
use runway_api::JobView;
use runway_control::{Surroundings, System};
use runway_core::{Violation, status::Phase};
use serde::Serialize;
use std::time::Duration;

/// The result for one document, as printed in JSON or YAML.
#[derive(Serialize)]
struct Record {
    file: String,
    /// The index of the document in the file, from 0.
    document: usize,
    /// The idempotency key of the job.
    key: String,
    job: Option<JobView>,
    /// The violations of a refused job, as `check` prints them.
    violations: Vec<Violation>,
    /// The error if the job was not submitted.
    error: Option<String>,
    /// The value of the server's `Retry-After` header, in seconds.
    retry_after: Option<u64>,
    /// The time by which enough of an exceeded quota becomes available.
    free_by: Option<String>,
}

pub(super) fn run(arguments: &Submit) -> Result<Exit, Failure> {
    let form = arguments.output.form;
    if arguments.follow && !form.is_for_people() {
        return Err(Failure::FollowWithFormat);
    }
    let client = Client::new(&arguments.server)?;
    let (sources, read) = read_all(&arguments.files)?;
    let documents: Vec<_> = Written::all(&sources).collect();
    if arguments.follow && documents.len() > 1 {
        return Err(Failure::FollowSeveral { jobs: documents.len() });
    }
    let key = arguments.key.clone().unwrap_or_else(|| format!("{:032x}", System.random()));
    let interrupt = Interrupt::listen().map_err(Failure::Interrupt)?;
    let mut call = Call { arguments, client, interrupt, key, records: Vec::new(), exit: read };
    call.submit_all(&documents)?;
    if (arguments.wait || arguments.follow)
        && let Err(failure) = call.wait()
    {
        failure.print();
        output::print_aside(&call.goes_on())?;
        call.exit = call.exit.and(failure.exit());
    }
    if !form.is_for_people() && form != Form::Name {
        print_values(form, &call.records, [])?;
    }
    Ok(call.exit)
}

/// The state of one run of the command.
struct Call<'a> {
    arguments: &'a Submit,
    client: Client,
    interrupt: Interrupt,
    /// The idempotency key of the command. Each job's key derives from it.
    key: String,
    records: Vec<Record>,
    exit: Exit,
}

impl Call<'_> {
    fn submit_all(&mut self, documents: &[Written<'_>]) -> Result<(), Failure> {
        let mut is_away = false;
        for (i, written) in documents.iter().enumerate() {
            let key = if documents.len() == 1 { self.key.clone() } else { format!("{}-{}", self.key, i + 1) };
            self.records.push(Record {
                file: written.file().to_owned(),
                document: written.index,
                key,
                job: None,
                violations: Vec::new(),
                error: None,
                retry_after: None,
                free_by: None,
            });
            if is_away {
                self.fail("not sent: the server is unreachable", Exit::Unreachable)?;
                continue;
            }
            let Some(prepared) = self.prepare(written)? else { continue };
            self.advise();
            if let Err(failure) = self.send(&prepared) {
                let Failure::Online(trouble) = failure else { return Err(failure) };
                is_away = trouble.exit() == Exit::Unreachable;
                self.refused(written, &trouble)?;
            }
            self.advise();
        }
        if is_away {
            let advice = format!(
                "to resume, repeat the command with `--key {}`; no job is created twice\n",
                self.key
            );
            output::print_aside(&advice)?;
        }
        Ok(())
    }

    /// Encodes a document for submission. Records a refusal and returns `None` if it has violations or a
    /// secret is missing.
    fn prepare(&mut self, written: &Written<'_>) -> Result<Option<Prepared>, Failure> {
        let reading = written.read();
        let tenant = self.arguments.server.tenant.as_ref().map(|tenant| tenant.as_str());
        let (Ok(document), []) = (&written.parsed, reading.violations.as_slice()) else {
            self.tell(&draw_all(&written.report(tenant, None), &reading.violations))?;
            self.note(reading.violations, "refused locally; nothing was sent");
            return Ok(None);
        };
        match Prepared::new(document, &reading.spec, |name| std::env::var(name)) {
            Ok(prepared) => Ok(Some(prepared)),
            Err(missing) => {
                let report = written.report(tenant, None);
                let drawn = missing.iter().map(|missing| report.draw_fault(&missing.path, &missing.message));
                self.tell(&drawn.collect::<String>())?;
                let messages: Vec<_> = missing.into_iter().map(|missing| missing.message).collect();
                self.note(Vec::new(), &format!("{}; nothing was sent", messages.join("; ")));
                Ok(None)
            }
        }
    }

    /// Submits a job. Retries under the same idempotency key if no response arrives.
    fn send(&mut self, prepared: &Prepared) -> Result<(), Failure> {
        let mut patience = self.patience();
        let Some(record) = self.records.last_mut() else { return Ok(()) };
        loop {
            let sending = Sending { body: prepared.as_json(), key: &record.key, within: patience.left() };
            match self.client.submit(&sending) {
                Ok((is_new, job)) => {
                    let before = if is_new { "" } else { "already exists: " };
                    let line = format!("{}: {before}{}\n", job.id, summary(&job));
                    match self.arguments.output.form {
                        Form::Table | Form::Wide if self.arguments.follow => output::print_aside(&line)?,
                        Form::Table | Form::Wide => output::print(&line)?,
                        Form::Name => output::print(&format!("{}\n", job.id))?,
                        Form::Json | Form::Yaml => {}
                    }
                    record.job = Some(job);
                    return Ok(());
                }
                Err(trouble) => patience.bear(trouble)?,
            }
        }
    }

    /// Prints and records the reason why a job was not submitted.
    fn refused(&mut self, written: &Written<'_>, trouble: &Trouble) -> Result<(), Failure> {
        let tenant = self.arguments.server.tenant.as_ref().map(|tenant| tenant.as_str());
        if let Trouble::Problem(told) = trouble {
            self.tell(&draw_all(&written.report(tenant, None), &told.violations))?;
            if let Some(record) = self.records.last_mut() {
                record.retry_after = told.retry_after.map(|after| after.as_secs());
                record.free_by = told.free_by.map(time);
            }
        }
        match trouble {
            Trouble::Problem(told) if !told.violations.is_empty() => {
                let file = printable(written.file());
                self.tell(&format!("{file}: not submitted{}\n", told.advice()))?;
                self.note(told.violations.clone(), &told.detail);
                return Ok(());
            }
            _ => {}
        }
        let doubt = if trouble.leaves_doubt() { "; the job may have been submitted" } else { "" };
        self.fail(&format!("{trouble}{doubt}"), trouble.exit())
    }

    /// Waits until all submitted jobs have ended, and prints their final status.
    fn wait(&mut self) -> Result<(), Failure> {
        let jobs: Jobs = self.records.iter().filter_map(|record| record.job.clone()).collect();
        let (mut patience, mut progress) = (self.patience(), Progress::default());
        if let ([job], true) = (jobs.as_slice(), self.arguments.follow) {
            match follow(&self.client, &mut patience, job, None, &mut progress) {
                // The output is gone, but the final status is still available.
                Err(failure @ Failure::Online(_)) if failure.exit() == Exit::Refused => {
                    failure.print();
                }
                followed => followed?,
            }
        }
        for job in wait_for(&self.client, &mut patience, jobs, &mut progress)? {
            if job.phase != Phase::Succeeded {
                self.exit = self.exit.and(Exit::Failed);
            }
            match self.arguments.output.form {
                Form::Table | Form::Wide if self.arguments.follow => {
                    output::print_aside(&story(&job, System.now()))?;
                }
                Form::Table | Form::Wide => output::print(&story(&job, System.now()))?,
                Form::Name | Form::Json | Form::Yaml => {}
            }
            for record in &mut self.records {
                if record.job.as_ref().is_some_and(|before| before.id == job.id) {
                    record.job = Some(job.clone());
                }
            }
        }
        Ok(())
    }

    /// Formats the commands that manage the unfinished jobs.
    fn goes_on(&self) -> String {
        let jobs = self.records.iter().filter_map(|record| record.job.as_ref());
        let line = |JobView { id, name, .. }: &JobView| {
            let name = printable(name);
            format!(
                "{id} ({name}) continues; check it with `runway status {id}`, or cancel it with `runway cancel {id}`\n"
            )
        };
        jobs.filter(|job| !has_ended(job)).map(line).collect()
    }

    fn patience(&self) -> Patience {
        Patience::new(Duration::from_secs(self.arguments.server.retry_for.get()))
    }

    /// Updates the message that is printed on Ctrl-C.
    fn advise(&self) {
        let mut advice = format!("\n{}", self.goes_on());
        if self.records.last().is_some_and(|record| record.job.is_none() && record.error.is_none()) {
            advice.push_str(&format!(
                "one more job may have been submitted; to resume, repeat the command with `--key {}`\n",
                self.key
            ));
        }
        self.interrupt.advise(advice);
    }

    /// Prints and records that the last document was not submitted.
    fn fail(&mut self, message: &str, exit: Exit) -> Result<(), Failure> {
        if let Some(record) = self.records.last_mut() {
            let file = printable(&record.file);
            output::print_aside(&format!("error: {file}: {message}\n"))?;
            record.error = Some(message.to_owned());
        }
        self.exit = self.exit.and(exit);
        Ok(())
    }

    /// Records that the last document was refused. The caller has printed the reason.
    fn note(&mut self, violations: Vec<Violation>, error: &str) {
        if let Some(record) = self.records.last_mut() {
            (record.violations, record.error) = (violations, Some(error.to_owned()));
        }
        self.exit = self.exit.and(Exit::Refused);
    }

    /// Prints text to standard error, unless the output is JSON or YAML, which contains the same at the end.
    fn tell(&self, story: &str) -> Result<(), OutputError> {
        match self.arguments.output.form {
            Form::Json | Form::Yaml => Ok(()),
            Form::Table | Form::Wide | Form::Name => output::print_aside(story),
        }
    }
}
