//! The Go toolchain that builds the cluster's programs.

use runway_steps::{ToolError, search_path};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The alternatives to building a cluster, for messages.
pub(crate) const ALTERNATIVES: &str = "set KUBECONFIG to the kubeconfig of a running cluster, set KUBEBUILDER_ASSETS to a \
    directory with etcd, kube-apiserver and kube-controller-manager (for a node also kube-scheduler and kubelet), or skip the \
    cluster with `cargo xtask test --offline`";

/// The oldest Go version that the modules in `tools/devcluster/` accept.
const MIN_VERSION: (u32, u32) = (1, 26);

/// The directory in which the archives of the Go project install Go.
const DEFAULT_INSTALL_DIR: &str = "/usr/local/go/bin";

/// Returns the path of a Go program that is recent enough.
///
/// # Errors
/// [`ToolError::Unsupported`] if Go is missing or too old. The message names the alternatives.
/// [`ToolError::Io`] if the program cannot be started.
pub(crate) fn find() -> Result<PathBuf, ToolError> {
    let (major, minor) = MIN_VERSION;
    let unsupported = |found: &str| ToolError::Unsupported {
        what: format!(
            "building Kubernetes needs Go {major}.{minor} or later, and {found}: install Go, or {ALTERNATIVES}"
        ),
    };
    let program = locate().ok_or_else(|| unsupported("`go` is not on the search path"))?;
    // The command runs outside of any module. Inside of one, Go may switch to another version or refuse to
    // run.
    let output = Command::new(&program)
        .args(["env", "GOVERSION"])
        .current_dir("/")
        .output()
        .map_err(ToolError::io(format!("`{}`", program.display())))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let found = printed.trim();
    match parse_version(found) {
        Some(version) if version >= MIN_VERSION => Ok(program),
        _ if found.is_empty() => Err(unsupported(&format!("`{} env` failed", program.display()))),
        _ => Err(unsupported(&format!("`{}` is {found}", program.display()))),
    }
}

fn locate() -> Option<PathBuf> {
    let path = search_path();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(DEFAULT_INSTALL_DIR)]);
    folders.map(|folder| folder.join("go")).find(|program| program.is_absolute() && Path::is_file(program))
}

/// Parses the major and minor version from a name such as `go1.26.8` or `go1.27rc1`.
fn parse_version(name: &str) -> Option<(u32, u32)> {
    let (major, rest) = name.strip_prefix("go")?.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest.get(..digits)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn parse_version_accepts_releases_and_candidates() {
        assert_eq!(parse_version("go1.26.8"), Some((1, 26)));
        assert_eq!(parse_version("go1.26"), Some((1, 26)));
        assert_eq!(parse_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(parse_version("go1.9.2"), Some((1, 9)));
        for wrong in ["", "devel +abc", "go", "go1", "go1.x"] {
            assert_eq!(parse_version(wrong), None, "{wrong}");
        }
    }
}
