//! Finds programs of the system, and the cache directory for programs that the tools build.

use crate::error::ToolError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Directories in which distributions install the CNI plugins.
const CNI_PLUGIN_DIRS: &[&str] = &["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];

/// Paths of programs by name. The name `cni` stands for the directory of the CNI plugins.
pub type ProgramPaths = BTreeMap<String, PathBuf>;

/// The search path for programs: `PATH` and the directories in which Debian installs programs for root.
#[must_use]
pub fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// Returns the directory for everything that the tools download or build once.
///
/// # Errors
/// [`ToolError::Unsupported`] if neither XDG_CACHE_HOME nor HOME is set.
pub fn cache_dir() -> Result<PathBuf, ToolError> {
    let env_path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = env_path("XDG_CACHE_HOME").or_else(|| env_path("HOME").map(|home| home.join(".cache")));
    let caches = caches.ok_or_else(|| ToolError::Unsupported {
        what: "neither XDG_CACHE_HOME nor HOME is set".to_owned(),
    })?;
    Ok(caches.join("runway"))
}

/// Finds a program on the system. For `cni`, returns the directory of the CNI plugins.
#[must_use]
pub fn locate(program: &str) -> Option<PathBuf> {
    if program == "cni" {
        let has_all_plugins = |dir: &&PathBuf| {
            ["bridge", "host-local", "loopback"].iter().all(|plugin| is_executable(&dir.join(plugin)))
        };
        return CNI_PLUGIN_DIRS.iter().map(PathBuf::from).find(|folder| has_all_plugins(&folder));
    }
    let path = search_path();
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    // The images for pods contain no shared libraries, so their busybox must be static.
    candidates.find(|place| is_executable(place) && (program != "busybox" || is_static(place)))
}

/// Whether a file can be executed.
#[must_use]
pub fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Whether a program is statically linked: its first 4,096 bytes name no dynamic loader. A file that cannot
/// be read also counts as static.
#[must_use]
pub fn is_static(path: &Path) -> bool {
    let program = std::fs::read(path).unwrap_or_default();
    !["/ld-linux", "/ld-musl"].iter().any(|loader| {
        program.get(..4096).unwrap_or(&program).windows(loader.len()).any(|part| part == loader.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::is_static;

    #[test]
    fn dynamically_linked_program_is_not_static() {
        let own = std::env::current_exe().unwrap_or_default();
        assert!(!is_static(&own));
    }
}
