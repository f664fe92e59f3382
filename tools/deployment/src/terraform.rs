//! Checks the format of the Terraform files, and runs their tests as far as the providers are available.

use runway_steps::{self as steps, StepError, locate, target_dir, workspace_root};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules that need no provider.
const MODULES: [&str; 2] = ["modules/layout", "modules/cost"];

/// Checks that were skipped.
#[derive(Debug, Clone, Copy)]
pub enum SkippedChecks {
    /// All checks, because `terraform` is missing.
    NoTerraform,
    /// The checks of the root module, because no provider mirror is configured.
    NoProviderMirror,
}

impl SkippedChecks {
    /// The skipped checks and the reason, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoTerraform => "the Terraform files: `terraform` is not installed",
            Self::NoProviderMirror => {
                "`terraform validate` and the tests with a mock provider: TF_CLI_CONFIG_FILE names no provider mirror"
            }
        }
    }
}

/// Runs all checks that are possible and returns the skipped ones.
///
/// # Errors
/// [`StepError`] if a file is not formatted or not valid, or a test fails.
pub fn check() -> Result<Option<SkippedChecks>, StepError> {
    let Some(program) = locate("terraform") else { return Ok(Some(SkippedChecks::NoTerraform)) };
    let mirror = std::env::var_os("TF_CLI_CONFIG_FILE").map(PathBuf::from).filter(|file| file.is_file());
    let terraform = |module: &str| {
        let mut command = Command::new(&program);
        command.current_dir(workspace_root().join("infra/terraform").join(module));
        // Terraform must not write to the source tree, and must use the network only for providers.
        command
            .env("TF_DATA_DIR", target_dir().join("terraform").join(module))
            .env("CHECKPOINT_DISABLE", "1");
        command.env("TF_IN_AUTOMATION", "1");
        if mirror.is_none() {
            command.env_remove("TF_CLI_CONFIG_FILE");
        }
        command
    };
    steps::run_step(
        "format of the Terraform files",
        terraform("").args(["fmt", "-check", "-recursive", "-diff"]),
    )?;
    for module in MODULES {
        test(module, &terraform)?;
    }
    if mirror.is_none() {
        return Ok(Some(SkippedChecks::NoProviderMirror));
    }
    test("", &terraform)?;
    steps::run_step("validation of the Terraform files", terraform("").arg("validate"))?;
    Ok(None)
}

fn test(module: &str, terraform: &impl Fn(&str) -> Command) -> Result<(), StepError> {
    let name = Path::new("infra/terraform").join(module);
    let step = format!("terraform test: {}", name.display());
    steps::run_step(
        &step,
        terraform(module)
            .args(["init", "-backend=false", "-input=false"])
            .stdout(std::process::Stdio::null()),
    )?;
    steps::run_step(&step, terraform(module).arg("test"))
}
