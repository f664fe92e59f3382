//! Files of jobs, and what becomes of each document in them.

use crate::Exit;
use crate::arguments::Common;
use crate::diagnostics::{Diagnosed, Report};
use crate::failure::Failure;
use crate::input::{self, Source};
use crate::policy::LoadedPolicy;
use runway_api::Verdict;
use runway_control::{Surroundings, System};
use runway_core::capability::BackendKind;
use runway_core::document::{Document, DocumentError, parse_all};
use runway_core::gate::{Basis, replay};
use runway_core::spec::{Reading, SecretLiterals};
use runway_core::{Decision, Gate, HashSeed, JobSpec, Submission, Violation};
use std::path::PathBuf;
use std::sync::Arc;

/// Of one document at most this many violations are drawn.
const MAX_DRAWN: usize = 100;

/// One document of a file.
pub(crate) struct Written<'a> {
    source: &'a Source,
    /// Which document of the file, from 0.
    pub index: usize,
    pub parsed: Result<Document, DocumentError>,
}

impl<'a> Written<'a> {
    /// Every document of these files.
    pub(crate) fn all(sources: &'a [Source]) -> impl Iterator<Item = Self> {
        sources.iter().flat_map(|source| {
            let parsed = parse_all(source.bytes()).into_iter().enumerate();
            parsed.map(move |(index, parsed)| Self { source, index, parsed })
        })
    }

    /// The path of the file as given.
    pub(crate) fn file(&self) -> &str {
        &self.source.name
    }

    /// What can be told of it by itself. A file must not hold the values of secrets.
    pub(crate) fn read(&self) -> Reading {
        match &self.parsed {
            Ok(document) => JobSpec::read(document, SecretLiterals::Refuse),
            Err(error) => Reading::from(error),
        }
    }

    /// Draws into the file.
    pub(crate) fn report<'b>(
        &'b self,
        tenant: Option<&'b str>,
        policy: Option<&'b LoadedPolicy>,
    ) -> Report<'b> {
        let place = match &self.parsed {
            Ok(document) => Diagnosed::Job(document),
            Err(error) => Diagnosed::Unreadable(error),
        };
        Report::new(self.source, place, tenant, policy)
    }
}

/// Every violation of a document, drawn into its file.
pub(crate) fn draw_all(report: &Report<'_>, violations: &[Violation]) -> String {
    let mut story: String =
        violations.iter().take(MAX_DRAWN).map(|violation| report.draw(violation)).collect();
    if violations.len() > MAX_DRAWN {
        let more = violations.len() - MAX_DRAWN;
        story.push_str(&format!("… and {more} more of this document; `-o json` has them all\n\n"));
    }
    story
}

/// One document and what would become of it.
pub(crate) struct Judged<'a> {
    written: Written<'a>,
    pub decision: Decision,
}

impl Judged<'_> {
    /// The path of the file as given.
    pub(crate) fn file(&self) -> &str {
        self.written.file()
    }

    /// What programs are told of it.
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        Verdict::new(self.file(), self.written.index, &self.decision)
    }

    /// Every violation, drawn into the file.
    pub(crate) fn story(&self, policy: &LoadedPolicy, common: &Common) -> String {
        let report = self.written.report(common.tenant.as_deref(), Some(policy));
        draw_all(&report, self.decision.violations())
    }

    /// A line for each backend that lacks a feature of the admitted job. Empty if a backend was named: its features were checked.
    pub(crate) fn unchecked_features(&self, policy: &LoadedPolicy) -> String {
        if self.decision.basis.capabilities.is_some() {
            return String::new();
        }
        let lacking = |backend: BackendKind| {
            let capabilities = Some(Arc::new(backend.capabilities()));
            let decision =
                replay(&policy.policy, &Basis { capabilities, ..self.decision.basis.clone() }).ok()?;
            let missing = decision.violations().iter().filter_map(|violation| violation.capability);
            let names = missing.map(|capability| format!("`{capability}`")).collect::<Vec<_>>().join(", ");
            let file = crate::output::printable(self.file());
            (!names.is_empty()).then(|| {
                format!("note: {file}: the backend `{backend}` does not support {names}; `--backend NAME` checks this\n")
            })
        };
        BackendKind::ALL.into_iter().filter_map(lacking).collect()
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.decision.admitted().is_some() { Exit::Fine } else { Exit::Refused }
    }
}

/// Reads files; those that cannot be read are told of on the way and do not hide the others.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<(Vec<Source>, Exit), Failure> {
    let count = paths.iter().filter(|path| path.as_os_str() == "-").count();
    if count > 1 {
        return Err(Failure::RepeatedStandardInput { count });
    }
    let mut exit = Exit::Fine;
    let mut sources = Vec::new();
    for path in paths {
        match input::read(path) {
            Ok(source) => sources.push(source),
            Err(error) => {
                Failure::from(error).print();
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
    backend: Option<BackendKind>,
) -> Result<Vec<Judged<'a>>, Failure> {
    judge_amended(sources, policy, common, backend, |_| Ok(()))
}

/// The same, with what was written changed beforehand.
pub(crate) fn judge_amended<'a>(
    sources: &'a [Source],
    policy: &LoadedPolicy,
    common: &Common,
    backend: Option<BackendKind>,
    amend: impl Fn(&mut JobSpec) -> Result<(), Failure>,
) -> Result<Vec<Judged<'a>>, Failure> {
    // Nothing is kept in this gate's maps, so their hash need not be secret.
    let mut gate = Gate::new(Arc::new(policy.policy.clone()), HashSeed::default());
    if let Some(backend) = backend {
        gate = gate.with_capabilities(backend.capabilities());
    }
    let now = System.now();
    let judge = |written: Written<'a>| {
        let mut reading = written.read();
        amend(&mut reading.spec)?;
        let submission = Submission::from(reading).with_tenant(common.tenant.clone());
        let decision = gate.preview(&submission, now);
        Ok(Judged { written, decision })
    };
    Written::all(sources).map(judge).collect()
}
