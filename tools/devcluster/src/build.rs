//! Builds the programs of Kubernetes and etcd from the Go modules in `tools/devcluster/`.
//!
//! Each version is built once and kept in a cache outside of the repository.

use crate::go;
use crate::process::{APISERVER, CONTROLLER_MANAGER, ETCD, KUBECTL, KUBELET, SCHEDULER};
use crate::release::Release;
use runway_steps::{ToolError, cache_dir, run_logged, workspace_root};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Interval at which a long stage prints that it is still running.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(30);

/// Programs that one Go module builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Etcd,
    Kubernetes(Release),
}

impl Component {
    /// The directory of the Go module that pins the component's sources and their dependencies.
    fn module_dir(self) -> PathBuf {
        let name = match self {
            Self::Etcd => "etcd-3.6".to_owned(),
            Self::Kubernetes(release) => format!("kubernetes-{release}"),
        };
        workspace_root().join("tools/devcluster").join(name)
    }

    /// The Go module that contains the component's sources.
    const fn source(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Kubernetes(_) => "k8s.io/kubernetes",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kubernetes(_) => "kubernetes",
        }
    }

    /// The file names of the programs in the cache.
    pub(crate) const fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Etcd => &[ETCD],
            Self::Kubernetes(_) => &[APISERVER, CONTROLLER_MANAGER, SCHEDULER, KUBELET, KUBECTL],
        }
    }

    /// The patch version that `go.mod` pins, such as `v1.36.3`.
    fn version(self) -> Result<String, ToolError> {
        let file = self.module_dir().join("go.mod");
        let text = fs::read_to_string(&file).map_err(ToolError::io(format!("`{}`", file.display())))?;
        pinned_version(&text, self.source()).ok_or_else(|| ToolError::FailedPrecondition {
            what: format!("`{}` does not require {}", file.display(), self.source()),
        })
    }

    /// The directory that holds the programs after a build.
    pub(crate) fn cache_dir(self) -> Result<PathBuf, ToolError> {
        Ok(cache_dir()?.join(format!("{}-{}", self.name(), self.version()?)))
    }

    pub(crate) fn is_built(self) -> Result<bool, ToolError> {
        Ok(self.cache_dir()?.is_dir())
    }

    /// The `go build` arguments that select the packages and name the output.
    fn packages(self, output: &Path) -> Vec<String> {
        match self {
            // The main package of etcd is the root of the module, so Go would name the program `server`.
            Self::Etcd => vec![format!("-o={}", output.join(ETCD).display()), self.source().to_owned()],
            Self::Kubernetes(_) => {
                let commands =
                    self.programs().iter().map(|program| format!("{}/cmd/{program}", self.source()));
                [format!("-o={}/", output.display())].into_iter().chain(commands).collect()
            }
        }
    }

    /// The linker flags. For Kubernetes, they set the version. Without these flags, the programs would report
    /// `v0.0.0-master`.
    fn linker_flags(self) -> Result<String, ToolError> {
        let mut flags = "-s -w".to_owned();
        if let Self::Kubernetes(release) = self {
            let (major, minor) = release.as_str().split_once('.').unwrap_or_default();
            let values = [
                ("gitVersion", &*self.version()?),
                ("gitMajor", major),
                ("gitMinor", minor),
                ("gitTreeState", "clean"),
            ];
            for (name, value) in values {
                flags.push_str(&format!(" -X k8s.io/component-base/version.{name}={value}"));
            }
        }
        Ok(flags)
    }
}

/// Returns the version of a dependency in the text of a `go.mod` file.
fn pinned_version(go_mod: &str, module: &str) -> Option<String> {
    let requirement = |line: &str| {
        let mut words = line.trim_start_matches("require ").split_whitespace();
        (words.next()? == module).then(|| words.next().map(str::to_owned))?
    };
    go_mod.lines().find_map(requirement)
}

/// Builds the components that are not in the cache. If another process is building, waits until that process
/// has finished.
pub(crate) fn build(components: &[Component]) -> Result<(), ToolError> {
    let is_cached = || {
        let built = components.iter().map(|component| component.is_built());
        built.collect::<Result<Vec<_>, _>>().map(|built| built.into_iter().all(|built| built))
    };
    if is_cached()? {
        return Ok(());
    }
    let go = go::find()?;
    let cache = cache_dir()?;
    let failed = |path: &Path| ToolError::io(format!("`{}`", path.display()));
    fs::create_dir_all(&cache).map_err(failed(&cache))?;
    let lock = cache.join("build.lock");
    let lock_file = fs::File::options().create(true).append(true).open(&lock).map_err(failed(&lock))?;
    if lock_file.try_lock().is_err() {
        eprintln!("xtask: waiting for another build of the cluster's programs");
        lock_file.lock().map_err(failed(&lock))?;
    }
    let log = cache.join("build.log");
    remove(&log)?;
    let stages = Stages { started_at: Instant::now(), log };
    for component in components {
        if !component.is_built()? {
            build_component(*component, &go, &stages)?;
        }
    }
    remove(&stages.log)
}

/// Builds one component in a temporary directory and renames it into the cache when it is complete.
fn build_component(component: Component, go: &Path, stages: &Stages) -> Result<(), ToolError> {
    let (cache, version) = (component.cache_dir()?, component.version()?);
    let name = format!("{} {version}", component.name());
    let work = cache.with_file_name(format!("{}-{version}.building", component.name()));
    // An interrupted build leaves an incomplete directory.
    remove(&work)?;
    fs::create_dir_all(&work).map_err(ToolError::io(format!("`{}`", work.display())))?;
    let log = stages.log.display();
    eprintln!(
        "xtask: building {name} once; Kubernetes takes six to eight minutes on two cores; log: `{log}`"
    );
    let mut command = Command::new(go);
    // These settings of the caller would change the build. Other settings still apply, such as GOPROXY, the
    // source of the modules.
    for variable in ["GOFLAGS", "GOOS", "GOARCH", "GOEXPERIMENT"] {
        command.env_remove(variable);
    }
    command.current_dir(component.module_dir()).env("GOWORK", "off").env("CGO_ENABLED", "0");
    command.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]);
    command.arg(format!("-ldflags={}", component.linker_flags()?)).args(component.packages(&work));
    stages.run(&format!("downloading and compiling {name}"), || {
        run_logged(&mut command, "go build", &stages.log)
    })?;
    fs::rename(&work, &cache).map_err(ToolError::io(format!("`{}`", cache.display())))?;
    stages.print(&format!("{name} is built: `{}`", cache.display()));
    Ok(())
}

/// Removes a file or a directory. Returns `Ok` if it does not exist.
fn remove(path: &Path) -> Result<(), ToolError> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ToolError::Io { what: format!("`{}`", path.display()), error })
        }
        _ => Ok(()),
    }
}

/// Prints each stage of a build with the time since the build started.
struct Stages {
    started_at: Instant,
    log: PathBuf,
}

impl Stages {
    fn run(&self, stage: &str, work: impl FnOnce() -> Result<(), ToolError>) -> Result<(), ToolError> {
        self.print(stage);
        std::thread::scope(|scope| {
            let (done, rest) = channel::<()>();
            scope.spawn(move || {
                while rest.recv_timeout(PROGRESS_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    self.print(&format!("still {stage}"));
                }
            });
            let result = work();
            drop(done);
            result
        })
    }

    fn print(&self, stage: &str) {
        let seconds = self.started_at.elapsed().as_secs();
        eprintln!("xtask: {:>3}:{:02}  {stage}", seconds / 60, seconds % 60);
    }
}

#[cfg(test)]
mod tests {
    use super::{Component, pinned_version};
    use crate::release::Release;
    use runway_steps::workspace_root;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn components() -> Vec<Component> {
        Release::ALL.map(Component::Kubernetes).into_iter().chain([Component::Etcd]).collect()
    }

    #[test]
    fn module_of_each_release_pins_a_patch_version_of_it() {
        for release in Release::ALL {
            let version =
                Component::Kubernetes(release).version().unwrap_or_else(|failure| panic!("{failure}"));
            assert!(version.starts_with(&format!("v{release}.")), "{version}");
        }
    }

    #[test]
    fn every_module_directory_belongs_to_a_component() {
        let entries = std::fs::read_dir(workspace_root().join("tools/devcluster")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let directories: BTreeSet<_> = paths.filter(|path| path.is_dir() && !path.ends_with("src")).collect();
        assert_eq!(directories, components().into_iter().map(Component::module_dir).collect());
    }

    #[test]
    fn every_program_is_declared_as_a_tool_of_its_module() {
        for component in components() {
            let text = std::fs::read_to_string(component.module_dir().join("go.mod")).unwrap();
            for package in component.packages(Path::new("/out")).iter().skip(1) {
                let declared = |line: &str| line.trim_start_matches("tool ").trim() == package;
                assert!(text.lines().any(declared), "{component:?}: {package}");
            }
        }
    }

    #[test]
    fn pinned_version_is_found_in_both_require_forms() {
        let text = "module m\n\nrequire a.b/c v1.2.3 // indirect\n\nrequire (\n\ta.b/cd v4.5.6\n)\n";
        assert_eq!(pinned_version(text, "a.b/c").as_deref(), Some("v1.2.3"));
        assert_eq!(pinned_version(text, "a.b/cd").as_deref(), Some("v4.5.6"));
        assert_eq!(pinned_version(text, "a.b"), None);
    }
}
