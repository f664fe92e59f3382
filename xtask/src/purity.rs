//! Checks that `runway-core` depends on no runtime, client, logger, clock or random source, neither directly
//! nor transitively.

use runway_steps::{StepError, cargo_command};

/// Crates that perform I/O or other side effects, and crates that depend on them.
const FORBIDDEN_CRATES: &[&str] = &[
    "async-std",
    "axum",
    "chrono",
    "crossbeam-channel",
    "env_logger",
    "fastrand",
    "getrandom",
    "hyper",
    "kube",
    "log",
    "mio",
    "nix",
    "rand",
    "rand_core",
    "reqwest",
    "rustix",
    "slog",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tower",
    "tracing",
    "tracing-core",
    "ureq",
];

/// Checks the whole dependency tree of `runway-core` with all features and for all targets, without
/// development dependencies.
pub(crate) fn check() -> Result<(), StepError> {
    let step = "the core's dependencies";
    eprintln!("\nxtask: {step}");
    let tree = [
        "tree",
        "--locked",
        "-p",
        "runway-core",
        "--edges",
        "normal,build",
        "--all-features",
        "--target",
        "all",
        "--prefix",
        "none",
    ];
    let output = cargo_command(&tree).output().map_err(StepError::io(step))?;
    let tree = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !tree.starts_with("runway-core ") {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(StepError::CommandFailed { step: step.to_owned() });
    }
    let crates = forbidden_crates(&tree);
    if crates.is_empty() {
        return Ok(());
    }
    let what = format!("runway-core must not depend on: {}", crates.join(", "));
    Err(StepError::CheckFailed { step: step.to_owned(), what })
}

/// Returns the forbidden crates in the output of `cargo tree --prefix none`.
fn forbidden_crates(tree: &str) -> Vec<String> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut found: Vec<_> = names.filter(|name| FORBIDDEN_CRATES.contains(name)).map(str::to_owned).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::forbidden_crates;

    #[test]
    fn forbidden_crates_are_found_in_the_tree() {
        let tree = "runway-core v0.1.0 (path)\nserde v1.0.0\ntime v0.3.0\ntokio v1.0.0\ntime v0.3.0 (*)\ntimely v1.0.0\n";
        assert_eq!(forbidden_crates(tree), ["time", "tokio"]);
        assert!(forbidden_crates("runway-core v0.1.0\nserde v1.0.0\n").is_empty());
    }
}
