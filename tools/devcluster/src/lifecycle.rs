//! Starts, finds, interrupts and removes a cluster.

use crate::binaries::{self, Source};
use crate::process::{self, APISERVER, CONTAINERD, Identity, KUBECTL, KUBELET, PROCESSES, SCHEDULER, SOCAT};
use crate::release::Release;
use crate::state::{Folder, State};
use crate::{control_plane, node, remains};
use runway_steps::Failure;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Options for starting a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Up {
    /// Whether to start a node, which runs pods.
    pub node: bool,
    /// The version that the user selects. With `None`, a running cluster of any version is used.
    pub kubernetes: Option<Release>,
}

/// Starts a cluster with these options unless it is already running.
pub(crate) fn up(wanted: Up) -> Result<(), Failure> {
    let folder = Folder::of_this_checkout()?;
    if let Some(config) = external_for(&folder, wanted.kubernetes)? {
        eprintln!("xtask: using the cluster of KUBECONFIG: `{}`", config.display());
        return Ok(());
    }
    let source = Source::new(wanted.kubernetes)?;
    let begun = Instant::now();
    let _lock = folder.lock()?;
    if let Some(state) = running(&folder)? {
        if wanted.node && !state.node() {
            let what = "a cluster without a node is running; stop it first with `cargo xtask cluster down`";
            return Err(Failure::Mismatch { what: what.to_owned() });
        }
        check_version(&state, wanted.kubernetes)?;
        eprintln!("xtask: the cluster is already running: {}", state.server());
        return Ok(());
    }
    if folder.path().exists() {
        eprintln!("xtask: removing the leftovers of an earlier cluster");
        remains::remove(&folder)?;
    }
    let programs = binaries::find(&source, wanted.node)?;
    let state = State::new(wanted.node, source.release(), programs)?;
    if let Err(failure) = start(&folder, state) {
        return Err(given_up(&folder, failure));
    }
    eprintln!(
        "xtask: the cluster is ready after {:.1} s; `cargo xtask cluster env` prints its variables",
        begun.elapsed().as_secs_f32()
    );
    Ok(())
}

fn start(folder: &Folder, mut state: State) -> Result<(), Failure> {
    for name in ["", "bin", "logs", "processes", "certificates", "plugins"] {
        folder.create(name)?;
    }
    if let Some(kubectl) = state.programs.get(KUBECTL) {
        let link = folder.join(CLIENT);
        std::os::unix::fs::symlink(kubectl, &link).map_err(Failure::io(format!("`{}`", link.display())))?;
    }
    state.save(folder)?;
    eprintln!("xtask: starting the control plane: {}", state.server());
    control_plane::start(folder, &state)?;
    if let Some(network) = state.network {
        eprintln!("xtask: starting the node");
        node::start(folder, &state, network)?;
    }
    process::all_alive(folder)?;
    state.ready = true;
    state.save(folder)
}

/// Removes a partly started cluster. Keeps its logs and names their directory in the error.
fn given_up(folder: &Folder, failure: Failure) -> Failure {
    // The message quotes a log, so it is created before the logs are moved.
    let what = failure.to_string();
    let logs = folder.failed_logs();
    let _none = std::fs::remove_dir_all(&logs);
    let kept = std::fs::rename(folder.join("logs"), &logs);
    if let Err(also) = remains::remove(folder) {
        eprintln!("xtask: {also}");
    }
    match kept {
        Ok(()) => Failure::Mismatch { what: format!("{what}\nlogs: `{}`", logs.display()) },
        Err(_) => failure,
    }
}

/// Stops and removes the cluster of this checkout.
pub(crate) fn down() -> Result<(), Failure> {
    let folder = Folder::of_this_checkout()?;
    let _lock = folder.lock()?;
    if folder.path().exists() {
        remains::remove(&folder)?;
        eprintln!("xtask: the cluster is stopped");
    } else {
        eprintln!("xtask: this checkout has no running cluster");
    }
    Ok(())
}

/// Fails if a cluster of this version cannot be started here. The check returns at once.
///
/// # Errors
/// [`ToolError::FailedPrecondition`] if the user selects a version and KUBECONFIG, KUBEBUILDER_ASSETS or a
/// running cluster has another one.
/// [`ToolError::Unsupported`] if the programs must be built and Go is missing or too old.
pub fn check_prerequisites(kubernetes: Option<Release>) -> Result<(), Failure> {
    let folder = Folder::of_this_checkout()?;
    if external_for(&folder, kubernetes)?.is_some() {
        return Ok(());
    }
    match running(&folder)? {
        Some(state) => check_version(&state, kubernetes),
        None => Source::new(kubernetes)?.check(),
    }
}

/// Returns the kubeconfig of an external cluster. Fails if the user selects a version, because an external
/// cluster has its own.
fn external_for(folder: &Folder, kubernetes: Option<Release>) -> Result<Option<PathBuf>, Failure> {
    let config = is_external(folder)?;
    if config.is_some() && kubernetes.is_some() {
        let what =
            "KUBECONFIG names a cluster with its own version: unset it, or omit `--kubernetes`";
        return Err(Failure::Mismatch { what: what.to_owned() });
    }
    Ok(config)
}

fn check_version(state: &State, kubernetes: Option<Release>) -> Result<(), Failure> {
    let Some(release) = kubernetes.filter(|release| !state.is_of(*release)) else { return Ok(()) };
    let runs = state.kubernetes.as_deref().unwrap_or("of an unknown version");
    let what = format!(
        "the running cluster has Kubernetes {runs}, not {release}; stop it first with `cargo xtask cluster down`"
    );
    Err(Failure::Mismatch { what })
}

/// Path of the link to the cluster's `kubectl` in the state directory. Its directory contains nothing else,
/// so that it can be added to `PATH`.
pub(crate) const CLIENT: &str = "bin/kubectl";

/// Finds the `kubectl` of the running cluster, or else searches like [`binaries::find_or_build_kubectl`].
pub(crate) fn kubectl(kubernetes: Option<Release>, may_build: bool) -> Result<Option<PathBuf>, Failure> {
    let state = State::load(&Folder::of_this_checkout()?).unwrap_or_default();
    match state.and_then(|state| state.programs.get(KUBECTL).cloned()) {
        Some(program) => Ok(Some(program)),
        None => binaries::kubectl(kubernetes, may_build),
    }
}

/// Returns the kubeconfig of an external cluster: KUBECONFIG names it, and this checkout did not start it.
pub(crate) fn is_external(folder: &Folder) -> Result<Option<PathBuf>, Failure> {
    let Some(value) = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let files: Vec<PathBuf> = std::env::split_paths(&value).collect();
    // The shell may still have the variables that `cargo xtask cluster env` printed.
    if files.iter().any(|file| file.starts_with(folder.path())) {
        return Ok(None);
    }
    if files.iter().any(|file| file.exists()) {
        return Ok(Some(value.into()));
    }
    let what = format!("KUBECONFIG is `{}`, which does not exist; unset it", PathBuf::from(value).display());
    Err(Failure::Mismatch { what })
}

/// Returns the state of this checkout's cluster if it has become ready and all its processes are running.
fn running(folder: &Folder) -> Result<Option<State>, Failure> {
    let state = State::load(folder).unwrap_or_default();
    Ok(state.filter(|state| {
        let expected = PROCESSES.iter().filter(|name| state.node() || !of_a_node(name));
        let alive = |name| Identity::recorded(folder, name).is_some_and(Identity::is_alive);
        state.ready && expected.into_iter().all(|name| alive(name))
    }))
}

pub(crate) fn is_up(folder: &Folder) -> Result<bool, Failure> {
    Ok(running(folder)?.is_some())
}

pub(crate) fn of_a_node(process: &str) -> bool {
    [SCHEDULER, CONTAINERD, SOCAT, KUBELET].contains(&process)
}

/// Returns the environment variables through which tests find the cluster.
pub(crate) fn environment(folder: &Folder) -> Result<Vec<(String, String)>, Failure> {
    let variable = |name: &str, path: PathBuf| (name.to_owned(), path.display().to_string());
    if let Some(config) = is_external(folder)? {
        return Ok(vec![variable("KUBECONFIG", config)]);
    }
    loaded(folder)?;
    let program = std::env::current_exe().map_err(Failure::io("this program"))?;
    Ok(vec![
        variable("KUBECONFIG", folder.admin_kubeconfig()),
        variable("RUNWAY_TEST_KUBECONFIG", folder.user_kubeconfig()),
        variable("RUNWAY_TEST_CLUSTER", folder.path().to_owned()),
        variable("RUNWAY_TEST_XTASK", program),
    ])
}

pub(crate) fn loaded(folder: &Folder) -> Result<State, Failure> {
    let what = "this checkout has no running cluster: start one with `cargo xtask cluster up`".to_owned();
    State::load(folder)?.ok_or(Failure::Mismatch { what })
}

pub(crate) fn import(file: &Path) -> Result<(), Failure> {
    let folder = Folder::of_this_checkout()?;
    let what = match running(&folder)? {
        _ if is_external(&folder)?.is_some() => "cannot import images into the cluster of KUBECONFIG",
        Some(state) if state.node() => return node::import(&folder, &state, file),
        _ => "this checkout has no running cluster with a node: start one with `cargo xtask cluster up --node`",
    };
    Err(Failure::Mismatch { what: what.to_owned() })
}

/// Kills the API server. After SIGTERM it would continue to serve its watches for a while.
pub(crate) fn stop_apiserver() -> Result<(), Failure> {
    let folder = Folder::of_this_checkout()?;
    let _lock = folder.lock()?;
    loaded(&folder)?;
    Identity::recorded(&folder, APISERVER).map_or(Ok(()), Identity::kill)
}

pub(crate) fn start_apiserver() -> Result<(), Failure> {
    let folder = Folder::of_this_checkout()?;
    let _lock = folder.lock()?;
    let state = loaded(&folder)?;
    if Identity::recorded(&folder, APISERVER).is_some_and(Identity::is_alive) {
        return Ok(());
    }
    control_plane::start_apiserver(&folder, &state)
}
