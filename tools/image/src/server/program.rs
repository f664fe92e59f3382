//! Builds the server as one static program. The bytes do not depend on the build directory.

use super::STEP;
use crate::epoch::clean_commit;
use runway_steps::{self as steps, StepError, is_static, target_dir, workspace_root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The separator of the flags in `CARGO_ENCODED_RUSTFLAGS`. It is not a space, because flags may contain
/// spaces.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Builds the program from this checkout and returns its path.
pub(super) fn build() -> Result<PathBuf, StepError> {
    let target = target_dir();
    // Flags need absolute paths.
    build_in(&workspace_root(), &std::path::absolute(&target).unwrap_or(target))
}

/// Builds the program from one source directory into a target directory.
fn build_in(sources: &Path, target: &Path) -> Result<PathBuf, StepError> {
    let system = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let wrong = |what: &str| StepError::CheckFailed { step: STEP.to_owned(), what: what.to_owned() };
    let compiler = sysroot().ok_or_else(|| wrong("`rustc --print sysroot` failed"))?;
    let cargo = cargo_home().ok_or_else(|| wrong("no home directory: set CARGO_HOME"))?;
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    // Panic messages contain source paths. The paths of this machine would change the bytes and leak to
    // users.
    let prefixes = [
        (sources, "/runway"),
        (target, "/target"),
        (cargo.as_path(), "/cargo"),
        (compiler.as_path(), "/rust"),
    ];
    flags.extend(prefixes.map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display())));
    let mut build = steps::cargo_command(&["build", "--locked", "--profile", "image", "-p", "runway-http"]);
    // With `--target`, the flags apply only to the program. Build-time crates such as macros cannot be
    // static.
    build.args(["--target", &system]).env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR));
    build.current_dir(sources).env("CARGO_TARGET_DIR", target);
    steps::run_step("static build of the server", &mut build)?;
    let program = target.join(system).join("image/runway-http");
    if is_static(&program) { Ok(program) } else { Err(wrong("the program is not statically linked")) }
}

/// Builds the current commit in this checkout and in a copy at another path, and compares the two programs.
/// Fails if there are uncommitted changes.
pub(super) fn verify_reproducible() -> Result<(), StepError> {
    let wrong = |what: String| StepError::CheckFailed { step: STEP.to_owned(), what };
    let revision = clean_commit().ok_or_else(|| wrong("commit the changes first".to_owned()))?;
    let dir = std::env::temp_dir().join(format!("runway-image-{}", std::process::id()));
    let outcome = compare_builds(&dir, &revision);
    // A leftover copy is harmless.
    let _ignored = fs::remove_dir_all(&dir);
    outcome
}

fn compare_builds(dir: &Path, revision: &str) -> Result<(), StepError> {
    let wrong = |what: String| StepError::CheckFailed { step: STEP.to_owned(), what };
    let mut copy = Command::new("git");
    steps::run_step(
        "copy of the sources",
        copy.args(["clone", "--quiet", "--shared"]).arg(workspace_root()).arg(dir),
    )?;
    let mut check_out = Command::new("git");
    check_out.args(["checkout", "--quiet", "--detach", revision]).current_dir(dir);
    steps::run_step("checkout of the commit", &mut check_out)?;
    let [here, there] = [build()?, build_in(dir, &dir.join("elsewhere"))?].map(fs::read);
    match (here, there) {
        (Ok(here), Ok(there)) if here == there => {
            eprintln!("\nxtask: both builds are equal: {} bytes", here.len());
            Ok(())
        }
        (Ok(_), Ok(_)) => Err(wrong("two builds of one commit differ".to_owned())),
        (Err(error), _) | (_, Err(error)) => Err(wrong(error.to_string())),
    }
}

fn sysroot() -> Option<PathBuf> {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output =
        Command::new(compiler).args(["--print", "sysroot"]).stderr(Stdio::inherit()).output().ok()?;
    let place = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| Path::new(place.trim()).to_owned())
}

fn cargo_home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    named.or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}
