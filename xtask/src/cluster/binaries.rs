//! Where the cluster's programs are: in a folder that the user names, on the system, or in the cache after one build.

use super::failure::Failure;
use super::process::{
    APISERVER, CONTAINERD, CONTROLLER_MANAGER, ETCD, KUBELET, SCHEDULER, SOCAT, search_path,
};
use super::{build, packages};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What can be done where programs can be neither installed nor built.
pub(crate) const ADVICE: &str = "set KUBECONFIG to the file of a cluster that runs, or KUBEBUILDER_ASSETS to a folder \
    with etcd, kube-apiserver and kube-controller-manager, and for a node kube-scheduler and kubelet; without them this \
    takes Debian 12, `apt-get` and root";

/// Programs that Debian has as packages, and which package that is.
const SYSTEM: &[(&str, &str)] = &[(ETCD, "etcd-server"), ("curl", "curl")];
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

/// Where network plugins are installed.
const PLUGINS: &[&str] = &["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Programs by name; the name `cni` stands for the folder of the network plugins.
pub(crate) type Programs = BTreeMap<String, PathBuf>;

/// Finds every program, and installs or builds what is missing where that is possible.
pub(crate) fn find(node: bool) -> Result<Programs, Failure> {
    if !cfg!(target_os = "linux") {
        return Err(Failure::Unable { what: format!("a cluster of its own runs on Linux only: {ADVICE}") });
    }
    if node && !rustix::process::geteuid().is_root() {
        return Err(Failure::Unable { what: format!("a node takes root: {ADVICE}") });
    }
    let mut kubernetes = vec![APISERVER, CONTROLLER_MANAGER];
    let mut system = SYSTEM.to_vec();
    if node {
        kubernetes.extend([SCHEDULER, KUBELET]);
        system.extend(SYSTEM_OF_A_NODE);
    }
    let mut found = Programs::new();
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()) {
        kubernetes.insert(0, ETCD);
        system.retain(|(program, _)| *program != ETCD);
        let advice = "KUBEBUILDER_ASSETS names this folder; complete it, or unset the variable";
        found.extend(in_folder(&PathBuf::from(folder), &kubernetes, advice)?);
        found.extend(on_the_system(&system, ADVICE)?);
        return Ok(found);
    }
    found.extend(on_the_system(&system, ADVICE)?);
    let cache = build::cache()?;
    if !cache.is_dir() {
        build::build(&cache)?;
    }
    found.extend(in_folder(
        &cache,
        &kubernetes,
        "the cache is damaged; remove the folder, and it is built anew",
    )?);
    Ok(found)
}

/// All of these programs from one folder.
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

/// These programs wherever the system has them; the packages of those that are missing are installed.
pub(crate) fn on_the_system(programs: &[(&str, &str)], advice: &str) -> Result<Programs, Failure> {
    let absent = || programs.iter().filter(|(program, _)| locate(program).is_none());
    let names = || absent().map(|(program, _)| (*program).to_owned()).collect::<Vec<_>>();
    if absent().next().is_some() {
        packages::install(&absent().map(|(_, package)| *package).collect::<Vec<_>>(), &names(), advice)?;
    }
    if absent().next().is_some() {
        return Err(Failure::Missing {
            programs: names(),
            place: "on this system, though their packages are installed".to_owned(),
            advice: advice.to_owned(),
        });
    }
    let place = |(program, _): &(&str, _)| Some(((*program).to_owned(), locate(program)?));
    Ok(programs.iter().filter_map(place).collect())
}

/// Where the system has a program.
pub(crate) fn locate(program: &str) -> Option<PathBuf> {
    if program == "cni" {
        let complete = |folder: &&PathBuf| {
            ["bridge", "host-local", "loopback"].iter().all(|plugin| is_program(&folder.join(plugin)))
        };
        return PLUGINS.iter().map(PathBuf::from).find(|folder| complete(&folder));
    }
    let path = search_path();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    // In an image there are no libraries.
    places.find(|place| is_program(place) && (program != "busybox" || is_static(place)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Whether a program names no loader of libraries.
pub(crate) fn is_static(path: &Path) -> bool {
    let program = std::fs::read(path).unwrap_or_default();
    !["/ld-linux", "/ld-musl"].iter().any(|loader| {
        program.get(..4096).unwrap_or(&program).windows(loader.len()).any(|part| part == loader.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::{in_folder, is_static};
    use crate::cluster::failure::Failure;
    use std::path::Path;

    #[test]
    fn every_program_that_a_folder_lacks_is_named() {
        let failure = in_folder(Path::new("/nonexistent"), &["etcd", "kubelet"], "");
        assert!(matches!(failure, Err(Failure::Missing { programs, .. }) if programs == ["etcd", "kubelet"]));
    }

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        let own = std::env::current_exe().unwrap_or_default();
        assert!(!is_static(&own));
    }
}
