//! The node: scheduler, containerd and kubelet.
//!
//! containerd and the kubelet share a mount namespace. In it, `/run`, `/var/lib`, `/var/log` and some kernel
//! settings are files of the state directory. So the node changes nothing on the machine, clusters do not
//! conflict, and the kernel removes every mount when the processes exit.

use crate::api::Api;
use crate::network::{self, Network};
use crate::process::{self, CONTAINERD, Identity, KUBELET, SCHEDULER, SOCAT};
use crate::state::{Folder, State};
use crate::{cgroup, image};
use runway_steps::{Failure, search_path};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Maximum time until containerd and the kubelet are ready, in seconds.
const READY: u64 = 90;

/// Prepares the mounts in a new mount namespace and becomes containerd. The state directory may be below a
/// directory that these mounts cover, so it is bind-mounted at its own path again.
const ENTER: &str = r#"
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

/// Starts the node for a running control plane and waits until it accepts pods.
pub(crate) fn start(folder: &Folder, state: &State, network: Network) -> Result<(), Failure> {
    for name in ["run", "lib", "log", "settings", "network", "kubelet", "containerd"] {
        folder.create(&format!("node/{name}"))?;
    }
    let group = cgroup::make(state)?;
    start_scheduler(folder, state)?;
    start_containerd(folder, state, &group, network)?;
    import(folder, state, &image::archive(folder, Path::new(&state.program("busybox")))?)?;
    start_relay(folder, state, &group, network)?;
    start_kubelet(folder, state, &group)?;
    process::wait(folder, "the node's readiness", READY, || Api::new(folder, state).node_ready())
}

fn start_scheduler(folder: &Folder, state: &State) -> Result<(), Failure> {
    let command = [
        state.program(SCHEDULER),
        format!("--kubeconfig={}", folder.text("admin.kubeconfig")),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    process::start(folder, SCHEDULER, None, &command)
}

fn start_containerd(folder: &Folder, state: &State, group: &Path, network: Network) -> Result<(), Failure> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(Failure::io("`/proc/self/mounts`"))?;
    // overlayfs cannot use another overlayfs as its upper layer. In this case the native snapshotter copies
    // the layers.
    let snapshots =
        if file_system(&mounts, folder.path()) == Some("overlay") { "native" } else { "overlayfs" };
    let plugins = state.program("cni");
    folder.write("node/containerd.toml", &containerd_config(folder, snapshots, &plugins))?;
    folder.write("node/snapshots", snapshots)?;
    // The kubelet probes the pods, and pods call the API server. So this machine needs an address in the pod
    // network.
    let addresses =
        json!({ "subnet": network.pods(), "rangeStart": network.first(), "gateway": network.gateway() });
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
    folder.write("node/network/runway.conflist", &network.to_string())?;
    let command = [
        "unshare".to_owned(),
        "--mount".to_owned(),
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        ENTER.to_owned(),
        "sh".to_owned(),
        folder.path().display().to_string(),
        state.program(CONTAINERD),
        format!("--config={}", folder.text("node/containerd.toml")),
    ];
    process::start(folder, CONTAINERD, Some(group), &command)?;
    // `ctr` would wait for seconds before its next attempt if containerd were not listening yet.
    process::wait(folder, "containerd's socket", READY, || {
        let listens = folder.join("node/run/containerd/containerd.sock").exists();
        if listens { Ok(()) } else { Err("it does not exist".to_owned()) }
    })?;
    process::wait(folder, "containerd's readiness", READY, || {
        ctr(folder, state, &["version"]).map_err(|failure| failure.to_string())
    })
}

/// Starts the relay from the API server's cluster IP to the API server. The bridge and its address do not
/// exist before the first pod, so the relay binds the address in advance.
fn start_relay(folder: &Folder, state: &State, group: &Path, network: Network) -> Result<(), Failure> {
    let gateway = network.gateway();
    let command = [
        state.program(SOCAT),
        format!("TCP-LISTEN:{},bind={gateway},freebind,reuseaddr,fork", network::PORT),
        format!("TCP:127.0.0.1:{}", state.ports.apiserver),
    ];
    process::start(folder, SOCAT, Some(group), &command)
}

/// Imports the images of an archive into containerd.
pub(crate) fn import(folder: &Folder, state: &State, archive: &Path) -> Result<(), Failure> {
    let snapshots = std::fs::read_to_string(folder.join("node/snapshots")).unwrap_or_default();
    let archive = std::path::absolute(archive).map_err(Failure::io(format!("`{}`", archive.display())))?;
    let archive = archive.display().to_string();
    ctr(folder, state, &["images", "import", "--snapshotter", &snapshots, &archive])
}

/// Runs `ctr` in the mount namespace of containerd.
fn ctr(folder: &Folder, state: &State, arguments: &[&str]) -> Result<(), Failure> {
    let what = format!("ctr {}", arguments.first().copied().unwrap_or_default());
    let mut call = inside(folder)?;
    call.push(state.program("ctr"));
    call.extend(["--namespace", "k8s.io"].iter().chain(arguments).map(|word| (*word).to_owned()));
    let mut words = call.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env("PATH", search_path());
    let output = command.output().map_err(Failure::io(&*what))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Command { what, output: String::from_utf8_lossy(&output.stderr).into_owned() })
}

/// Returns the first words of a command that runs in the mount namespace of the node.
fn inside(folder: &Folder) -> Result<Vec<String>, Failure> {
    let identity = Identity::recorded(folder, CONTAINERD)
        .ok_or_else(|| Failure::Mismatch { what: "containerd was not started".to_owned() })?;
    let namespace = format!("--mount=/proc/{}/ns/mnt", identity.pid);
    Ok(vec!["nsenter".to_owned(), namespace, "--".to_owned()])
}

fn start_kubelet(folder: &Folder, state: &State, group: &Path) -> Result<(), Failure> {
    folder.write("node/kubelet.json", &kubelet_config(folder, state).to_string())?;
    let mut command = inside(folder)?;
    command.extend([
        state.program(KUBELET),
        format!("--config={}", folder.text("node/kubelet.json")),
        format!("--kubeconfig={}", folder.text("admin.kubeconfig")),
        format!("--root-dir={}", folder.text("node/kubelet")),
        format!("--cert-dir={}", folder.text("node/certificates")),
        // The node name is also its address, so it needs no name resolution and no network.
        "--hostname-override=127.0.0.1".to_owned(),
    ]);
    process::start(folder, KUBELET, Some(group), &command)
}

fn kubelet_config(folder: &Folder, state: &State) -> serde_json::Value {
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
        "volumePluginDir": folder.text("plugins"),
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

fn containerd_config(folder: &Folder, snapshots: &str, plugins: &str) -> String {
    let root = folder.text("node/containerd");
    let network = folder.text("node/network");
    // A TOML basic string has the syntax of a JSON string.
    let quoted = |text: &str| json!(text).to_string();
    let (root, network, plugins, snapshots) =
        (quoted(&root), quoted(&network), quoted(plugins), quoted(snapshots));
    let pause = quoted(image::PAUSE);
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
stream_server_address = \"127.0.0.1\"
stream_server_port = \"0\"

[plugins.\"io.containerd.grpc.v1.cri\".cni]
bin_dir = {plugins}
conf_dir = {network}

[plugins.\"io.containerd.grpc.v1.cri\".containerd]
snapshotter = {snapshots}
default_runtime_name = \"runc\"

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
"
    )
}

/// Returns the type of the file system that contains a path, from the text of `/proc/self/mounts`. The
/// deepest mount point wins, and the last of several mounts on the same point.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
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
    use super::file_system;
    use std::path::Path;

    #[test]
    fn the_deepest_mount_holds_a_path() {
        let mounts =
            "overlay / overlay rw 0 0\n/dev/sda /data ext4 rw 0 0\ntmpfs /data\\040tmp tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/home/x")), Some("overlay"));
        assert_eq!(file_system(mounts, Path::new("/data/x")), Some("ext4"));
        assert_eq!(file_system(mounts, Path::new("/data tmp/x")), Some("tmpfs"));
        assert_eq!(file_system("", Path::new("/data")), None);
    }
}
