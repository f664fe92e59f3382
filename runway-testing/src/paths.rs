//! The workspace, the programs under test, and temporary directories.

use runway_control::{Env, SystemEnv};
use std::path::{Path, PathBuf};

/// Returns the root directory of the workspace.
#[must_use]
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Returns the path of a program under test: the value of `variable`, or the program that cargo built. Only a
/// test program can know the latter, from `env!("CARGO_BIN_EXE_…")`.
#[must_use]
pub fn program(variable: &str, built: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| PathBuf::from(built), PathBuf::from)
}

/// A temporary directory for one test. It is deleted when this value is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Creates a directory whose name starts with `runway-` and `name`, and is unique.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let name = format!("runway-{name}-{:x}", SystemEnv.random());
        Self::at(std::env::temp_dir().join(name))
    }

    /// Creates a directory at this path.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Returns the path of a file in the directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path. Replaces the file atomically, because a server can read it at any
    /// time.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, &path).unwrap();
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
