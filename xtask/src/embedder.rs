//! Checks that a program outside of the workspace can embed `runway-core`, and that its package passes its
//! tests.

use runway_steps::{Failed, command, root, run, target_folder};
use std::fs;
use std::path::Path;

/// Runs the example program with and without the feature `kubernetes`, then the tests of the package.
pub(crate) fn check() -> Result<(), Failed> {
    let manifest = root().join("runway-core/tests/embedder/Cargo.toml");
    let target = target_folder().join("embedder");
    for features in [&[][..], &["--features", "kubernetes"]] {
        let mut embed = command(&["run", "--quiet", "--locked", "--manifest-path"]);
        embed.arg(&manifest).args(features).env("CARGO_TARGET_DIR", &target);
        run(&format!("embedder {}", features.join(" ")), &mut embed)?;
    }
    package(&target)
}

/// Packages `runway-core`, unpacks the package in another directory, and tests it there.
fn package(target: &Path) -> Result<(), Failed> {
    let mut pack = command(&["package", "--package", "runway-core", "--allow-dirty", "--no-verify"]);
    run("package of the core", pack.env("CARGO_TARGET_DIR", target))?;
    let packed = target.join("package");
    let name = format!("runway-core-{}", env!("CARGO_PKG_VERSION"));
    let unpacked = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    let _absent = fs::remove_dir_all(&unpacked);
    let step = "unpacking the core".to_owned();
    fs::create_dir_all(&unpacked).map_err(|error| Failed::NotStarted { step, error })?;
    let mut unpack = std::process::Command::new("tar");
    unpack.arg("-xzf").arg(packed.join(format!("{name}.crate"))).arg("-C").arg(&unpacked);
    run("unpacking the core", &mut unpack)?;
    let manifest = unpacked.join(name).join("Cargo.toml");
    let mut result = Ok(());
    for features in [&[][..], &["--features", "kubernetes"]] {
        let mut test = command(&["test", "--quiet", "--manifest-path"]);
        test.arg(&manifest).args(features).env("CARGO_TARGET_DIR", target);
        result = result.and(run(&format!("tests of the packaged core {}", features.join(" ")), &mut test));
    }
    let _left = fs::remove_dir_all(&unpacked);
    result
}
