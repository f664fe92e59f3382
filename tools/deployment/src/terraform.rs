//! Checks the format of the Terraform files, and runs their tests as far as the providers are available.

use runway_steps::{self as steps, Failed, locate, root, target_folder};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Modules that need no provider.
const MODULES: [&str; 2] = ["modules/layout", "modules/cost"];

/// Checks that were skipped.
#[derive(Debug, Clone, Copy)]
pub enum LeftOut {
    /// All checks, because `terraform` is missing.
    Everything,
    /// The checks of the root module, because no provider mirror is configured.
    Whole,
}

impl LeftOut {
    /// The skipped checks and the reason, for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everything => "the Terraform files: `terraform` is not installed",
            Self::Whole => {
                "`terraform validate` and the tests with a mock provider: TF_CLI_CONFIG_FILE names no provider mirror"
            }
        }
    }
}

/// Runs all checks that are possible and returns the skipped ones.
///
/// # Errors
/// [`StepError`] if a file is not formatted or not valid, or a test fails.
pub fn check() -> Result<Option<LeftOut>, Failed> {
    let Some(program) = locate("terraform") else { return Ok(Some(LeftOut::Everything)) };
    let mirror = std::env::var_os("TF_CLI_CONFIG_FILE").map(PathBuf::from).filter(|file| file.is_file());
    let terraform = |place: &str| {
        let mut command = Command::new(&program);
        command.current_dir(root().join("infra/terraform").join(place));
        // Terraform must not write to the source tree, and must use the network only for providers.
        command
            .env("TF_DATA_DIR", target_folder().join("terraform").join(place))
            .env("CHECKPOINT_DISABLE", "1");
        command.env("TF_IN_AUTOMATION", "1");
        if mirror.is_none() {
            command.env_remove("TF_CLI_CONFIG_FILE");
        }
        command
    };
    steps::run(
        "format of the Terraform files",
        terraform("").args(["fmt", "-check", "-recursive", "-diff"]),
    )?;
    for module in MODULES {
        test(module, &terraform)?;
    }
    if mirror.is_none() {
        return Ok(Some(LeftOut::Whole));
    }
    test("", &terraform)?;
    steps::run("validation of the Terraform files", terraform("").arg("validate"))?;
    Ok(None)
}

fn test(place: &str, terraform: &impl Fn(&str) -> Command) -> Result<(), Failed> {
    let name = Path::new("infra/terraform").join(place);
    let step = format!("terraform test: {}", name.display());
    steps::run(
        &step,
        terraform(place).args(["init", "-backend=false", "-input=false"]).stdout(std::process::Stdio::null()),
    )?;
    steps::run(&step, terraform(place).arg("test"))
}
