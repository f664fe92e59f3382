//! Files of jobs, document by document, each judged by itself.

use crate::clock;
use crate::diagnostics::{Diagnosed, Report};
use crate::input::{self, Failure, Source};
use crate::output;
use crate::policy::LoadedPolicy;
use crate::{Exit, arguments::Common};
use runway_api::Verdict;
use runway_core::document::{Document, DocumentError, parse_all};
use runway_core::spec::{Reading, SecretLiterals};
use runway_core::{Decision, Gate, HashSeed, JobSpec, Submission};
use std::path::PathBuf;
use std::sync::Arc;

/// Of one document at most this many violations are drawn.
const MAX_DRAWN: usize = 100;

/// One document and what would become of it.
pub(crate) struct Judged<'a> {
    source: &'a Source,
    /// Which document of the file, from 0.
    pub index: usize,
    parsed: Result<Document, DocumentError>,
    pub decision: Decision,
}

impl Judged<'_> {
    /// The path of the file as given.
    pub(crate) fn file(&self) -> &str {
        &self.source.name
    }

    /// What programs are told of it.
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        Verdict::new(&self.source.name, self.index, &self.decision)
    }

    /// Every violation, drawn into the file.
    pub(crate) fn story(&self, policy: &LoadedPolicy, common: &Common) -> String {
        let place = match &self.parsed {
            Ok(document) => Diagnosed::Job(document),
            Err(error) => Diagnosed::Unreadable(error.span()),
        };
        let report = Report::new(self.source, place, common.tenant.as_deref(), Some(policy));
        let violations = self.decision.violations();
        let mut story: String =
            violations.iter().take(MAX_DRAWN).map(|violation| report.draw(violation)).collect();
        if violations.len() > MAX_DRAWN {
            let more = violations.len() - MAX_DRAWN;
            story.push_str(&format!("… and {more} more of this document; `check -o json` has them all\n\n"));
        }
        story
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.decision.admitted().is_some() { Exit::Admitted } else { Exit::Refused }
    }
}

/// Reads files; those that cannot be read are told of on the way and do not hide the others.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<(Vec<Source>, Exit), Failure> {
    if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(Failure::Usage("standard input, `-`, can be read only once".to_owned()));
    }
    let mut exit = Exit::Admitted;
    let mut sources = Vec::new();
    for path in paths {
        match input::read(path) {
            Ok(source) => sources.push(source),
            Err(failure) => {
                output::error(&failure);
                exit = Exit::NotJudged;
            }
        }
    }
    Ok((sources, exit))
}

/// Judges every document as if it were submitted alone, with nothing held and nothing spent.
pub(crate) fn judge<'a>(
    sources: &'a [Source],
    policy: &LoadedPolicy,
    common: &Common,
) -> Result<Vec<Judged<'a>>, Failure> {
    judge_amended(sources, policy, common, |_| Ok(()))
}

/// The same, with what was written changed beforehand.
pub(crate) fn judge_amended<'a>(
    sources: &'a [Source],
    policy: &LoadedPolicy,
    common: &Common,
    amend: impl Fn(&mut JobSpec) -> Result<(), Failure>,
) -> Result<Vec<Judged<'a>>, Failure> {
    // Nothing is kept in this gate's maps, so their hash need not be secret.
    let gate = Gate::new(Arc::new(policy.policy.clone()), HashSeed::default());
    let now = clock::now();
    let mut judged = Vec::new();
    for source in sources {
        for (index, parsed) in parse_all(source.bytes()).into_iter().enumerate() {
            let mut reading = match &parsed {
                Ok(document) => JobSpec::read(document, SecretLiterals::Refuse),
                Err(error) => Reading::from(error),
            };
            amend(&mut reading.spec)?;
            let submission = Submission::from(reading).with_tenant(common.tenant.clone());
            let decision = gate.preview(&submission, now);
            judged.push(Judged { source, index, parsed, decision });
        }
    }
    Ok(judged)
}
