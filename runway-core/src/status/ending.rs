//! Causes for the end of a process, with the same messages for every backend.

use crate::status::Reason;
use crate::status::cause::{Cause, quoted};

/// Where the program of a job comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::status) enum Place {
    /// The image of the job.
    #[cfg_attr(not(feature = "kubernetes"), expect(dead_code, reason = "only clusters have images"))]
    Image,
    /// The file system of the machine that runs the job.
    Machine,
}

/// Returns the cause of a process that the kernel killed because it exceeded its memory limit.
pub(in crate::status) fn out_of_memory(limit: Option<&str>) -> Cause {
    match limit {
        Some(limit) => Cause::new(
            Reason::OOMKilled,
            format!("killed by the kernel for exceeding its memory limit of {limit}"),
        )
        .hint(format!("raise `resources.memory` above {limit}, or make the job use less")),
        None => Cause::new(Reason::OOMKilled, "killed by the kernel for exceeding its memory")
            .hint("raise `resources.memory`, or make the job use less"),
    }
}

/// Returns the note for a process that succeeded although the kernel killed one of its children for its
/// memory.
pub(in crate::status) fn child_out_of_memory(limit: Option<&str>) -> Cause {
    let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let above = limit.map(|limit| format!(" above {limit}")).unwrap_or_default();
    Cause::new(
        Reason::ChildOOMKilled,
        format!("though the kernel killed one of its children for exceeding the memory limit{of}"),
    )
    .hint(format!("its results may be incomplete: raise `resources.memory`{above}, or make the job use less"))
}

/// Returns the cause of a process that could not be started.
pub(in crate::status) fn not_started(message: Option<&str>, place: Place) -> Cause {
    let told = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
    let hint = match place {
        Place::Image => {
            "check `command` and `args`: the program must be in the image, and executable by the user that jobs run as"
        }
        Place::Machine => {
            "check `command`: the program must be on this machine, outside of the folders that jobs do not see (`/home`, \
             `/root`, `/run`, `/tmp`), and executable by the user that jobs run as"
        }
    };
    Cause::new(Reason::StartError, format!("its process could not be started{told}")).hint(hint)
}

/// Returns the cause of a process that a signal ended.
pub(in crate::status) fn signaled(signal: i32, code: i32) -> Cause {
    let name = match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        3 => " (SIGQUIT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        14 => " (SIGALRM)",
        15 => " (SIGTERM)",
        _ => "",
    };
    let hint = match signal {
        4 => "its program uses instructions that the node's processor does not have",
        7 => "often `/dev/shm` is full: raise `resources.shm`",
        9 => {
            "who sent it is not recorded, and it is no proof that memory ran out: its own processes may have, its node, or \
             the kernel, where another process of the container or of the node took too much; its logs tell how far it came"
        }
        15 => {
            "it was asked to end, by its own processes or by its node, and did; its logs tell how far it came"
        }
        _ => "its logs tell how far it came",
    };
    let what = format!("ended by signal {signal}{name}, exit code {code}");
    Cause::new(Reason::Signaled, what).hint(hint)
}

/// Returns the cause of a process that exited with a code other than zero.
pub(in crate::status) fn exited(code: i32, place: Place) -> Cause {
    let hint = match (code, place) {
        (126, _) => {
            "126 is how a shell says that a program is there but cannot be executed: check `command` and `args`"
        }
        (127, Place::Image) => {
            "127 is how a shell says that a program was not found: check `command`, `args` and what is in the image"
        }
        (127, Place::Machine) => {
            "127 is how a shell says that a program was not found: check `command`, `args` and what is on this machine"
        }
        (255, _) => "255 is what an exit code of -1 becomes; its logs tell more",
        _ => "its logs tell more",
    };
    Cause::new(Reason::NonZeroExit, format!("ended with exit code {code}")).hint(hint)
}
