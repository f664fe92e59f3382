//! Reads job files and evaluates each document in them against the policy.

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

/// Maximum number of violations rendered for one document.
const MAX_DRAWN: usize = 100;

/// One document of a job file.
pub(crate) struct Written<'a> {
    source: &'a Source,
    /// The index of the document in the file, from 0.
    pub index: usize,
    pub parsed: Result<Document, DocumentError>,
}

impl<'a> Written<'a> {
    /// Parses all documents of these files.
    pub(crate) fn all(sources: &'a [Source]) -> impl Iterator<Item = Self> {
        sources.iter().flat_map(|source| {
            let parsed = parse_all(source.bytes()).into_iter().enumerate();
            parsed.map(move |(index, parsed)| Self { source, index, parsed })
        })
    }

    /// The path of the file as given on the command line.
    pub(crate) fn file(&self) -> &str {
        &self.source.name
    }

    /// Parses the job without applying a policy. A literal secret value in the file is a violation.
    pub(crate) fn read(&self) -> Reading {
        match &self.parsed {
            Ok(document) => JobSpec::read(document, SecretLiterals::Refuse),
            Err(error) => Reading::from(error),
        }
    }

    /// Creates a renderer that shows violations in this document's source.
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

/// Renders the violations of a document in their source, up to [`MAX_RENDERED`].
pub(crate) fn draw_all(report: &Report<'_>, violations: &[Violation]) -> String {
    let mut story: String =
        violations.iter().take(MAX_DRAWN).map(|violation| report.draw(violation)).collect();
    if violations.len() > MAX_DRAWN {
        let more = violations.len() - MAX_DRAWN;
        story.push_str(&format!("… and {more} more violations; `-o json` prints all of them\n\n"));
    }
    story
}

/// One document and the decision of the gate on it.
pub(crate) struct Judged<'a> {
    written: Written<'a>,
    pub decision: Decision,
}

impl Judged<'_> {
    /// The path of the file as given on the command line.
    pub(crate) fn file(&self) -> &str {
        self.written.file()
    }

    /// The result for JSON output.
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        Verdict::new(self.file(), self.written.index, &self.decision)
    }

    /// Renders all violations in their source.
    pub(crate) fn story(&self, policy: &LoadedPolicy, common: &Common) -> String {
        let report = self.written.report(common.tenant.as_deref(), Some(policy));
        draw_all(&report, self.decision.violations())
    }

    /// Renders a note for each backend that lacks a feature of the admitted job. Returns an empty string if
    /// `--backend` is given, because the decision then covers the features.
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

/// Reads all files. Prints an error for each unreadable file and continues with the others.
///
/// # Errors
///
/// [`CliError::RepeatedStandardInput`] if `-` is given more than once.
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

/// Evaluates every document as if it were the only submission: no job holds resources, and the rate limit is
/// unused.
pub(crate) fn judge<'a>(
    sources: &'a [Source],
    policy: &LoadedPolicy,
    common: &Common,
    backend: Option<BackendKind>,
) -> Result<Vec<Judged<'a>>, Failure> {
    judge_amended(sources, policy, common, backend, |_| Ok(()))
}

/// Evaluates every document like [`evaluate`], after `apply_overrides` has changed its spec.
pub(crate) fn judge_amended<'a>(
    sources: &'a [Source],
    policy: &LoadedPolicy,
    common: &Common,
    backend: Option<BackendKind>,
    amend: impl Fn(&mut JobSpec) -> Result<(), Failure>,
) -> Result<Vec<Judged<'a>>, Failure> {
    // A preview stores nothing in the hash maps of this gate, so the seed need not be secret.
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
