//! The Go toolchain that builds the cluster's programs.

use runway_steps::{Failure, search_path};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The alternatives to building a cluster, for messages.
pub(crate) const ALTERNATIVES: &str = "set KUBECONFIG to the kubeconfig of a running cluster, set KUBEBUILDER_ASSETS to a \
    directory with etcd, kube-apiserver and kube-controller-manager (for a node also kube-scheduler and kubelet), or skip the \
    cluster with `cargo xtask test --offline`";

/// The oldest Go version that the modules in `tools/devcluster/` accept.
const MINIMUM: (u32, u32) = (1, 26);

/// The directory in which the archives of the Go project install Go.
const USUAL_PLACE: &str = "/usr/local/go/bin";

/// Returns the path of a Go program that is recent enough.
///
/// # Errors
/// [`ToolError::Unsupported`] if Go is missing or too old. The message names the alternatives.
pub(crate) fn find() -> Result<PathBuf, Failure> {
    let (major, minor) = MINIMUM;
    let needed = |found: &str| Failure::Unable {
        what: format!(
            "building Kubernetes needs Go {major}.{minor} or later, and {found}: install Go, or {ALTERNATIVES}"
        ),
    };
    let program = locate().ok_or_else(|| needed("`go` is not on the search path"))?;
    // The command runs outside of any module. Inside of one, Go may switch to another version or refuse to
    // run.
    let output = Command::new(&program)
        .args(["env", "GOVERSION"])
        .current_dir("/")
        .output()
        .map_err(Failure::io(format!("`{}`", program.display())))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let found = printed.trim();
    match version(found) {
        Some(version) if version >= MINIMUM => Ok(program),
        _ if found.is_empty() => Err(needed(&format!("`{} env` failed", program.display()))),
        _ => Err(needed(&format!("`{}` is {found}", program.display()))),
    }
}

fn locate() -> Option<PathBuf> {
    let path = search_path();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(USUAL_PLACE)]);
    folders.map(|folder| folder.join("go")).find(|program| program.is_absolute() && Path::is_file(program))
}

/// Parses the major and minor version from a name such as `go1.26.8` or `go1.27rc1`.
fn version(name: &str) -> Option<(u32, u32)> {
    let (major, rest) = name.strip_prefix("go")?.split_once('.')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest.get(..digits)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn version_is_read_from_releases_and_candidates() {
        assert_eq!(version("go1.26.8"), Some((1, 26)));
        assert_eq!(version("go1.26"), Some((1, 26)));
        assert_eq!(version("go1.27rc1"), Some((1, 27)));
        assert_eq!(version("go1.9.2"), Some((1, 9)));
        for wrong in ["", "devel +abc", "go", "go1", "go1.x"] {
            assert_eq!(version(wrong), None, "{wrong}");
        }
    }
}
