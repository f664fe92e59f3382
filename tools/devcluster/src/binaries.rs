//! Finds the cluster's programs: in a directory that the user names, on the system, or in the cache after one
//! build.

use crate::build::{self, Component};
use crate::go::{self, ALTERNATIVES};
use crate::process::{APISERVER, CONTAINERD, CONTROLLER_MANAGER, ETCD, KUBECTL, KUBELET, SCHEDULER, SOCAT};
use crate::release::Release;
use runway_steps::{Failure, Programs, is_program, locate, on_the_system};
use std::path::{Path, PathBuf};

/// Hint for a missing system program.
const ADVICE: &str = "install them (as root on Debian 12, this is automatic), set KUBECONFIG to the kubeconfig of a \
    running cluster, or skip the cluster with `cargo xtask test --offline`";

/// Required system programs, each with its Debian package.
const SYSTEM: &[(&str, &str)] = &[("curl", "curl")];
const SYSTEM_OF_A_NODE: &[(&str, &str)] = &[
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

/// The source of etcd and of the Kubernetes programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The directory that KUBEBUILDER_ASSETS names. Its version is not checked.
    Assets(PathBuf),
    /// The cache. Missing programs are built once.
    Built(Release),
}

impl Source {
    /// Selects the source from the environment. `kubernetes` is `None` unless the user selects a version.
    ///
    /// # Errors
    /// [`ToolError::FailedPrecondition`] if the user selects a version and KUBEBUILDER_ASSETS is set.
    pub(crate) fn new(kubernetes: Option<Release>) -> Result<Self, Failure> {
        match assets() {
            Some(_) if kubernetes.is_some() => Err(Failure::Mismatch {
                what:
                    "KUBEBUILDER_ASSETS sets the version of Kubernetes: unset it, or omit `--kubernetes`"
                        .to_owned(),
            }),
            Some(folder) => Ok(Self::Assets(folder)),
            None => Ok(Self::Built(kubernetes.unwrap_or_default())),
        }
    }

    /// Fails if the programs are missing and cannot be built. The check returns at once and builds nothing.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let Self::Built(release) = self else { return Ok(()) };
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
            Self::Assets(_) => None,
            Self::Built(release) => Some(*release),
        }
    }
}

fn assets() -> Option<PathBuf> {
    std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

const fn components(release: Release) -> [Component; 2] {
    [Component::Etcd, Component::Kubernetes(release)]
}

/// Finds every program. Installs or builds missing programs if possible.
pub(crate) fn find(source: &Source, node: bool) -> Result<Programs, Failure> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::Unable {
            what: format!("the development cluster runs on Linux only: {ALTERNATIVES}"),
        });
    }
    if node && !rustix::process::geteuid().is_root() {
        let what = "a node needs root: set KUBECONFIG to the kubeconfig of a running cluster, or skip the cluster with \
            `cargo xtask test --offline`";
        return Err(Failure::Unable { what: what.to_owned() });
    }
    let mut system = SYSTEM.to_vec();
    if node {
        system.extend(SYSTEM_OF_A_NODE);
    }
    let mut found = on_the_system(&system, ADVICE)?;
    match source {
        Source::Assets(folder) => {
            let mut programs = vec![ETCD, APISERVER, CONTROLLER_MANAGER];
            if node {
                programs.extend([SCHEDULER, KUBELET]);
            }
            if is_program(&folder.join(KUBECTL)) {
                programs.push(KUBECTL);
            }
            let advice = "KUBEBUILDER_ASSETS names this directory; add the missing programs, or unset the variable";
            found.extend(in_folder(folder, &programs, advice)?);
        }
        Source::Built(release) => {
            build::build(&components(*release))?;
            for component in components(*release) {
                let advice = "the cache is damaged; remove the directory to rebuild its programs";
                found.extend(in_folder(&component.cache_dir()?, component.programs(), advice)?);
            }
        }
    }
    Ok(found)
}

/// Finds `kubectl` in the directory of KUBEBUILDER_ASSETS, in the cache, or on the search path. If there is
/// none, builds it if `may_build` is set, and returns `None` otherwise.
pub(crate) fn kubectl(kubernetes: Option<Release>, may_build: bool) -> Result<Option<PathBuf>, Failure> {
    let asset = assets().map(|folder| folder.join(KUBECTL)).filter(|program| is_program(program));
    if asset.is_some() {
        return Ok(asset);
    }
    let component = Component::Kubernetes(kubernetes.unwrap_or_default());
    let cached = component.cache_dir()?.join(KUBECTL);
    if is_program(&cached) {
        return Ok(Some(cached));
    }
    match locate(KUBECTL) {
        Some(program) if kubernetes.is_none() => Ok(Some(program)),
        _ if may_build => build::build(&[component]).map(|()| Some(cached)),
        found => Ok(found),
    }
}

/// Finds all of these programs in one directory.
fn in_folder(folder: &Path, programs: &[&str], advice: &str) -> Result<Programs, Failure> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let missing: Vec<_> = programs.iter().filter(|program| !is_program(&folder.join(program))).collect();
    if !missing.is_empty() {
        return Err(Failure::Missing {
            programs: missing.into_iter().map(|program| (*program).to_owned()).collect(),
            place: format!("in `{}`", folder.display()),
            advice: advice.to_owned(),
        });
    }
    Ok(programs.iter().map(|program| ((*program).to_owned(), folder.join(program))).collect())
}

#[cfg(test)]
mod tests {
    use super::in_folder;
    use runway_steps::Failure;
    use std::path::Path;

    #[test]
    fn every_program_that_a_folder_lacks_is_named() {
        let failure = in_folder(Path::new("/nonexistent"), &["etcd", "kubelet"], "");
        assert!(matches!(failure, Err(Failure::Missing { programs, .. }) if programs == ["etcd", "kubelet"]));
    }
}
