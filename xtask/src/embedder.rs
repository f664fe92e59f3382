//! Checks that a program outside of the workspace can embed `runway-core`, and that its package passes its
//! tests.

use runway_steps::{StepError, cargo_command, run_step, target_dir, workspace_root};
use std::fs;
use std::path::Path;

/// Runs the example program with and without the feature `kubernetes`, then the tests of the package.
pub(crate) fn check() -> Result<(), StepError> {
    let manifest = workspace_root().join("runway-core/tests/embedder/Cargo.toml");
    let target = target_dir().join("embedder");
    for features in [&[][..], &["--features", "kubernetes"]] {
        let mut embed = cargo_command(&["run", "--quiet", "--locked", "--manifest-path"]);
        embed.arg(&manifest).args(features).env("CARGO_TARGET_DIR", &target);
        run_step(&format!("embedder {}", features.join(" ")), &mut embed)?;
    }
    check_package(&target)
}

/// Packages `runway-core`, unpacks the package in another directory, and tests it there.
fn check_package(target: &Path) -> Result<(), StepError> {
    let mut pack = cargo_command(&["package", "--package", "runway-core", "--allow-dirty", "--no-verify"]);
    run_step("package of the core", pack.env("CARGO_TARGET_DIR", target))?;
    let packed = target.join("package");
    let name = format!("runway-core-{}", env!("CARGO_PKG_VERSION"));
    let unpacked = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    let _absent = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked).map_err(StepError::io("unpacking the core"))?;
    let mut unpack = std::process::Command::new("tar");
    unpack.arg("-xzf").arg(packed.join(format!("{name}.crate"))).arg("-C").arg(&unpacked);
    run_step("unpacking the core", &mut unpack)?;
    let manifest = unpacked.join(name).join("Cargo.toml");
    let mut result = Ok(());
    for features in [&[][..], &["--features", "kubernetes"]] {
        let mut test = cargo_command(&["test", "--quiet", "--manifest-path"]);
        test.arg(&manifest).args(features).env("CARGO_TARGET_DIR", target);
        result =
            result.and(run_step(&format!("tests of the packaged core {}", features.join(" ")), &mut test));
    }
    let _ignored = fs::remove_dir_all(&unpacked);
    result
}
