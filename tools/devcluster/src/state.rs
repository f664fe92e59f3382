//! The state directory in cargo's target directory, and the state of the cluster on disk.

use crate::network::Network;
use crate::random::random;
use crate::release::Release;
use runway_steps::{Failure, target_folder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// Range of ports. It is below the ephemeral ports of the kernel, so that no outgoing connection gets the API
/// server's port while the API server is stopped.
const PORTS: std::ops::Range<u16> = 16_384..32_000;

/// The state directory of this checkout's cluster.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

/// The parameters of a cluster. They are saved before the first process starts.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct State {
    /// Distinguishes the bridge and the cgroups of this cluster from those of other clusters on the machine.
    pub(crate) tag: String,
    /// The pod network; `None` without a node.
    pub(crate) network: Option<Network>,
    pub(crate) ports: Ports,
    /// The minor version of Kubernetes; `None` if the programs come from KUBEBUILDER_ASSETS.
    pub(crate) kubernetes: Option<String>,
    /// The path of each program.
    pub(crate) programs: BTreeMap<String, PathBuf>,
    /// The token of the cluster's administrator.
    pub(crate) admin: String,
    /// The token of the plain user `runway`.
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

impl Folder {
    /// Returns the directory of this checkout's cluster. It may not exist.
    pub(crate) fn of_this_checkout() -> Result<Self, Failure> {
        let target = target_folder();
        let path = std::path::absolute(&target).map_err(Failure::io(format!("`{}`", target.display())))?;
        Ok(Self(path.join("cluster")))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Returns a path as text, for the command line of another program.
    pub(crate) fn text(&self, name: &str) -> String {
        self.join(name).display().to_string()
    }

    pub(crate) fn record(&self, process: &str) -> PathBuf {
        self.0.join("processes").join(process)
    }

    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.0.join("logs").join(format!("{process}.log"))
    }

    pub(crate) fn admin_kubeconfig(&self) -> PathBuf {
        self.join("admin.kubeconfig")
    }

    pub(crate) fn user_kubeconfig(&self) -> PathBuf {
        self.join("runway.kubeconfig")
    }

    /// The directory for the logs of a cluster that failed to start.
    pub(crate) fn failed_logs(&self) -> PathBuf {
        self.0.with_file_name("cluster-failed-logs")
    }

    /// Locks the cluster, so that only one process starts or stops it. The kernel releases the lock when the
    /// process ends.
    pub(crate) fn lock(&self) -> Result<File, Failure> {
        let path = self.0.with_file_name("cluster.lock");
        let told = |error| Failure::Io { what: format!("`{}`", path.display()), error };
        if let Some(target) = path.parent() {
            fs::create_dir_all(target).map_err(told)?;
        }
        let file = File::options().create(true).append(true).open(&path).map_err(told)?;
        if file.try_lock().is_err() {
            eprintln!("xtask: waiting for another `cluster` command of this checkout");
            file.lock().map_err(told)?;
        }
        Ok(file)
    }

    /// Writes a file that only its owner can read.
    pub(crate) fn write(&self, name: &str, content: &str) -> Result<(), Failure> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.join(name);
        let told = |error| Failure::Io { what: format!("`{}`", path.display()), error };
        let mut options = File::options();
        let mut file =
            options.create(true).write(true).truncate(true).mode(0o600).open(&path).map_err(told)?;
        file.write_all(content.as_bytes()).map_err(told)
    }

    pub(crate) fn create(&self, name: &str) -> Result<(), Failure> {
        let path = self.join(name);
        fs::create_dir_all(&path).map_err(Failure::io(format!("`{}`", path.display())))
    }
}

impl State {
    /// Chooses everything that differs between clusters.
    pub(crate) fn new(
        node: bool,
        kubernetes: Option<Release>,
        programs: BTreeMap<String, PathBuf>,
    ) -> Result<Self, Failure> {
        let ports = Ports::free()?;
        Ok(Self {
            tag: format!("runway-{}", ports.apiserver),
            network: if node { Some(Network::free()?) } else { None },
            ports,
            kubernetes: kubernetes.map(|release| release.to_string()),
            programs,
            admin: token()?,
            user: token()?,
            ready: false,
        })
    }

    /// Loads the saved state; `None` if there is none.
    pub(crate) fn load(folder: &Folder) -> Result<Option<Self>, Failure> {
        let path = folder.join("state.json");
        match fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|error| Failure::State { path, error })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::Io { what: format!("`{}`", path.display()), error }),
        }
    }

    /// Saves the state atomically.
    pub(crate) fn save(&self, folder: &Folder) -> Result<(), Failure> {
        let path = folder.join("state.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Failure::State { path: path.clone(), error })?;
        folder.write("state.json.new", &text)?;
        fs::rename(folder.join("state.json.new"), &path).map_err(Failure::io(format!("`{}`", path.display())))
    }

    /// The name of the pods' bridge. Linux limits the name to fifteen bytes.
    pub(crate) fn bridge(&self) -> String {
        format!("rw{}", self.ports.apiserver)
    }

    /// Whether the cluster runs this version of Kubernetes.
    pub(crate) fn is_of(&self, release: Release) -> bool {
        self.kubernetes.as_deref() == Some(release.as_str())
    }

    /// Whether the cluster has a node.
    pub(crate) fn node(&self) -> bool {
        self.network.is_some()
    }

    /// The address range of Services. Without a node, nothing uses these addresses.
    pub(crate) fn services(&self) -> String {
        self.network.map_or_else(|| "10.0.0.0/24".to_owned(), Network::services)
    }

    pub(crate) fn program(&self, name: &str) -> String {
        self.programs.get(name).map_or_else(|| name.to_owned(), |path| path.display().to_string())
    }

    pub(crate) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.apiserver)
    }
}

impl Ports {
    /// Returns four free ports.
    fn free() -> Result<Self, Failure> {
        let count = PORTS.end - PORTS.start;
        let [high, low] = random::<2>()?;
        let start = u16::from_be_bytes([high, low]) % count;
        // All ports stay bound until the last one is found, so that they differ.
        let mut held = (0..count)
            .map(|step| PORTS.start + (start + step) % count)
            .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok().map(|held| (port, held)));
        let mut next = || held.next().ok_or_else(|| Failure::Unable { what: "no port is free".to_owned() });
        let (one, two, three, four) = (next()?, next()?, next()?, next()?);
        Ok(Self { etcd: one.0, etcd_peers: two.0, apiserver: three.0, kubelet: four.0 })
    }
}

fn token() -> Result<String, Failure> {
    Ok(random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::{Folder, PORTS, Ports, Release, State};

    #[test]
    fn what_is_written_down_is_read_again() {
        let path = std::env::temp_dir().join(format!("xtask-state-{}", std::process::id()));
        let folder = Folder(path.clone());
        assert!(folder.create("").is_ok());
        assert!(matches!(State::load(&folder), Ok(None)));
        let programs = [("etcd".to_owned(), "/usr/bin/etcd".into())].into();
        let state = State::new(true, Some(Release::default()), programs)
            .unwrap_or_else(|failure| panic!("{failure}"));
        assert!(state.save(&folder).is_ok());
        assert_eq!(State::load(&folder).ok().flatten(), Some(state));
        assert!(std::fs::write(folder.join("state.json"), "{").is_ok());
        assert!(State::load(&folder).is_err());
        assert!(std::fs::remove_dir_all(path).is_ok());
    }

    #[test]
    fn ports_differ_and_lie_below_those_of_outgoing_connections() {
        let ports = Ports::free().unwrap_or_else(|failure| panic!("{failure}"));
        let mut all = [ports.etcd, ports.etcd_peers, ports.apiserver, ports.kubelet];
        all.sort_unstable();
        assert!(all.iter().all(|port| PORTS.contains(port)));
        assert!(all.windows(2).all(|pair| pair.first() != pair.last()));
    }

    #[test]
    fn a_bridge_has_a_name_that_the_kernel_takes() {
        let state = State::new(false, None, [].into()).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(state.bridge().len() <= 15);
        assert_eq!(state.admin.len(), 32);
        assert_ne!(state.admin, state.user);
    }
}
