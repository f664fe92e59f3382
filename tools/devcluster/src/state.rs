//! The state directory in cargo's target directory, and the state of the cluster on disk.

use crate::network::PodNetwork;
use crate::random::random_bytes;
use crate::release::Release;
use runway_steps::{ToolError, target_dir};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// Range of the cluster's ports. The range is below the ephemeral ports of the kernel. So no outgoing
/// connection gets the API server's port while the API server is stopped.
const PORT_RANGE: std::ops::Range<u16> = 16_384..32_000;

/// The state directory of this checkout's cluster.
#[derive(Debug, Clone)]
pub(crate) struct ClusterDir(PathBuf);

/// The parameters of a cluster. They are saved before the first process starts.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct ClusterState {
    /// Distinguishes the bridge and the cgroups of this cluster from those of other clusters on the machine.
    pub(crate) tag: String,
    /// The pod network; `None` without a node.
    pub(crate) network: Option<PodNetwork>,
    pub(crate) ports: Ports,
    /// The minor version of Kubernetes; `None` if the programs come from KUBEBUILDER_ASSETS.
    pub(crate) kubernetes: Option<String>,
    /// The path of each program.
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// The token of the cluster's administrator.
    pub(crate) admin: String,
    /// The token of the user `runway`, which is not an administrator.
    pub(crate) user: String,
    /// Whether the cluster has become ready after its start.
    pub(crate) ready: bool,
}

/// Ports on 127.0.0.1.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) etcd: u16,
    pub(crate) etcd_peers: u16,
    pub(crate) apiserver: u16,
    pub(crate) kubelet: u16,
}

impl ClusterDir {
    /// Returns the directory of this checkout's cluster. The directory need not exist.
    pub(crate) fn of_checkout() -> Result<Self, ToolError> {
        let target = target_dir();
        let path = std::path::absolute(&target).map_err(ToolError::io(format!("`{}`", target.display())))?;
        Ok(Self(path.join("cluster")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the path of a file in the directory as text, for the command line of another program.
    pub(crate) fn path_string(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }

    pub(crate) fn identity_file(&self, process: &str) -> PathBuf {
        self.0.join("processes").join(process)
    }

    pub(crate) fn log_file(&self, process: &str) -> PathBuf {
        self.0.join("logs").join(format!("{process}.log"))
    }

    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.join("admin.kubeconfig")
    }

    pub(crate) fn user_kubeconfig(&self) -> PathBuf {
        self.join("runway.kubeconfig")
    }

    /// The directory for the logs of a cluster that failed to start.
    pub(crate) fn failed_logs_dir(&self) -> PathBuf {
        self.0.with_file_name("cluster-failed-logs")
    }

    /// Locks the cluster, so that only one process starts or stops it. The kernel releases the lock when the
    /// process ends.
    pub(crate) fn lock(&self) -> Result<File, ToolError> {
        let path = self.0.with_file_name("cluster.lock");
        let io_error = |error| ToolError::Io { what: format!("`{}`", path.display()), error };
        if let Some(target) = path.parent() {
            fs::create_dir_all(target).map_err(io_error)?;
        }
        let file = File::options().create(true).append(true).open(&path).map_err(io_error)?;
        if file.try_lock().is_err() {
            eprintln!("xtask: waiting for another `cluster` command of this checkout");
            file.lock().map_err(io_error)?;
        }
        Ok(file)
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write_private(&self, name: &str, content: &str) -> Result<(), ToolError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.join(name);
        let io_error = |error| ToolError::Io { what: format!("`{}`", path.display()), error };
        let mut options = File::options();
        let mut file =
            options.create(true).write(true).truncate(true).mode(0o600).open(&path).map_err(io_error)?;
        file.write_all(content.as_bytes()).map_err(io_error)
    }

    pub(crate) fn create_dir(&self, name: &str) -> Result<(), ToolError> {
        let path = self.join(name);
        fs::create_dir_all(&path).map_err(ToolError::io(format!("`{}`", path.display())))
    }
}

impl ClusterState {
    /// Creates the state of a new cluster. Chooses free ports, a free pod network and random tokens.
    pub(crate) fn new(
        node: bool,
        kubernetes: Option<Release>,
        programs: BTreeMap<String, PathBuf>,
    ) -> Result<Self, ToolError> {
        let ports = Ports::allocate()?;
        Ok(Self {
            tag: format!("runway-{}", ports.apiserver),
            network: if node { Some(PodNetwork::allocate()?) } else { None },
            ports,
            kubernetes: kubernetes.map(|release| release.to_string()),
            programs,
            admin: random_token()?,
            user: random_token()?,
            ready: false,
        })
    }

    /// Loads the saved state; `None` if there is none.
    pub(crate) fn load(dir: &ClusterDir) -> Result<Option<Self>, ToolError> {
        let path = dir.join("state.json");
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| ToolError::InvalidState { path, error }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ToolError::Io { what: format!("`{}`", path.display()), error }),
        }
    }

    /// Saves the state atomically.
    pub(crate) fn save(&self, dir: &ClusterDir) -> Result<(), ToolError> {
        let path = dir.join("state.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| ToolError::InvalidState { path: path.clone(), error })?;
        dir.write_private("state.json.new", &text)?;
        fs::rename(dir.join("state.json.new"), &path).map_err(ToolError::io(format!("`{}`", path.display())))
    }

    /// The name of the network bridge for pods. Linux limits such a name to fifteen bytes.
    pub(crate) fn bridge(&self) -> String {
        format!("rw{}", self.ports.apiserver)
    }

    /// Whether the cluster runs this version of Kubernetes.
    pub(crate) fn runs_release(&self, release: Release) -> bool {
        self.kubernetes.as_deref() == Some(release.as_str())
    }

    /// Whether the cluster has a node.
    pub(crate) fn has_node(&self) -> bool {
        self.network.is_some()
    }

    /// The address range of Services. Without a node, nothing uses these addresses.
    pub(crate) fn service_cidr(&self) -> String {
        self.network.map_or_else(|| "10.0.0.0/24".to_owned(), PodNetwork::service_cidr)
    }

    pub(crate) fn program_path(&self, name: &str) -> String {
        self.programs.get(name).map_or_else(|| name.to_owned(), |path| path.display().to_string())
    }

    pub(crate) fn server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.apiserver)
    }
}

impl Ports {
    /// Returns four free ports.
    fn allocate() -> Result<Self, ToolError> {
        let count = PORT_RANGE.end - PORT_RANGE.start;
        let [high, low] = random_bytes::<2>()?;
        let start = u16::from_be_bytes([high, low]) % count;
        // All ports stay bound until the last one is found, so that they differ.
        let mut listeners = (0..count)
            .map(|step| PORT_RANGE.start + (start + step) % count)
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|held| (port, held)));
        let mut next =
            || listeners.next().ok_or_else(|| ToolError::Unsupported { what: "no port is free".to_owned() });
        let (one, two, three, four) = (next()?, next()?, next()?, next()?);
        Ok(Self { etcd: one.0, etcd_peers: two.0, apiserver: three.0, kubelet: four.0 })
    }
}

fn random_token() -> Result<String, ToolError> {
    Ok(random_bytes::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::{ClusterDir, ClusterState, PORT_RANGE, Ports, Release};

    #[test]
    fn saved_state_is_loaded_unchanged() {
        let path = std::env::temp_dir().join(format!("xtask-state-{}", std::process::id()));
        let dir = ClusterDir(path.clone());
        assert!(dir.create_dir("").is_ok());
        assert!(matches!(ClusterState::load(&dir), Ok(None)));
        let programs = [("etcd".to_owned(), "/usr/bin/etcd".into())].into();
        let state = ClusterState::new(true, Some(Release::default()), programs)
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert!(state.save(&dir).is_ok());
        assert_eq!(ClusterState::load(&dir).ok().flatten(), Some(state));
        assert!(std::fs::write(dir.join("state.json"), "{").is_ok());
        assert!(ClusterState::load(&dir).is_err());
        assert!(std::fs::remove_dir_all(path).is_ok());
    }

    #[test]
    fn allocated_ports_differ_and_are_not_ephemeral() {
        let ports = Ports::allocate().unwrap_or_else(|failure| panic!("{failure}"));
        let mut all = [ports.etcd, ports.etcd_peers, ports.apiserver, ports.kubelet];
        all.sort_unstable();
        assert!(all.iter().all(|port| PORT_RANGE.contains(port)));
        assert!(all.windows(2).all(|pair| pair.first() != pair.last()));
    }

    #[test]
    fn bridge_name_fits_the_kernel_limit() {
        let state = ClusterState::new(false, None, [].into()).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(state.bridge().len() <= 15);
        assert_eq!(state.admin.len(), 32);
        assert_ne!(state.admin, state.user);
    }
}
