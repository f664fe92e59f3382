//! Starts, finds, interrupts and removes a cluster.

use crate::binaries::{self, BinarySource};
use crate::process::{
    self, APISERVER, CONTAINERD, KUBECTL, KUBELET, PROCESSES, ProcessIdentity, SCHEDULER, SOCAT,
};
use crate::release::Release;
use crate::state::{ClusterDir, ClusterState};
use crate::{control_plane, leftovers, node};
use runway_steps::{ToolError, check_free_space};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options for starting a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpOptions {
    /// Whether to start a node, which runs pods.
    pub node: bool,
    /// The version that the user selects. With `None`, a running cluster of any version is used, and a new
    /// cluster has the default version.
    pub kubernetes: Option<Release>,
}

/// Starts a cluster with these options. Starts nothing if this checkout's cluster is already running, or if
/// KUBECONFIG names an external cluster.
pub(crate) fn up(options: UpOptions) -> Result<(), ToolError> {
    let dir = ClusterDir::of_checkout()?;
    if let Some(config) = external_kubeconfig_for(&dir, options.kubernetes)? {
        eprintln!("xtask: using the cluster of KUBECONFIG: `{}`", config.display());
        return Ok(());
    }
    let source = BinarySource::new(options.kubernetes)?;
    let started_at = Instant::now();
    let _lock = dir.lock()?;
    if let Some(state) = running_state(&dir)? {
        if options.node && !state.has_node() {
            let what = "a cluster without a node is running; stop it first with `cargo xtask cluster down`";
            return Err(ToolError::FailedPrecondition { what: what.to_owned() });
        }
        check_version(&state, options.kubernetes)?;
        eprintln!("xtask: the cluster is already running: {}", state.server_url());
        return Ok(());
    }
    if dir.path().exists() {
        eprintln!("xtask: removing the leftovers of an earlier cluster");
        leftovers::remove(&dir)?;
    }
    let programs = binaries::find_or_build(&source, options.node)?;
    let state = ClusterState::new(options.node, source.release(), programs)?;
    if let Err(failure) = start(&dir, state) {
        return Err(clean_up_after(&dir, failure));
    }
    eprintln!(
        "xtask: the cluster is ready after {:.1} s; `cargo xtask cluster env` prints its variables",
        started_at.elapsed().as_secs_f32()
    );
    Ok(())
}

/// The free space that a node needs, in bytes. The kubelet evicts pods and taints the node if less than 1% of
/// the file system is free.
const NODE_SPACE: u64 = 4 << 30;
const NODE_SPACE_FRACTION: u64 = 50;

fn start(dir: &ClusterDir, mut state: ClusterState) -> Result<(), ToolError> {
    for name in ["", "bin", "logs", "processes", "certificates", "plugins"] {
        dir.create_dir(name)?;
    }
    if let Some(kubectl) = state.programs.get(KUBECTL) {
        let link = dir.join(KUBECTL_LINK);
        std::os::unix::fs::symlink(kubectl, &link).map_err(ToolError::io(format!("`{}`", link.display())))?;
    }
    state.save(dir)?;
    eprintln!("xtask: starting the control plane: {}", state.server_url());
    control_plane::start(dir, &state)?;
    if let Some(network) = state.network {
        check_free_space(dir.path(), NODE_SPACE, NODE_SPACE_FRACTION)?;
        eprintln!("xtask: starting the node");
        node::start(dir, &state, network)?;
    }
    process::check_all_alive(dir)?;
    state.ready = true;
    state.save(dir)
}

/// Removes a partly started cluster. Keeps its logs and names their directory in the error.
fn clean_up_after(dir: &ClusterDir, failure: ToolError) -> ToolError {
    // The message quotes a log, so the message is created before the logs are moved.
    let what = failure.to_string();
    let logs = dir.failed_logs_dir();
    let _ignored = std::fs::remove_dir_all(&logs);
    let moved = std::fs::rename(dir.join("logs"), &logs);
    if let Err(also) = leftovers::remove(dir) {
        eprintln!("xtask: {also}");
    }
    match moved {
        Ok(()) => ToolError::FailedPrecondition { what: format!("{what}\nlogs: `{}`", logs.display()) },
        Err(_) => failure,
    }
}

/// Stops and removes the cluster of this checkout.
pub(crate) fn down() -> Result<(), ToolError> {
    let dir = ClusterDir::of_checkout()?;
    let _lock = dir.lock()?;
    if dir.path().exists() {
        leftovers::remove(&dir)?;
        eprintln!("xtask: the cluster is stopped");
    } else {
        eprintln!("xtask: this checkout has no running cluster");
    }
    Ok(())
}

/// Checks the selected version and the Go toolchain, so that a later start of the cluster does not fail
/// because of them. The check starts and builds nothing.
///
/// # Errors
/// [`ToolError::FailedPrecondition`] if the user selects a version although KUBECONFIG or KUBEBUILDER_ASSETS
/// is set.
/// [`ToolError::FailedPrecondition`] if this checkout's running cluster has another version than the selected
/// one.
/// [`ToolError::FailedPrecondition`] if KUBECONFIG names only files that do not exist.
/// [`ToolError::Unsupported`] if the programs must be built and Go is missing or too old.
pub fn check_prerequisites(kubernetes: Option<Release>) -> Result<(), ToolError> {
    let dir = ClusterDir::of_checkout()?;
    if external_kubeconfig_for(&dir, kubernetes)?.is_some() {
        return Ok(());
    }
    match running_state(&dir)? {
        Some(state) => check_version(&state, kubernetes),
        None => BinarySource::new(kubernetes)?.check_available(),
    }
}

/// Returns the kubeconfig of an external cluster. Fails if the user selects a version, because an external
/// cluster has its own.
fn external_kubeconfig_for(
    dir: &ClusterDir,
    kubernetes: Option<Release>,
) -> Result<Option<PathBuf>, ToolError> {
    let config = external_kubeconfig(dir)?;
    if config.is_some() && kubernetes.is_some() {
        let what = "KUBECONFIG names a cluster with its own version: unset it, or omit `--kubernetes`";
        return Err(ToolError::FailedPrecondition { what: what.to_owned() });
    }
    Ok(config)
}

fn check_version(state: &ClusterState, kubernetes: Option<Release>) -> Result<(), ToolError> {
    let Some(release) = kubernetes.filter(|release| !state.runs_release(*release)) else { return Ok(()) };
    let runs = state.kubernetes.as_deref().unwrap_or("of an unknown version");
    let what = format!(
        "the running cluster has Kubernetes {runs}, not {release}; stop it first with `cargo xtask cluster down`"
    );
    Err(ToolError::FailedPrecondition { what })
}

/// Path of the link to the cluster's `kubectl` in the state directory. The link's directory contains nothing
/// else, so that the directory can be added to `PATH`.
pub(crate) const KUBECTL_LINK: &str = "bin/kubectl";

/// Returns the `kubectl` of this checkout's cluster, of whatever version. Without a saved cluster or without
/// its `kubectl`, searches like [`binaries::find_or_build_kubectl`].
pub(crate) fn find_or_build_kubectl(
    kubernetes: Option<Release>,
    may_build: bool,
) -> Result<Option<PathBuf>, ToolError> {
    let state = ClusterState::load(&ClusterDir::of_checkout()?).unwrap_or_default();
    match state.and_then(|state| state.programs.get(KUBECTL).cloned()) {
        Some(program) => Ok(Some(program)),
        None => binaries::find_or_build_kubectl(kubernetes, may_build),
    }
}

/// Returns the kubeconfig of an external cluster: KUBECONFIG names it, and this checkout did not start the
/// cluster. Fails if no file that KUBECONFIG names exists.
pub(crate) fn external_kubeconfig(dir: &ClusterDir) -> Result<Option<PathBuf>, ToolError> {
    let Some(value) = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let files: Vec<PathBuf> = std::env::split_paths(&value).collect();
    // The shell may still have the variables that `cargo xtask cluster env` printed.
    if files.iter().any(|file| file.starts_with(dir.path())) {
        return Ok(None);
    }
    if files.iter().any(|file| file.exists()) {
        return Ok(Some(value.into()));
    }
    let what = format!("KUBECONFIG is `{}`, which does not exist; unset it", PathBuf::from(value).display());
    Err(ToolError::FailedPrecondition { what })
}

/// Returns the state of this checkout's cluster if the cluster has become ready and all its processes are
/// running.
fn running_state(dir: &ClusterDir) -> Result<Option<ClusterState>, ToolError> {
    let state = ClusterState::load(dir).unwrap_or_default();
    Ok(state.filter(|state| {
        let expected = PROCESSES.iter().filter(|name| state.has_node() || !is_node_process(name));
        let alive = |name| ProcessIdentity::recorded(dir, name).is_some_and(ProcessIdentity::is_alive);
        state.ready && expected.into_iter().all(|name| alive(name))
    }))
}

pub(crate) fn is_up(dir: &ClusterDir) -> Result<bool, ToolError> {
    Ok(running_state(dir)?.is_some())
}

pub(crate) fn is_node_process(process: &str) -> bool {
    [SCHEDULER, CONTAINERD, SOCAT, KUBELET].contains(&process)
}

/// Returns the environment variables through which tests find the cluster.
pub(crate) fn test_environment(dir: &ClusterDir) -> Result<Vec<(String, String)>, ToolError> {
    let variable = |name: &str, path: PathBuf| (name.to_owned(), path.display().to_string());
    if let Some(config) = external_kubeconfig(dir)? {
        return Ok(vec![variable("KUBECONFIG", config)]);
    }
    load_state(dir)?;
    let program = std::env::current_exe().map_err(ToolError::io("this program"))?;
    Ok(vec![
        variable("KUBECONFIG", dir.admin_kubeconfig()),
        variable("RUNWAY_TEST_KUBECONFIG", dir.user_kubeconfig()),
        variable("RUNWAY_TEST_CLUSTER", dir.path().to_owned()),
        variable("RUNWAY_TEST_XTASK", program),
    ])
}

pub(crate) fn load_state(dir: &ClusterDir) -> Result<ClusterState, ToolError> {
    let what = "this checkout has no running cluster: start one with `cargo xtask cluster up`".to_owned();
    ClusterState::load(dir)?.ok_or(ToolError::FailedPrecondition { what })
}

pub(crate) fn import_images(file: &Path) -> Result<(), ToolError> {
    let dir = ClusterDir::of_checkout()?;
    let what = match running_state(&dir)? {
        _ if external_kubeconfig(&dir)?.is_some() => "cannot import images into the cluster of KUBECONFIG",
        Some(state) if state.has_node() => return node::import_images(&dir, &state, file),
        _ => {
            "this checkout has no running cluster with a node: start one with `cargo xtask cluster up --node`"
        }
    };
    Err(ToolError::FailedPrecondition { what: what.to_owned() })
}

/// Kills the API server. After SIGTERM it would continue to serve its watches for a while.
pub(crate) fn stop_apiserver() -> Result<(), ToolError> {
    let dir = ClusterDir::of_checkout()?;
    let _lock = dir.lock()?;
    load_state(&dir)?;
    ProcessIdentity::recorded(&dir, APISERVER).map_or(Ok(()), ProcessIdentity::kill)
}

pub(crate) fn start_apiserver() -> Result<(), ToolError> {
    let dir = ClusterDir::of_checkout()?;
    let _lock = dir.lock()?;
    let state = load_state(&dir)?;
    if ProcessIdentity::recorded(&dir, APISERVER).is_some_and(ProcessIdentity::is_alive) {
        return Ok(());
    }
    control_plane::start_apiserver(&dir, &state)
}
