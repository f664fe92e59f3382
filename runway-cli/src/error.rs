//! The error type of all commands, with messages and exit codes.

use crate::Exit;
use crate::client::{ClientConfigError, ClientError};
use crate::diagnostics::{DiagnosticRenderer, DiagnosticTarget};
use crate::input::ReadError;
use crate::output::{self, OutputError, escape_control};
use crate::policy::PolicyLoadError;
use runway_core::document::{DocumentLimits, parse_all_within};
use runway_core::guardrails::GuardrailsError;
use runway_core::name::NameError;
use runway_core::status::KubectlListError;
use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

/// An error that ends a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A file cannot be read, or it is too large.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The policy does not load.
    #[error(transparent)]
    Policy(#[from] PolicyLoadError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The options for the server are invalid.
    #[error(transparent)]
    ClientConfig(#[from] ClientConfigError),
    /// A request to the server failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard input is given more than once.
    #[error("standard input (`-`) can be read only once, but it is given {count} times")]
    RepeatedStandardInput {
        /// The number of `-` arguments.
        count: usize,
    },
    /// `diagnose` reads a file that is not JSON.
    #[error("cannot parse `{}` as JSON: {error}; pass the output of `{KUBECTL}`", display_path(path))]
    NotJson {
        /// The path of the file.
        path: PathBuf,
        error: serde_json::Error,
    },
    /// `diagnose` reads JSON that does not list Kubernetes objects.
    #[error("cannot read `{}`: {}; pass the output of `{KUBECTL}`", display_path(path), escape_control(&error.to_string()))]
    NotKubernetes {
        /// The path of the file.
        path: PathBuf,
        error: KubectlListError,
    },
    /// `policy show` is called for a tenant whose name is malformed.
    #[error("the tenant `{}` {error}", escape_control(name))]
    InvalidTenant {
        /// The value of `--tenant`.
        name: String,
        error: NameError,
    },
    /// `policy show` is called for a tenant that the policy does not accept.
    #[error("the policy does not list the tenant `{}`", escape_control(name))]
    UnlistedTenant {
        /// The value of `--tenant`.
        name: String,
    },
    /// `policy show` is called for a class that the policy does not define.
    #[error("the policy has no class `{}`; its classes are: {}", escape_control(name), classes.join(", "))]
    UnknownClass {
        /// The value of `--class`.
        name: String,
        /// The classes of the policy.
        classes: Vec<String>,
    },
    /// `policy render` needs the address of the API server.
    #[error(
        "{error}{place}; pass `--api-server` for each address that `kubectl get endpoints,service kubernetes -n default` \
         shows, such as `--api-server 172.18.0.2/32`"
    )]
    ApiServerUnknown {
        error: GuardrailsError,
        /// The file and line where the policy allows the network `open`, as ` (FILE:LINE)`. Empty if unknown.
        place: String,
    },
    /// `policy render` receives `0.0.0.0/0` or `::/0` as an address range of the API server.
    #[error("{0}; pass the API server's own address, such as `--api-server 172.18.0.2/32`")]
    ApiServerEverywhere(GuardrailsError),
    /// `render` would print two Kubernetes Jobs with the same namespace and name.
    #[error("two jobs would have the name `{name}`; render them one at a time with `--id`")]
    RepeatedObject {
        /// The object name.
        name: String,
    },
    /// `submit --follow` is called with a machine-readable output format.
    #[error("`--follow` prints the output of the job: leave out `--output`, or use `--wait`")]
    FollowWithFormat,
    /// `submit --follow` is called with several jobs.
    #[error("`--follow` accepts one job, but the files have {jobs}; use `--wait`")]
    FollowSeveral {
        /// The number of jobs in the files.
        jobs: usize,
    },
    /// The handler for Ctrl-C cannot be installed.
    #[error("cannot install the handler for Ctrl-C: {0}")]
    Interrupt(io::Error),
    /// `man` cannot write its pages.
    #[error(
        "cannot write the manual pages to `{}`: {error}; choose a writable directory",
        display_path(folder)
    )]
    ManualPages {
        /// The path of the directory.
        folder: PathBuf,
        error: io::Error,
    },
    /// The environment variable of a secret is not set or not valid UTF-8. The message does not show the
    /// value of the variable.
    #[cfg(target_os = "linux")]
    #[error("the secret `{secret}` comes from the environment variable `{variable}`, which {}", if *is_set { "is not valid UTF-8" } else { "is not set" })]
    SecretVariable {
        /// The name of the secret.
        secret: String,
        /// The name of the environment variable.
        variable: String,
        /// Whether the variable is set. If it is, the value is not valid UTF-8.
        is_set: bool,
    },
}

/// The `kubectl` command whose output `diagnose` reads.
const KUBECTL: &str = "kubectl get job,pod,event -o json";

impl CliError {
    /// Returns the exit status for this error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(trouble) => trouble.exit(),
            _ => Exit::InvalidInput,
        }
    }

    /// Prints the error to standard error. If the policy is invalid, prints its violations with their source
    /// lines first.
    pub(crate) fn print(&self) {
        let mut text = String::new();
        if let Self::Policy(PolicyLoadError::Invalid { file, error }) = self {
            let parsed = parse_all_within(file.bytes(), DocumentLimits::POLICY).into_iter().next();
            let target = parsed.as_ref().map_or(DiagnosticTarget::NoDocument, |parsed| match parsed {
                Ok(document) => DiagnosticTarget::Policy(document),
                Err(error) => DiagnosticTarget::ParseError(error),
            });
            let renderer = DiagnosticRenderer::new(file, target, None, None);
            text.extend(error.violations.iter().map(|violation| renderer.render(violation)));
        }
        let _ = writeln!(text, "error: {self}");
        // If standard error is closed, the exit code still reports the failure.
        let _ = output::eprint(&text);
    }
}

fn display_path(path: &Path) -> String {
    escape_control(&path.display().to_string())
}
