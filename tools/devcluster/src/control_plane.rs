//! etcd, the API server and the controller manager.

use crate::api::{Api, kubeconfig};
use crate::process::{self, APISERVER, CONTROLLER_MANAGER, ETCD};
use crate::state::{Folder, State};
use runway_steps::Failure;
use rustix::mount::{MountFlags, mount};

/// Maximum time until the API server is ready, in seconds.
const READY: u64 = 90;

/// Mount options of the file system for etcd's data. Its size is twice the 2 GiB at which etcd stops
/// accepting writes.
const ETCD_MEMORY: &std::ffi::CStr = c"size=4g,mode=700";

/// Starts the control plane and waits until it works.
pub(crate) fn start(folder: &Folder, state: &State) -> Result<(), Failure> {
    folder.write("header", &format!("Authorization: Bearer {}\n", state.admin))?;
    let users = format!("{},admin,admin,\"system:masters\"\n{},runway,runway\n", state.admin, state.user);
    folder.write("tokens.csv", &users)?;
    folder.write("admin.kubeconfig", &kubeconfig(folder, state, "admin", &state.admin)?)?;
    folder.write("runway.kubeconfig", &kubeconfig(folder, state, "runway", &state.user)?)?;
    start_etcd(folder, state)?;
    start_apiserver(folder, state)?;
    start_controller_manager(folder, state)?;
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    process::wait(folder, "the default service account", READY, || {
        Api::new(folder, state).text(account).map(drop)
    })
}

fn start_etcd(folder: &Folder, state: &State) -> Result<(), Failure> {
    let clients = format!("http://127.0.0.1:{}", state.ports.etcd);
    let peers = format!("http://127.0.0.1:{}", state.ports.etcd_peers);
    if state.node() {
        keep_etcd_in_memory(folder)?;
    }
    let command = [
        state.program(ETCD),
        format!("--data-dir={}", folder.text("etcd")),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
    ];
    process::start(folder, ETCD, None, &command)
}

/// Mounts a tmpfs for etcd's data. etcd syncs to disk at each write, so a busy disk would stall the cluster
/// of the tests for seconds. Benchmarks use a cluster without a node, whose etcd writes to the disk as in
/// production.
fn keep_etcd_in_memory(folder: &Folder) -> Result<(), Failure> {
    folder.create("etcd")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", folder.join("etcd"), "tmpfs", flags, Some(ETCD_MEMORY))
        .map_err(|error| Failure::io("mounting etcd's tmpfs")(error.into()))
}

/// Starts or restarts the API server and waits until it is ready.
pub(crate) fn start_apiserver(folder: &Folder, state: &State) -> Result<(), Failure> {
    // The API server creates the certificate and its key at the first start. The key also signs the tokens of
    // service accounts.
    let key = folder.text("certificates/apiserver.key");
    let command = [
        state.program(APISERVER),
        format!("--etcd-servers=http://127.0.0.1:{}", state.ports.etcd),
        format!("--cert-dir={}", folder.text("certificates")),
        format!("--secure-port={}", state.ports.apiserver),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--service-account-issuer=https://runway.test".to_owned(),
        format!("--service-account-key-file={key}"),
        format!("--service-account-signing-key-file={key}"),
        format!("--token-auth-file={}", folder.text("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        format!("--service-cluster-ip-range={}", state.services()),
        "--allow-privileged=true".to_owned(),
        "--kubelet-preferred-address-types=Hostname".to_owned(),
    ];
    process::start(folder, APISERVER, None, &command)?;
    process::wait(folder, "the API server's readiness", READY, || Api::new(folder, state).ready())
}

fn start_controller_manager(folder: &Folder, state: &State) -> Result<(), Failure> {
    let command = [
        state.program(CONTROLLER_MANAGER),
        format!("--kubeconfig={}", folder.text("admin.kubeconfig")),
        format!("--service-account-private-key-file={}", folder.text("certificates/apiserver.key")),
        format!("--root-ca-file={}", folder.text("certificates/apiserver.crt")),
        "--controllers=*".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
        // Without this flag, the program creates `/usr/libexec/kubernetes`.
        format!("--flex-volume-plugin-dir={}", folder.text("plugins")),
    ];
    process::start(folder, CONTROLLER_MANAGER, None, &command)
}
