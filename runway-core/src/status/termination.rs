//! Causes for the end of a process, with the same messages for every backend.

use crate::status::cause::{Cause, quoted};
use crate::status::{CHECK_LOGS, Reason};

/// Where the program of a job comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::status) enum ProgramSource {
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
        .with_hint(format!("raise `resources.memory` above {limit}, or make the job use less")),
        None => Cause::new(Reason::OOMKilled, "killed by the kernel for exceeding its memory")
            .with_hint("raise `resources.memory`, or make the job use less"),
    }
}

/// Returns the note for a process that succeeded although the kernel killed one of its child processes. The
/// child process exceeded the memory limit.
pub(in crate::status) fn child_out_of_memory(limit: Option<&str>) -> Cause {
    let of = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    let above = limit.map(|limit| format!(" above {limit}")).unwrap_or_default();
    Cause::new(
        Reason::ChildOOMKilled,
        format!("but the kernel killed one of its child processes for exceeding the memory limit{of}"),
    )
    .with_hint(format!(
        "the results may be incomplete; raise `resources.memory`{above}, or make the job use less"
    ))
}

/// Returns the cause of a process that could not be started.
pub(in crate::status) fn not_started(message: Option<&str>, hint: &str) -> Cause {
    let detail = message.map(|message| format!(": {}", quoted(message))).unwrap_or_default();
    Cause::new(Reason::StartError, format!("its process could not be started{detail}")).with_hint(hint)
}

/// Returns the cause of a process that a signal ended.
///
/// `memory_limit` is the limit of the container, if the backend does not always report an OOM kill as such.
pub(in crate::status) fn signaled(signal: i32, code: i32, memory_limit: Option<&str>) -> Cause {
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
    let description = format!("ended by signal {signal}{name}, exit code {code}");
    let hint = match signal {
        4 => "the program uses instructions that the node's processor does not support",
        7 => "often `/dev/shm` is full: raise `resources.shm`",
        9 => return Cause::new(Reason::Signaled, description).with_hint(kill_hint(memory_limit)),
        15 => "SIGTERM requests a normal end; a process of the job or the node sent it; check the logs",
        _ => CHECK_LOGS,
    };
    Cause::new(Reason::Signaled, description).with_hint(hint)
}

/// Returns the hint for a process that SIGKILL ended.
fn kill_hint(memory_limit: Option<&str>) -> String {
    let limit = memory_limit.map(|limit| {
        format!("; a container that exceeds its memory limit of {limit} is not always reported as OOM killed")
    });
    format!(
        "the sender is not recorded, and SIGKILL does not prove an OOM kill: a process of the job can have sent it, the \
         node, or the kernel because too much memory was used{}; check the logs",
        limit.unwrap_or_default()
    )
}

/// Returns the cause of a process that exited with a code other than zero.
pub(in crate::status) fn exited(code: i32, source: ProgramSource) -> Cause {
    let hint = match (code, source) {
        (126, _) => "a shell returns 126 if it cannot execute the program; check `command` and `args`",
        (127, ProgramSource::Image) => {
            "a shell returns 127 if it does not find the program; check `command`, `args` and the image"
        }
        (127, ProgramSource::Machine) => {
            "a shell returns 127 if it does not find the program; check `command`, `args` and this machine"
        }
        (255, _) => "an exit code of -1 becomes 255; check the logs",
        _ => CHECK_LOGS,
    };
    Cause::new(Reason::NonZeroExit, format!("ended with exit code {code}")).with_hint(hint)
}
