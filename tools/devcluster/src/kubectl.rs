//! Runs `kubectl` for the other tools.

use crate::lifecycle::find_or_build_kubectl;
use crate::release::Release;
use runway_steps::{StepError, ToolError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The path of a `kubectl` program. Its commands use the cluster of `KUBECONFIG`.
pub struct Kubectl(PathBuf);

impl Kubectl {
    /// Finds a `kubectl`, without building it.
    ///
    /// # Errors
    /// [`StepError::MissingTool`] if there is no `kubectl`.
    pub fn new() -> Result<Self, StepError> {
        let missing =
            ToolError::Unsupported { what: "`kubectl` is not on the search path; install it".to_owned() };
        Self::find_or_build(None, false)?.ok_or(StepError::MissingTool { failure: missing })
    }

    /// Finds a `kubectl`, preferably of this version of Kubernetes. If there is none, builds it if
    /// `may_build` is set, and returns `None` otherwise.
    ///
    /// # Errors
    /// [`StepError::MissingTool`] if the program cannot be built.
    pub fn find_or_build(kubernetes: Option<Release>, may_build: bool) -> Result<Option<Self>, StepError> {
        let found = find_or_build_kubectl(kubernetes, may_build)
            .map_err(|failure| StepError::MissingTool { failure })?;
        Ok(found.map(Self))
    }

    /// The path of the program.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns a command that calls `kubectl` with these arguments.
    #[must_use]
    pub fn to_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.0);
        command.args(arguments);
        command
    }

    /// Runs `kubectl` with this input and returns its standard output.
    ///
    /// # Errors
    /// The command line and the output of `kubectl`, if it fails.
    pub fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String, String> {
        let mut command = self.to_command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("kubectl: {error}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            // A write error means that `kubectl` exited early. Its own output explains why.
            let _closed = pipe.write_all(input.unwrap_or_default().as_bytes());
        }
        let output = child.wait_with_output().map_err(|error| format!("kubectl: {error}"))?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.status.success() {
            Ok(said.into_owned())
        } else {
            Err(format!("kubectl {}: {said}{complained}", arguments.join(" ")).trim_end().to_owned())
        }
    }
}
