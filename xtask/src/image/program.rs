//! The server as one static program, the same bytes wherever it is built.

use super::STEP;
use crate::cluster::is_static;
use crate::steps::{self, Failed, root, target_folder};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Between flags: they may hold blanks.
const SEPARATOR: &str = "\u{1f}";

/// Builds it and returns its place.
pub(super) fn build() -> Result<PathBuf, Failed> {
    let system = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let wrong = |what: &str| Failed::Wrong { step: STEP.to_owned(), what: what.to_owned() };
    let compiler = sysroot().ok_or_else(|| wrong("`rustc` does not say where it is"))?;
    let cargo = cargo_home().ok_or_else(|| wrong("there is no home folder: set CARGO_HOME"))?;
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    // Messages name source files. Where those lie here is nobody's business, and would change the bytes.
    let places = [(root(), "/runway"), (target_folder(), "/target"), (cargo, "/cargo"), (compiler, "/rust")];
    flags.extend(places.map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display())));
    let mut build = steps::command(&["build", "--locked", "--profile", "image", "-p", "runway-http"]);
    // With a target, the flags are for the program alone: those of the build, such as macros, cannot be static.
    build.args(["--target", &system]).env("CARGO_ENCODED_RUSTFLAGS", flags.join(SEPARATOR));
    steps::run("the server, static", &mut build)?;
    let program = target_folder().join(system).join("image/runway-http");
    if is_static(&program) { Ok(program) } else { Err(wrong("the program names a loader of libraries")) }
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
