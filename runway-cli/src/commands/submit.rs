//! `runway submit`: submits jobs to a server.

use crate::arguments::{OutputFormat, SubmitArgs};
use crate::client::{Client, ClientError, Jobs, SubmitBody, SubmitRequest};
use crate::document::{ParsedDocument, read_sources, render_all};
use crate::error::CliError;
use crate::output::{OutputError, escape_control};
use crate::remote::{
    InterruptHandler, Progress, RetryPolicy, follow, has_ended, print_serialized, render_job, render_summary,
    wait_for_jobs,
};
use crate::time::format_timestamp;
use crate::{Exit, output};
use runway_api::JobView;
use runway_control::{Env, SystemEnv};
use runway_core::{Violation, status::Phase};
use serde::Serialize;
use std::time::Duration;

/// The result for one document, as printed in JSON or YAML.
#[derive(Serialize)]
struct SubmitRecord {
    file: String,
    /// The index of the document in the file, from 0.
    document: usize,
    /// The idempotency key of the job.
    key: String,
    job: Option<JobView>,
    /// The violations of a refused job, as `check` prints them.
    violations: Vec<Violation>,
    /// The reason why the job was not submitted, or why the result of the submission is unknown.
    error: Option<String>,
    /// The value of the server's `Retry-After` header, in seconds.
    retry_after: Option<u64>,
    /// The time by which enough of the exceeded quota is available again, in RFC 3339 format.
    free_by: Option<String>,
}

pub(super) fn run(arguments: &SubmitArgs) -> Result<Exit, CliError> {
    let form = arguments.output.format;
    if arguments.follow && !form.is_human_readable() {
        return Err(CliError::FollowWithFormat);
    }
    let client = Client::new(&arguments.server)?;
    let (sources, read_exit) = read_sources(&arguments.files)?;
    let documents: Vec<_> = ParsedDocument::parse_sources(&sources).collect();
    if arguments.follow && documents.len() > 1 {
        return Err(CliError::FollowSeveral { jobs: documents.len() });
    }
    let key = arguments.idempotency_key.clone().unwrap_or_else(|| format!("{:032x}", SystemEnv.random()));
    let interrupt_handler = InterruptHandler::install().map_err(CliError::Interrupt)?;
    let mut command =
        SubmitCommand { arguments, client, interrupt_handler, key, records: Vec::new(), exit: read_exit };
    command.submit_all(&documents)?;
    if (arguments.wait || arguments.follow)
        && let Err(error) = command.wait()
    {
        error.print();
        output::eprint(&command.render_unfinished_jobs())?;
        command.exit = command.exit.or_worse(error.exit());
    }
    if !form.is_human_readable() && form != OutputFormat::Name {
        print_serialized(form, &command.records, [])?;
    }
    Ok(command.exit)
}

/// The state of `runway submit` while it runs.
struct SubmitCommand<'a> {
    arguments: &'a SubmitArgs,
    client: Client,
    interrupt_handler: InterruptHandler,
    /// The idempotency key of the command. Each job's key derives from it.
    key: String,
    /// One record for each document so far. The last one belongs to the document in progress.
    records: Vec<SubmitRecord>,
    exit: Exit,
}

impl SubmitCommand<'_> {
    fn submit_all(&mut self, documents: &[ParsedDocument<'_>]) -> Result<(), CliError> {
        let mut is_unreachable = false;
        for (i, document) in documents.iter().enumerate() {
            let key = if documents.len() == 1 { self.key.clone() } else { format!("{}-{}", self.key, i + 1) };
            self.records.push(SubmitRecord {
                file: document.file().to_owned(),
                document: document.index,
                key,
                job: None,
                violations: Vec::new(),
                error: None,
                retry_after: None,
                free_by: None,
            });
            if is_unreachable {
                self.record_error("not sent: the server is unreachable", Exit::Unreachable)?;
                continue;
            }
            let Some(body) = self.encode(document)? else { continue };
            self.update_interrupt_message();
            if let Err(failure) = self.send(&body) {
                let CliError::Client(error) = failure else { return Err(failure) };
                is_unreachable = error.exit() == Exit::Unreachable;
                self.report_not_submitted(document, &error)?;
            }
            self.update_interrupt_message();
        }
        if is_unreachable {
            let hint = format!(
                "to resume, repeat the command with `--idempotency-key {}`; no job is created twice\n",
                self.key
            );
            output::eprint(&hint)?;
        }
        Ok(())
    }

    /// Encodes a document for submission. Records a refusal and returns `None` if the document is malformed,
    /// or if the environment variable of a secret is missing.
    fn encode(&mut self, source: &ParsedDocument<'_>) -> Result<Option<SubmitBody>, CliError> {
        let parsed_spec = source.parse_spec();
        let tenant = self.arguments.server.tenant.as_ref().map(|tenant| tenant.as_str());
        let (Ok(document), []) = (&source.parsed, parsed_spec.violations.as_slice()) else {
            self.eprint_text(&render_all(&source.renderer(tenant, None), &parsed_spec.violations))?;
            self.record_refusal(parsed_spec.violations, "refused locally; nothing was sent");
            return Ok(None);
        };
        match SubmitBody::new(document, &parsed_spec.spec, |name| std::env::var(name)) {
            Ok(body) => Ok(Some(body)),
            Err(missing) => {
                let renderer = source.renderer(tenant, None);
                let notes =
                    missing.iter().map(|missing| renderer.render_note(&missing.path, &missing.message));
                self.eprint_text(&notes.collect::<String>())?;
                let messages: Vec<_> = missing.into_iter().map(|missing| missing.message).collect();
                self.record_refusal(Vec::new(), &format!("{}; nothing was sent", messages.join("; ")));
                Ok(None)
            }
        }
    }

    /// Submits a job, and retries under the same idempotency key if the error is retryable. Prints the job,
    /// and stores it in the last record.
    fn send(&mut self, body: &SubmitBody) -> Result<(), CliError> {
        let mut retry_policy = self.retry_policy();
        let Some(record) = self.records.last_mut() else { return Ok(()) };
        loop {
            let request = SubmitRequest {
                body: body.as_json(),
                idempotency_key: &record.key,
                timeout: retry_policy.remaining(),
            };
            match self.client.submit(&request) {
                Ok((is_new, job)) => {
                    let prefix = if is_new { "" } else { "already exists: " };
                    let line = format!("{}: {prefix}{}\n", job.id, render_summary(&job));
                    match self.arguments.output.format {
                        OutputFormat::Table | OutputFormat::Wide if self.arguments.follow => {
                            output::eprint(&line)?;
                        }
                        OutputFormat::Table | OutputFormat::Wide => output::print(&line)?,
                        OutputFormat::Name => output::print(&format!("{}\n", job.id))?,
                        OutputFormat::Json | OutputFormat::Yaml => {}
                    }
                    record.job = Some(job);
                    return Ok(());
                }
                Err(error) => retry_policy.wait_or_fail(error)?,
            }
        }
    }

    /// Prints the reason why a job was not submitted, and stores it in the last record.
    fn report_not_submitted(
        &mut self,
        document: &ParsedDocument<'_>,
        error: &ClientError,
    ) -> Result<(), CliError> {
        let tenant = self.arguments.server.tenant.as_ref().map(|tenant| tenant.as_str());
        if let ClientError::Problem(problem) = error {
            self.eprint_text(&render_all(&document.renderer(tenant, None), &problem.violations))?;
            if let Some(record) = self.records.last_mut() {
                record.retry_after = problem.retry_after.map(|after| after.as_secs());
                record.free_by = problem.free_by.map(format_timestamp);
            }
        }
        match error {
            ClientError::Problem(problem) if !problem.violations.is_empty() => {
                let file = escape_control(document.file());
                self.eprint_text(&format!("{file}: not submitted{}\n", problem.render_hints()))?;
                self.record_refusal(problem.violations.clone(), &problem.detail);
                return Ok(());
            }
            _ => {}
        }
        let uncertainty =
            if error.may_have_taken_effect() { "; the job may have been submitted" } else { "" };
        self.record_error(&format!("{error}{uncertainty}"), error.exit())
    }

    /// Waits until all submitted jobs have ended, and prints their final status. With `--follow`, prints the
    /// output of the job first.
    fn wait(&mut self) -> Result<(), CliError> {
        let jobs: Jobs = self.records.iter().filter_map(|record| record.job.clone()).collect();
        let (mut retry_policy, mut progress) = (self.retry_policy(), Progress::default());
        if let ([job], true) = (jobs.as_slice(), self.arguments.follow) {
            match follow(&self.client, &mut retry_policy, job, None, &mut progress) {
                // The server refuses to return the output, for example because it is deleted. The final
                // status can still be available.
                Err(failure @ CliError::Client(_)) if failure.exit() == Exit::Refused => {
                    failure.print();
                }
                followed => followed?,
            }
        }
        for job in wait_for_jobs(&self.client, &mut retry_policy, jobs, &mut progress)? {
            if job.phase != Phase::Succeeded {
                self.exit = self.exit.or_worse(Exit::JobFailed);
            }
            match self.arguments.output.format {
                OutputFormat::Table | OutputFormat::Wide if self.arguments.follow => {
                    output::eprint(&render_job(&job, SystemEnv.now()))?;
                }
                OutputFormat::Table | OutputFormat::Wide => {
                    output::print(&render_job(&job, SystemEnv.now()))?;
                }
                OutputFormat::Name | OutputFormat::Json | OutputFormat::Yaml => {}
            }
            for record in &mut self.records {
                if record.job.as_ref().is_some_and(|before| before.id == job.id) {
                    record.job = Some(job.clone());
                }
            }
        }
        Ok(())
    }

    /// Formats a line for each unfinished job, with the commands that show and cancel the job.
    fn render_unfinished_jobs(&self) -> String {
        let jobs = self.records.iter().filter_map(|record| record.job.as_ref());
        let line = |JobView { id, name, .. }: &JobView| {
            let name = escape_control(name);
            format!(
                "{id} ({name}) continues; check it with `runway status {id}`, or cancel it with `runway cancel {id}`\n"
            )
        };
        jobs.filter(|job| !has_ended(job)).map(line).collect()
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::new(Duration::from_secs(self.arguments.server.retry_for.get()))
    }

    /// Updates the message that is printed on Ctrl-C: the unfinished jobs, and a hint if a submission is in
    /// progress.
    fn update_interrupt_message(&self) {
        let mut message = format!("\n{}", self.render_unfinished_jobs());
        if self.records.last().is_some_and(|record| record.job.is_none() && record.error.is_none()) {
            message.push_str(&format!(
                "one more job may have been submitted; to resume, repeat the command with `--idempotency-key {}`\n",
                self.key
            ));
        }
        self.interrupt_handler.set_message(message);
    }

    /// Prints the reason why the last document was not submitted, and stores it in the last record.
    fn record_error(&mut self, message: &str, exit: Exit) -> Result<(), CliError> {
        if let Some(record) = self.records.last_mut() {
            let file = escape_control(&record.file);
            output::eprint(&format!("error: {file}: {message}\n"))?;
            record.error = Some(message.to_owned());
        }
        self.exit = self.exit.or_worse(exit);
        Ok(())
    }

    /// Stores in the last record that the document was refused. Prints nothing: the caller prints the reason.
    fn record_refusal(&mut self, violations: Vec<Violation>, error: &str) {
        if let Some(record) = self.records.last_mut() {
            (record.violations, record.error) = (violations, Some(error.to_owned()));
        }
        self.exit = self.exit.or_worse(Exit::Refused);
    }

    /// Prints text to standard error. Prints nothing if the output is JSON or YAML, because the records at
    /// the end contain the same information.
    fn eprint_text(&self, text: &str) -> Result<(), OutputError> {
        match self.arguments.output.format {
            OutputFormat::Json | OutputFormat::Yaml => Ok(()),
            OutputFormat::Table | OutputFormat::Wide | OutputFormat::Name => output::eprint(text),
        }
    }
}
