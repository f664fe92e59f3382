//! etcd, the API server and the controller manager.

use crate::api::{ApiClient, kubeconfig};
use crate::process::{self, APISERVER, CONTROLLER_MANAGER, ETCD};
use crate::state::{ClusterDir, ClusterState};
use runway_steps::ToolError;
use rustix::mount::{MountFlags, mount};

/// Maximum time in seconds until the API server is ready, and then until the default service account exists.
const READY_TIMEOUT_SECS: u64 = 90;

/// Mount options of the file system for etcd's data. The file system has twice the 2 GiB at which etcd stops
/// accepting writes.
const ETCD_TMPFS_OPTIONS: &std::ffi::CStr = c"size=4g,mode=700";

/// Starts the control plane, and waits until the controller manager has created the default service account.
pub(crate) fn start(dir: &ClusterDir, state: &ClusterState) -> Result<(), ToolError> {
    dir.write_private("header", &format!("Authorization: Bearer {}\n", state.admin))?;
    let users = format!("{},admin,admin,\"system:masters\"\n{},runway,runway\n", state.admin, state.user);
    dir.write_private("tokens.csv", &users)?;
    dir.write_private("admin.kubeconfig", &kubeconfig(dir, state, "admin", &state.admin)?)?;
    dir.write_private("runway.kubeconfig", &kubeconfig(dir, state, "runway", &state.user)?)?;
    start_etcd(dir, state)?;
    start_apiserver(dir, state)?;
    start_controller_manager(dir, state)?;
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    process::wait_for(dir, "the default service account", READY_TIMEOUT_SECS, || {
        ApiClient::new(dir, state).get(account).map(drop)
    })
}

fn start_etcd(dir: &ClusterDir, state: &ClusterState) -> Result<(), ToolError> {
    let clients = format!("http://127.0.0.1:{}", state.ports.etcd);
    let peers = format!("http://127.0.0.1:{}", state.ports.etcd_peers);
    if state.has_node() {
        mount_etcd_tmpfs(dir)?;
    }
    let command = [
        state.program_path(ETCD),
        format!("--data-dir={}", dir.path_string("etcd")),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
    ];
    process::start_process(dir, ETCD, None, &command)
}

/// Mounts a tmpfs for etcd's data. etcd syncs to disk at each write, so a busy disk would stall the cluster
/// of the tests for seconds. Benchmarks use a cluster without a node, whose etcd writes to the disk as in
/// production.
fn mount_etcd_tmpfs(dir: &ClusterDir) -> Result<(), ToolError> {
    dir.create_dir("etcd")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", dir.join("etcd"), "tmpfs", flags, Some(ETCD_TMPFS_OPTIONS))
        .map_err(|error| ToolError::io("mounting etcd's tmpfs")(error.into()))
}

/// Starts or restarts the API server and waits until it is ready.
pub(crate) fn start_apiserver(dir: &ClusterDir, state: &ClusterState) -> Result<(), ToolError> {
    // The API server creates the certificate and its key at the first start. The key also signs the tokens of
    // service accounts.
    let key = dir.path_string("certificates/apiserver.key");
    let command = [
        state.program_path(APISERVER),
        format!("--etcd-servers=http://127.0.0.1:{}", state.ports.etcd),
        format!("--cert-dir={}", dir.path_string("certificates")),
        format!("--secure-port={}", state.ports.apiserver),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-account-issuer=https://runway.test".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        format!("--token-auth-file={}", dir.path_string("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        format!("--service-cluster-ip-range={}", state.service_cidr()),
        "--allow-privileged=true".to_owned(),
        "--kubelet-preferred-address-types=Hostname".to_owned(),
    ];
    process::start_process(dir, APISERVER, None, &command)?;
    process::wait_for(dir, "the API server's readiness", READY_TIMEOUT_SECS, || {
        ApiClient::new(dir, state).check_ready()
    })
}

fn start_controller_manager(dir: &ClusterDir, state: &ClusterState) -> Result<(), ToolError> {
    let command = [
        state.program_path(CONTROLLER_MANAGER),
        format!("--kubeconfig={}", dir.path_string("admin.kubeconfig")),
        format!("--service-account-private-key-file={}", dir.path_string("certificates/apiserver.key")),
        format!("--root-ca-file={}", dir.path_string("certificates/apiserver.crt")),
        "--controllers=*".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        // Without this flag, the program creates `/usr/libexec/kubernetes`.
        format!("--flex-volume-plugin-dir={}", dir.path_string("plugins")),
    ];
    process::start_process(dir, CONTROLLER_MANAGER, None, &command)
}
