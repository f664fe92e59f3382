//! Finds the cluster's programs: in a directory that the user names, on the system, or in the cache after one
//! build.

use crate::build::{self, Component};
use crate::go::{self, ALTERNATIVES};
use crate::process::{APISERVER, CONTAINERD, CONTROLLER_MANAGER, ETCD, KUBECTL, KUBELET, SCHEDULER, SOCAT};
use crate::release::Release;
use runway_steps::{ProgramPaths, ToolError, find_or_install, is_executable, locate};
use std::path::{Path, PathBuf};

/// Advice to the user if a system program is missing and cannot be installed.
const INSTALL_HINT: &str = "install them (as root on Debian 12, this is automatic), set KUBECONFIG to the kubeconfig of a \
    running cluster, or skip the cluster with `cargo xtask test --offline`";

/// Required system programs, each with its Debian package.
const SYSTEM_PROGRAMS: &[(&str, &str)] = &[("curl", "curl")];
const NODE_PROGRAMS: &[(&str, &str)] = &[
    (CONTAINERD, "containerd"),
    ("ctr", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
    ("cni", "containernetworking-plugins"),
    ("busybox", "busybox-static"),
    (SOCAT, "socat"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
];

/// The location of the etcd and Kubernetes programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BinarySource {
    /// The directory that KUBEBUILDER_ASSETS names. The version of its programs is not checked.
    AssetsDir(PathBuf),
    /// The cache of built programs for this version of Kubernetes. Missing programs are built once.
    Cache(Release),
}

impl BinarySource {
    /// Selects the source from the environment. `kubernetes` is `None` unless the user selects a version.
    ///
    /// # Errors
    /// [`ToolError::FailedPrecondition`] if the user selects a version and KUBEBUILDER_ASSETS is set.
    pub(crate) fn new(kubernetes: Option<Release>) -> Result<Self, ToolError> {
        match assets_dir() {
            Some(_) if kubernetes.is_some() => Err(ToolError::FailedPrecondition {
                what: "KUBEBUILDER_ASSETS sets the version of Kubernetes: unset it, or omit `--kubernetes`"
                    .to_owned(),
            }),
            Some(folder) => Ok(Self::AssetsDir(folder)),
            None => Ok(Self::Cache(kubernetes.unwrap_or_default())),
        }
    }

    /// Fails if the cache lacks programs and no suitable Go is installed to build them. The check builds
    /// nothing. It always accepts the directory of KUBEBUILDER_ASSETS.
    pub(crate) fn check_available(&self) -> Result<(), ToolError> {
        let Self::Cache(release) = self else { return Ok(()) };
        for component in components(*release) {
            if !component.is_built()? {
                return go::find().map(drop);
            }
        }
        Ok(())
    }

    /// The version of Kubernetes, or `None` if the programs come from KUBEBUILDER_ASSETS.
    pub(crate) fn release(&self) -> Option<Release> {
        match self {
            Self::AssetsDir(_) => None,
            Self::Cache(release) => Some(*release),
        }
    }
}

fn assets_dir() -> Option<PathBuf> {
    std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

const fn components(release: Release) -> [Component; 2] {
    [Component::Etcd, Component::Kubernetes(release)]
}

/// Finds every program of the cluster. Installs missing system programs if possible, and builds missing
/// programs of the cache.
pub(crate) fn find_or_build(source: &BinarySource, with_node: bool) -> Result<ProgramPaths, ToolError> {
    if !cfg!(target_os = "linux") {
        return Err(ToolError::Unsupported {
            what: format!("the development cluster runs on Linux only: {ALTERNATIVES}"),
        });
    }
    if with_node && !rustix::process::geteuid().is_root() {
        let what = "a node needs root: set KUBECONFIG to the kubeconfig of a running cluster, or skip the cluster with \
            `cargo xtask test --offline`";
        return Err(ToolError::Unsupported { what: what.to_owned() });
    }
    let mut system = SYSTEM_PROGRAMS.to_vec();
    if with_node {
        system.extend(NODE_PROGRAMS);
    }
    let mut found = find_or_install(&system, INSTALL_HINT)?;
    match source {
        BinarySource::AssetsDir(folder) => {
            let mut programs = vec![ETCD, APISERVER, CONTROLLER_MANAGER];
            if with_node {
                programs.extend([SCHEDULER, KUBELET]);
            }
            if is_executable(&folder.join(KUBECTL)) {
                programs.push(KUBECTL);
            }
            let advice =
                "KUBEBUILDER_ASSETS names this directory; add the missing programs, or unset the variable";
            found.extend(find_in_dir(folder, &programs, advice)?);
        }
        BinarySource::Cache(release) => {
            build::build(&components(*release))?;
            for component in components(*release) {
                let advice = "the cache is damaged; remove the directory to rebuild its programs";
                found.extend(find_in_dir(&component.cache_dir()?, component.programs(), advice)?);
            }
        }
    }
    Ok(found)
}

/// Finds `kubectl` in the directory of KUBEBUILDER_ASSETS, in the cache, or on the search path, in this
/// order.
///
/// If `may_build` is set, a missing `kubectl` is built. In this case, a `kubectl` on the search path is used
/// only if the user selects no version. Returns `None` if there is no `kubectl` and `may_build` is not set.
pub(crate) fn find_or_build_kubectl(
    kubernetes: Option<Release>,
    may_build: bool,
) -> Result<Option<PathBuf>, ToolError> {
    let asset = assets_dir().map(|folder| folder.join(KUBECTL)).filter(|program| is_executable(program));
    if asset.is_some() {
        return Ok(asset);
    }
    let component = Component::Kubernetes(kubernetes.unwrap_or_default());
    let cached = component.cache_dir()?.join(KUBECTL);
    if is_executable(&cached) {
        return Ok(Some(cached));
    }
    match locate(KUBECTL) {
        Some(program) if kubernetes.is_none() => Ok(Some(program)),
        _ if may_build => build::build(&[component]).map(|()| Some(cached)),
        found => Ok(found),
    }
}

/// Finds all of these programs in one directory.
fn find_in_dir(dir: &Path, programs: &[&str], advice: &str) -> Result<ProgramPaths, ToolError> {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let missing: Vec<_> = programs.iter().filter(|program| !is_executable(&dir.join(program))).collect();
    if !missing.is_empty() {
        return Err(ToolError::MissingPrograms {
            programs: missing.into_iter().map(|program| (*program).to_owned()).collect(),
            place: format!("in `{}`", dir.display()),
            advice: advice.to_owned(),
        });
    }
    Ok(programs.iter().map(|program| ((*program).to_owned(), dir.join(program))).collect())
}

#[cfg(test)]
mod tests {
    use super::find_in_dir;
    use runway_steps::ToolError;
    use std::path::Path;

    #[test]
    fn find_in_dir_names_each_missing_program() {
        let failure = find_in_dir(Path::new("/nonexistent"), &["etcd", "kubelet"], "");
        assert!(
            matches!(failure, Err(ToolError::MissingPrograms { programs, .. }) if programs == ["etcd", "kubelet"])
        );
    }
}
