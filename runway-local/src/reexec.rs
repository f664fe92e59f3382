//! Commands that start this program again in one of its hidden roles.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The path of the running program.
pub(crate) const SELF_EXE: &str = "/proc/self/exe";

/// A hidden role of this program, selected by the name (`argv[0]`) under which it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Supervises one job. It outlives the process that started it.
    Supervisor,
    /// Creates a user namespace and starts init in it.
    Entry,
    /// PID 1 of the job's process namespace.
    Init,
}

impl Role {
    const ALL: [Self; 3] = [Self::Supervisor, Self::Entry, Self::Init];

    const fn name(self) -> &'static str {
        match self {
            Self::Supervisor => "runway-supervisor",
            Self::Entry => "runway-entry",
            Self::Init => "runway-init",
        }
    }

    /// Returns the role with this name.
    pub(crate) fn from_name(name: &OsStr) -> Option<Self> {
        Self::ALL.into_iter().find(|role| name == role.name())
    }

    /// Returns the command that starts `program` in this role with an empty environment.
    pub(crate) fn command(self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.arg0(self.name()).env_clear();
        command
    }
}
