//! Settings of a machine that runs jobs, and the default of its state directory.

use crate::reexec::SELF_EXE;
use runway_core::units::MemoryBytes;
use rustix::process::getuid;
use std::ffi::OsString;
use std::path::PathBuf;

/// The settings for jobs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// The directory that holds the jobs. It must be used by Runway only. Jobs cannot see it.
    pub state_dir: PathBuf,
    /// The parent of the jobs' control groups, as a path from the root of each hierarchy.
    ///
    /// The default with cgroup version 1 is the group `runway` below this process's own group. With version 2
    /// it is the group `runway` below the highest writable group on the path from the root to this process's
    /// group.
    pub cgroup_parent: Option<PathBuf>,
    /// The GPUs that jobs may use, as device numbers or as UUIDs of the driver.
    pub gpus: Vec<String>,
    /// Whether a job runs even if one of its limits cannot be enforced.
    pub best_effort: bool,
    /// Maximum number of processes and threads in a job.
    pub max_pids: u64,
    /// Upper bound of a job's output in bytes. A job's output may use half of the job's ephemeral storage,
    /// but not more than this value.
    pub max_log_bytes: MemoryBytes,
    /// The program to run as the supervisor of each job. The program must call
    /// [`reexec_init`](crate::reexec_init) first in `main`.
    pub supervisor_program: PathBuf,
}

impl LocalSettings {
    /// Returns the default settings with this state directory: no GPUs, every limit enforced, 1,024
    /// processes, 1 GiB of output, and this program as the supervisor.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            cgroup_parent: None,
            gpus: Vec::new(),
            best_effort: false,
            max_pids: 1024,
            max_log_bytes: MemoryBytes::new(1 << 30),
            supervisor_program: PathBuf::from(SELF_EXE),
        }
    }

    /// Returns the settings of [`new`](Self::new) for the value of `--state-dir`.
    ///
    /// Without the flag, root uses `/var/lib/runway`. Other users use `$XDG_STATE_HOME/runway`, or
    /// `~/.local/state/runway`.
    ///
    /// # Errors
    /// [`NoStateDir`] if the flag is missing, the user is not root, and neither `XDG_STATE_HOME` nor `HOME`
    /// is an absolute path.
    pub fn with_state_dir(flag: Option<PathBuf>) -> Result<Self, NoStateDir> {
        let state_dir = flag.or_else(|| default_state_dir(getuid().is_root(), |name| std::env::var_os(name)));
        state_dir.map(Self::new).ok_or(NoStateDir)
    }
}

/// No directory to keep jobs in: neither `--state-dir` nor the environment names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no state directory: neither `XDG_STATE_HOME` nor `HOME` is an absolute path; set `--state-dir`")]
pub struct NoStateDir;

fn default_state_dir(is_root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if is_root {
        return Some(PathBuf::from("/var/lib/runway"));
    }
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    Some(state?.join("runway"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn default_of(variables: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Some(default_state_dir(false, variable)?.display().to_string())
    }

    #[test]
    fn state_dir_of_root_ignores_the_environment() {
        let root = default_state_dir(true, |_| Some("/elsewhere".into()));
        assert_eq!(root, Some(PathBuf::from("/var/lib/runway")));
    }

    #[test]
    fn state_dir_of_a_user_prefers_absolute_xdg_path() {
        let (state, home) = (("XDG_STATE_HOME", "/state"), ("HOME", "/home/me"));
        assert_eq!(default_of(&[state, home]).as_deref(), Some("/state/runway"));
        let relative = ("XDG_STATE_HOME", "state");
        assert_eq!(default_of(&[relative, home]).as_deref(), Some("/home/me/.local/state/runway"));
        assert_eq!(default_of(&[relative, ("HOME", "me")]), None);
        assert_eq!(default_of(&[]), None);
    }

    #[test]
    fn state_dir_flag_overrides_the_default() {
        let settings = LocalSettings::with_state_dir(Some("jobs".into())).unwrap();
        assert_eq!(settings, LocalSettings::new("jobs"));
    }
}
