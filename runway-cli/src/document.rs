//! Reads job files and evaluates each document in them against the policy.

use crate::Exit;
use crate::arguments::EvalArgs;
use crate::diagnostics::{DiagnosticRenderer, DiagnosticTarget};
use crate::error::CliError;
use crate::input::{self, Source};
use crate::policy::LoadedPolicy;
use runway_api::DryRunResult;
use runway_control::{Env, SystemEnv};
use runway_core::capability::BackendKind;
use runway_core::document::{Document, DocumentError, parse_all};
use runway_core::gate::{DecisionInputs, replay};
use runway_core::spec::{ParsedSpec, SecretLiterals};
use runway_core::{Decision, Gate, HashSeed, JobSpec, Submission, Violation};
use std::path::PathBuf;
use std::sync::Arc;

/// Maximum number of violations rendered for one document.
const MAX_RENDERED: usize = 100;

/// One document of a job file.
pub(crate) struct ParsedDocument<'a> {
    source: &'a Source,
    /// The index of the document in the file, from 0.
    pub index: usize,
    pub parsed: Result<Document, DocumentError>,
}

impl<'a> ParsedDocument<'a> {
    /// Parses all documents of the given files, in the order of the files.
    pub(crate) fn parse_sources(sources: &'a [Source]) -> impl Iterator<Item = Self> {
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
    pub(crate) fn parse_spec(&self) -> ParsedSpec {
        match &self.parsed {
            Ok(document) => JobSpec::from_document(document, SecretLiterals::Refuse),
            Err(error) => ParsedSpec::from(error),
        }
    }

    /// Creates a renderer that shows violations in this document's source.
    pub(crate) fn renderer<'b>(
        &'b self,
        tenant: Option<&'b str>,
        policy: Option<&'b LoadedPolicy>,
    ) -> DiagnosticRenderer<'b> {
        let target = match &self.parsed {
            Ok(document) => DiagnosticTarget::Job(document),
            Err(error) => DiagnosticTarget::ParseError(error),
        };
        DiagnosticRenderer::new(self.source, target, tenant, policy)
    }
}

/// Renders the violations of a document in the order of their positions in the file, up to [`MAX_RENDERED`].
/// Violations without a position come first.
pub(crate) fn render_all(renderer: &DiagnosticRenderer<'_>, violations: &[Violation]) -> String {
    let mut ordered: Vec<&Violation> = violations.iter().collect();
    ordered.sort_by_key(|violation| renderer.offset(violation));
    let mut text: String =
        ordered.into_iter().take(MAX_RENDERED).map(|violation| renderer.render(violation)).collect();
    if violations.len() > MAX_RENDERED {
        let more = violations.len() - MAX_RENDERED;
        text.push_str(&format!("… and {more} more violations; `-o json` prints all of them\n\n"));
    }
    text
}

/// One document and the decision of the gate on it.
pub(crate) struct Evaluated<'a> {
    document: ParsedDocument<'a>,
    pub decision: Decision,
}

impl Evaluated<'_> {
    /// The path of the file as given on the command line.
    pub(crate) fn file(&self) -> &str {
        self.document.file()
    }

    /// The result for JSON output.
    pub(crate) fn dry_run_result(&self) -> DryRunResult<'_> {
        DryRunResult::new(self.file(), self.document.index, &self.decision)
    }

    /// Renders the violations of the document with their source lines, up to [`MAX_RENDERED`].
    pub(crate) fn render_text(&self, policy: &LoadedPolicy, common: &EvalArgs) -> String {
        let renderer = self.document.renderer(common.tenant.as_deref(), Some(policy));
        render_all(&renderer, self.decision.violations())
    }

    /// Renders a note for each backend that does not support all features of the admitted job. Returns an
    /// empty string if `--backend` is given, because the decision then includes the features.
    pub(crate) fn unchecked_features(&self, policy: &LoadedPolicy) -> String {
        if self.decision.inputs.capabilities.is_some() {
            return String::new();
        }
        let render_note = |backend: BackendKind| {
            let capabilities = Some(Arc::new(backend.capabilities()));
            let decision =
                replay(&policy.policy, &DecisionInputs { capabilities, ..self.decision.inputs.clone() })
                    .ok()?;
            let missing = decision.violations().iter().filter_map(|violation| violation.capability);
            let names = missing.map(|capability| format!("`{capability}`")).collect::<Vec<_>>().join(", ");
            let file = crate::output::escape_control(self.file());
            (!names.is_empty()).then(|| {
                format!("note: {file}: the backend `{backend}` does not support {names}; `--backend NAME` checks this\n")
            })
        };
        BackendKind::ALL.into_iter().filter_map(render_note).collect()
    }

    pub(crate) fn exit(&self) -> Exit {
        if self.decision.admitted().is_some() { Exit::Success } else { Exit::Refused }
    }
}

/// Reads all files. Prints an error for each unreadable file and continues with the others. The returned exit
/// status is [`Exit::InvalidInput`] if a file was unreadable, and [`Exit::Success`] otherwise.
///
/// # Errors
///
/// [`CliError::RepeatedStandardInput`] if `-` is given more than once.
pub(crate) fn read_sources(paths: &[PathBuf]) -> Result<(Vec<Source>, Exit), CliError> {
    let count = paths.iter().filter(|path| path.as_os_str() == "-").count();
    if count > 1 {
        return Err(CliError::RepeatedStandardInput { count });
    }
    let mut exit = Exit::Success;
    let mut sources = Vec::new();
    for path in paths {
        match input::read(path) {
            Ok(source) => sources.push(source),
            Err(error) => {
                CliError::from(error).print();
                exit = Exit::InvalidInput;
            }
        }
    }
    Ok((sources, exit))
}

/// Evaluates every document as if it were the only submission: no job holds resources, and the rate limit is
/// unused.
pub(crate) fn evaluate<'a>(
    sources: &'a [Source],
    policy: &LoadedPolicy,
    common: &EvalArgs,
    backend: Option<BackendKind>,
) -> Result<Vec<Evaluated<'a>>, CliError> {
    evaluate_with(sources, policy, common, backend, |_| Ok(()))
}

/// Evaluates every document like [`evaluate`], after `apply_overrides` has changed the parsed spec.
pub(crate) fn evaluate_with<'a>(
    sources: &'a [Source],
    policy: &LoadedPolicy,
    common: &EvalArgs,
    backend: Option<BackendKind>,
    apply_overrides: impl Fn(&mut JobSpec) -> Result<(), CliError>,
) -> Result<Vec<Evaluated<'a>>, CliError> {
    // A preview stores nothing in the hash maps of this gate, so the seed need not be secret.
    let mut gate = Gate::new(Arc::new(policy.policy.clone()), HashSeed::default());
    if let Some(backend) = backend {
        gate = gate.with_capabilities(backend.capabilities());
    }
    let now = SystemEnv.now();
    let evaluate_document = |document: ParsedDocument<'a>| {
        let mut parsed_spec = document.parse_spec();
        apply_overrides(&mut parsed_spec.spec)?;
        let submission = Submission::from(parsed_spec).with_tenant(common.tenant.clone());
        let decision = gate.preview(&submission, now);
        Ok(Evaluated { document, decision })
    };
    ParsedDocument::parse_sources(sources).map(evaluate_document).collect()
}
