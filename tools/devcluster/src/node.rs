//! The node: scheduler, containerd and kubelet.
//!
//! containerd and the kubelet share a mount namespace. In this namespace, directories and files of the state
//! directory replace `/run`, `/var/lib`, `/var/log` and some kernel settings. So the node does not change
//! these paths of the machine, and clusters do not conflict. The kernel removes the mounts when the processes
//! exit.

use crate::api::ApiClient;
use crate::network::{self, PodNetwork};
use crate::process::{self, CONTAINERD, KUBELET, ProcessIdentity, SCHEDULER, SOCAT};
use crate::state::{ClusterDir, ClusterState};
use crate::{cgroup, image};
use runway_steps::{ToolError, search_path};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Maximum time until containerd and the kubelet are ready, in seconds.
const READY_TIMEOUT_SECS: u64 = 90;

/// Prepares the mounts in a new mount namespace and becomes containerd. The state directory may be below a
/// directory that these mounts cover, so it is bind-mounted at its own path again.
const ENTER_NAMESPACE: &str = r#"
set -e
cd "$1"
for pair in run:/run lib:/var/lib log:/var/log; do
    mount --bind "node/${pair%%:*}" "${pair#*:}"
done
mkdir -p "$1"
mount --no-canonicalize --bind /proc/self/cwd "$1"
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes net/ipv4/ip_forward; do
    [ -e "/proc/sys/$setting" ] || continue
    copy="node/settings/$(echo "$setting" | tr / .)"
    cat "/proc/sys/$setting" > "$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
shift
exec "$@"
"#;

/// Starts the node for a running control plane, and waits until the node is ready and has no taint.
pub(crate) fn start(dir: &ClusterDir, state: &ClusterState, network: PodNetwork) -> Result<(), ToolError> {
    for name in ["run", "lib", "log", "settings", "network", "kubelet", "containerd"] {
        dir.create_dir(&format!("node/{name}"))?;
    }
    let group = cgroup::create(state)?;
    start_scheduler(dir, state)?;
    start_containerd(dir, state, &group, network)?;
    import_images(dir, state, &image::write_archive(dir, Path::new(&state.program_path("busybox")))?)?;
    start_relay(dir, state, &group, network)?;
    start_kubelet(dir, state, &group)?;
    process::wait_for(dir, "the node's readiness", READY_TIMEOUT_SECS, || {
        ApiClient::new(dir, state).check_node_ready()
    })
}

fn start_scheduler(dir: &ClusterDir, state: &ClusterState) -> Result<(), ToolError> {
    let command = [
        state.program_path(SCHEDULER),
        format!("--kubeconfig={}", dir.path_string("admin.kubeconfig")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    process::start_process(dir, SCHEDULER, None, &command)
}

fn start_containerd(
    dir: &ClusterDir,
    state: &ClusterState,
    group: &Path,
    network: PodNetwork,
) -> Result<(), ToolError> {
    let mounts =
        std::fs::read_to_string("/proc/self/mounts").map_err(ToolError::io("`/proc/self/mounts`"))?;
    // overlayfs cannot use another overlayfs as its upper layer. In this case the native snapshotter copies
    // the layers.
    let snapshotter =
        if file_system_type(&mounts, dir.path()) == Some("overlay") { "native" } else { "overlayfs" };
    let plugins = state.program_path("cni");
    dir.write_private("node/containerd.toml", &containerd_config(dir, snapshotter, &plugins))?;
    dir.write_private("node/snapshots", snapshotter)?;
    // The kubelet probes the pods, and pods call the API server. So the bridge is a gateway: it gives this
    // machine an address in the pod network.
    let addresses = json!({ "subnet": network.pod_cidr(), "rangeStart": network.first_pod_address(), "gateway": network.gateway_address() });
    let network = json!({
        "cniVersion": "0.4.0",
        "name": state.tag,
        "plugins": [{
            "type": "bridge",
            "bridge": state.bridge(),
            "isGateway": true,
            "ipMasq": false,
            "ipam": { "type": "host-local", "ranges": [[addresses]] },
        }],
    });
    dir.write_private("node/network/runway.conflist", &network.to_string())?;
    let command = [
        "unshare".to_owned(),
        "--mount".to_owned(),
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        ENTER_NAMESPACE.to_owned(),
        "sh".to_owned(),
        dir.path().display().to_string(),
        state.program_path(CONTAINERD),
        format!("--config={}", dir.path_string("node/containerd.toml")),
    ];
    process::start_process(dir, CONTAINERD, Some(group), &command)?;
    // `ctr` would wait for seconds before its next attempt if containerd were not listening yet.
    process::wait_for(dir, "containerd's socket", READY_TIMEOUT_SECS, || {
        let listens = dir.join("node/run/containerd/containerd.sock").exists();
        if listens { Ok(()) } else { Err("it does not exist".to_owned()) }
    })?;
    process::wait_for(dir, "containerd's readiness", READY_TIMEOUT_SECS, || {
        run_ctr(dir, state, &["version"]).map_err(|failure| failure.to_string())
    })
}

/// Starts the relay from the API server's cluster IP to the API server. The bridge and its address do not
/// exist before the first pod, so the relay binds the address in advance.
fn start_relay(
    dir: &ClusterDir,
    state: &ClusterState,
    group: &Path,
    network: PodNetwork,
) -> Result<(), ToolError> {
    let gateway = network.gateway_address();
    let command = [
        state.program_path(SOCAT),
        format!("TCP-LISTEN:{},bind={gateway},freebind,reuseaddr,fork", network::SERVICE_PORT),
        format!("TCP:127.0.0.1:{}", state.ports.apiserver),
    ];
    process::start_process(dir, SOCAT, Some(group), &command)
}

/// Imports the images of an archive into containerd.
pub(crate) fn import_images(dir: &ClusterDir, state: &ClusterState, archive: &Path) -> Result<(), ToolError> {
    let snapshotter = std::fs::read_to_string(dir.join("node/snapshots")).unwrap_or_default();
    let archive = std::path::absolute(archive).map_err(ToolError::io(format!("`{}`", archive.display())))?;
    let archive = archive.display().to_string();
    run_ctr(dir, state, &["images", "import", "--snapshotter", &snapshotter, &archive])
}

/// Runs `ctr` in the mount namespace of containerd.
fn run_ctr(dir: &ClusterDir, state: &ClusterState, arguments: &[&str]) -> Result<(), ToolError> {
    let what = format!("ctr {}", arguments.first().copied().unwrap_or_default());
    let mut call = nsenter_args(dir)?;
    call.push(state.program_path("ctr"));
    call.extend(["--namespace", "k8s.io"].iter().chain(arguments).map(|word| (*word).to_owned()));
    let mut words = call.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env("PATH", search_path());
    let output = command.output().map_err(ToolError::io(&*what))?;
    if output.status.success() {
        return Ok(());
    }
    Err(ToolError::CommandFailed { what, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// Returns the first words of a command that runs in the mount namespace of the node.
fn nsenter_args(dir: &ClusterDir) -> Result<Vec<String>, ToolError> {
    let identity = ProcessIdentity::recorded(dir, CONTAINERD)
        .ok_or_else(|| ToolError::FailedPrecondition { what: "containerd was not started".to_owned() })?;
    let namespace = format!("--mount=/proc/{}/ns/mnt", identity.pid);
    Ok(vec!["nsenter".to_owned(), namespace, "--".to_owned()])
}

fn start_kubelet(dir: &ClusterDir, state: &ClusterState, group: &Path) -> Result<(), ToolError> {
    dir.write_private("node/kubelet.json", &kubelet_config(dir, state).to_string())?;
    let mut command = nsenter_args(dir)?;
    command.extend([
        state.program_path(KUBELET),
        format!("--config={}", dir.path_string("node/kubelet.json")),
        format!("--kubeconfig={}", dir.path_string("admin.kubeconfig")),
        format!("--root-dir={}", dir.path_string("node/kubelet")),
        format!("--cert-dir={}", dir.path_string("node/certificates")),
        // The name of the node is also its address. So the API server reaches the kubelet without name
        // resolution.
        "--hostname-override=127.0.0.1".to_owned(),
    ]);
    process::start_process(dir, KUBELET, Some(group), &command)
}

fn kubelet_config(dir: &ClusterDir, state: &ClusterState) -> serde_json::Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": state.ports.kubelet,
        "readOnlyPort": 0,
        "healthzPort": 0,
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        // Since version 1.35, a kubelet refuses to run on cgroup v1 by default.
        "failCgroupV1": false,
        // Without this setting, the kubelet creates `/usr/libexec/kubernetes`.
        "volumePluginDir": dir.path_string("plugins"),
        "cgroupRoot": format!("/{}", state.tag),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        "resolvConf": "",
        "clusterDomain": "",
        "maxPods": 250,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "5s",
        "volumeStatsAggPeriod": "2s",
        "evictionPressureTransitionPeriod": "5s",
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    })
}

fn containerd_config(dir: &ClusterDir, snapshots: &str, plugins: &str) -> String {
    let root = dir.path_string("node/containerd");
    let network = dir.path_string("node/network");
    // A TOML basic string has the syntax of a JSON string.
    let quoted = |text: &str| json!(text).to_string();
    let (root, network, plugins, snapshotter) =
        (quoted(&root), quoted(&network), quoted(plugins), quoted(snapshots));
    let pause = quoted(image::PAUSE_IMAGE);
    format!(
        "\
version = 2
root = {root}
state = \"/run/containerd\"
oom_score = 0

[grpc]
address = \"/run/containerd/containerd.sock\"

[plugins.\"io.containerd.grpc.v1.cri\"]
sandbox_image = {pause}
restrict_oom_score_adj = true
disable_apparmor = true
ignore_image_defined_volumes = true
stream_server_address = \"127.0.0.1\"
stream_server_port = \"0\"

[plugins.\"io.containerd.grpc.v1.cri\".cni]
bin_dir = {plugins}
conf_dir = {network}

[plugins.\"io.containerd.grpc.v1.cri\".containerd]
snapshotter = {snapshotter}
default_runtime_name = \"runc\"

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
"
    )
}

/// Returns the type of the file system that contains a path, from the text of `/proc/self/mounts`. The
/// deepest mount point wins. If several mounts are on the same point, the last one wins.
fn file_system_type<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mut found: Option<(PathBuf, &str)> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(place), Some(kind)) = (fields.next(), fields.next()) else { continue };
        let place = PathBuf::from(place.replace("\\040", " "));
        let depth = found.as_ref().map_or(0, |(found, _)| found.components().count());
        if path.starts_with(&place) && place.components().count() >= depth {
            found = Some((place, kind));
        }
    }
    found.map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::file_system_type;
    use std::path::Path;

    #[test]
    fn file_system_of_the_deepest_mount_is_returned() {
        let mounts =
            "overlay / overlay rw 0 0\n/dev/sda /data ext4 rw 0 0\ntmpfs /data\\040tmp tmpfs rw 0 0\n";
        assert_eq!(file_system_type(mounts, Path::new("/home/x")), Some("overlay"));
        assert_eq!(file_system_type(mounts, Path::new("/data/x")), Some("ext4"));
        assert_eq!(file_system_type(mounts, Path::new("/data tmp/x")), Some("tmpfs"));
        assert_eq!(file_system_type("", Path::new("/data")), None);
    }
}
