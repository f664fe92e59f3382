//! One container: how it terminated, or what prevents its start.

use crate::status::cause::{Cause, evidence, quoted};
use crate::status::ending::{Place, child_out_of_memory, exited, not_started, out_of_memory, signaled};
use crate::status::{Evidence, Reason};
use k8s_openapi::api::core::v1::{
    Container as Spec, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodStatus,
};

/// One container of a pod, with its status.
#[derive(Clone, Copy)]
pub(super) struct Container<'a> {
    pod: &'a Pod,
    kind: Kind,
    index: usize,
    status: &'a ContainerStatus,
}

/// The role of a container in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Main,
    Init,
}

/// How a container terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The kernel killed the container because it exceeded its memory limit.
    OutOfMemory,
    /// The process could not be started.
    NotStarted,
    /// A signal ended the process.
    Signal(i32),
    /// The process exited with a code other than zero.
    Code(i32),
    /// The kubelet lost the container and does not know how it ended.
    Lost,
    /// The process succeeded, but the kernel killed one of its children because it exceeded the memory limit.
    ChildOutOfMemory,
    /// The process succeeded.
    Well,
}

impl End {
    /// Reads the state of a terminated container. Exit code 137 means SIGKILL and does not prove an OOM kill.
    /// The reason `OOMKilled` with exit code 0 means that only a child process was killed.
    pub(super) fn of(terminated: &ContainerStateTerminated) -> Self {
        match (terminated.reason.as_deref(), terminated.exit_code) {
            (Some("OOMKilled"), 0) => Self::ChildOutOfMemory,
            (Some("OOMKilled"), _) => Self::OutOfMemory,
            (Some("StartError" | "ContainerCannotRun" | "RunContainerError"), _) => Self::NotStarted,
            (Some("ContainerStatusUnknown"), _) => Self::Lost,
            (_, code) => match (terminated.signal, code) {
                (Some(signal @ 1..), _) => Self::Signal(signal),
                (_, 0) => Self::Well,
                // Shells and container runtimes report the end by signal n as exit code 128 + n.
                (_, 129..=192) => Self::Signal(code.saturating_sub(128)),
                (_, code) => Self::Code(code),
            },
        }
    }

    /// Ranks terminations by how well they explain the end of a pod with several containers. The lowest rank
    /// explains most.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::OutOfMemory => 0,
            Self::NotStarted => 1,
            Self::Signal(_) | Self::Code(_) => 2,
            Self::Lost => 3,
            Self::ChildOutOfMemory => 4,
            Self::Well => 5,
        }
    }
}

impl<'a> Container<'a> {
    pub(super) fn all(pod: &'a Pod, kind: Kind) -> impl Iterator<Item = Self> {
        let list = |status: &'a PodStatus| match kind {
            Kind::Main => status.container_statuses.as_deref(),
            Kind::Init => status.init_container_statuses.as_deref(),
        };
        let statuses = pod.status.as_ref().and_then(list).unwrap_or_default();
        statuses.iter().enumerate().map(move |(index, status)| Self { pod, kind, index, status })
    }

    pub(super) fn is_running(&self) -> bool {
        self.status.state.as_ref().is_some_and(|state| state.running.is_some())
    }

    /// Returns the termination, unless the container was restarted since.
    pub(super) fn terminated(&self) -> Option<&'a ContainerStateTerminated> {
        self.status.state.as_ref()?.terminated.as_ref()
    }

    /// Returns the last termination and its path. After a restart in place, `state` describes the new start,
    /// and the termination is in `lastState`.
    pub(super) fn last_terminated(&self) -> Option<(&'static str, &'a ContainerStateTerminated)> {
        self.terminated()
            .map(|terminated| ("state.terminated", terminated))
            .or_else(|| self.end_before().map(|terminated| ("lastState.terminated", terminated)))
    }

    pub(super) fn waiting(&self) -> Option<&'a ContainerStateWaiting> {
        self.status.state.as_ref()?.waiting.as_ref()
    }

    /// Returns evidence if the node delays the restart, because the container failed too often.
    pub(super) fn back_off(&self) -> Option<Evidence> {
        let reason = self.waiting()?.reason.as_deref().filter(|reason| *reason == "CrashLoopBackOff")?;
        Some(self.evidence("state.waiting.reason", reason))
    }

    /// Returns whether a process of the container was ever observed.
    pub(super) fn has_run(&self) -> bool {
        self.is_running()
            || self.last_terminated().is_some_and(|(_, terminated)| match End::of(terminated) {
                End::NotStarted => false,
                End::Lost => terminated.started_at.is_some() || self.was_restarted(),
                _ => true,
            })
    }

    /// Returns whether the node lost the container and cannot tell whether it ever ran.
    pub(super) fn is_lost(&self) -> bool {
        self.terminated().is_some_and(|terminated| End::of(terminated) == End::Lost) && !self.has_run()
    }

    /// Returns the termination before the last start.
    fn end_before(&self) -> Option<&'a ContainerStateTerminated> {
        self.status.last_state.as_ref()?.terminated.as_ref()
    }

    fn was_restarted(&self) -> bool {
        self.status.restart_count > 0
            || self.end_before().is_some_and(|end| !matches!(End::of(end), End::NotStarted | End::Lost))
    }

    /// Returns whether the container is an init container that keeps running next to the main containers.
    pub(super) fn is_sidecar(&self) -> bool {
        self.kind == Kind::Init
            && self.spec().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"))
    }

    /// Returns the termination and its cause, unless the container succeeded. `succeeded` says whether the
    /// pod succeeded.
    pub(super) fn failure(&self, succeeded: bool) -> Option<(End, Cause)> {
        let (state, terminated) = self.last_terminated()?;
        let end = End::of(terminated);
        let cause = match end {
            End::Well => return None,
            End::OutOfMemory => out_of_memory(self.memory_limit().as_deref()),
            End::ChildOutOfMemory if succeeded => child_out_of_memory(self.memory_limit().as_deref()),
            End::ChildOutOfMemory => out_of_memory(self.memory_limit().as_deref()),
            End::NotStarted => not_started(terminated.message.as_deref(), Place::Image),
            End::Signal(signal) => signaled(signal, terminated.exit_code),
            End::Code(code) => exited(code, Place::Image),
            End::Lost => Cause::new(Reason::Disrupted, "lost by its node; how it ended is unknown")
                .hint("the job did not cause this failure; submit it again"),
        };
        let reason = terminated.reason.as_deref();
        let cause = match reason {
            Some(reason) if !matches!(end, End::Signal(_) | End::Code(_)) => {
                cause.seen(self.evidence(&format!("{state}.reason"), reason))
            }
            _ => cause,
        };
        let cause = match terminated.signal {
            Some(signal @ 1..) => cause.seen(self.evidence(&format!("{state}.signal"), &signal.to_string())),
            _ => cause,
        };
        let code = self.evidence(&format!("{state}.exitCode"), &terminated.exit_code.to_string());
        Some((end, self.named(cause.seen(code))))
    }

    /// Returns the cause that prevents the start, unless the container only needs more time.
    pub(super) fn obstacle(&self) -> Option<Cause> {
        let waiting = self.waiting()?;
        let reason = waiting.reason.as_deref()?;
        let told = waiting.message.as_deref().filter(|message| !message.trim().is_empty());
        let because =
            told.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {}", quoted(message)));
        let image = self.image();
        let cause = match reason {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "RegistryUnavailable"
            | "ImageInspectError"
            | "SignatureValidationFailed" => {
                Cause::new(Reason::ImagePull, format!("its image {image} cannot be pulled ({because})"))
                    .hint(pull_hint(reason, told.unwrap_or_default()))
            }
            "InvalidImageName" => {
                Cause::new(Reason::InvalidImage, format!("its image {image} is not a valid image name"))
                    .hint("write `image` as `registry/path:tag`, in lower case")
            }
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "PostStartHookError" => config_error(&because),
            "RunContainerError" => not_started(told, Place::Image),
            _ => return None,
        };
        Some(self.named(cause.seen(self.evidence("state.waiting.reason", reason))))
    }

    /// Returns the image from the spec of the pod, or from the status if the spec has none.
    fn image(&self) -> String {
        let asked = self.spec().and_then(|spec| spec.image.as_deref());
        quoted(asked.unwrap_or(&self.status.image))
    }

    fn memory_limit(&self) -> Option<String> {
        let limits = self.spec()?.resources.as_ref()?.limits.as_ref()?;
        let limit = quoted(&limits.get("memory")?.0);
        Some(limit.trim_matches('`').to_owned())
    }

    fn spec(&self) -> Option<&'a Spec> {
        let spec = self.pod.spec.as_ref()?;
        let containers = match self.kind {
            Kind::Main => spec.containers.as_slice(),
            Kind::Init => spec.init_containers.as_deref().unwrap_or_default(),
        };
        containers.iter().find(|container| container.name == self.status.name)
    }

    fn evidence(&self, path: &str, value: &str) -> Evidence {
        let list = match self.kind {
            Kind::Main => "containerStatuses",
            Kind::Init => "initContainerStatuses",
        };
        let path = format!("status.{list}[{}].{path}", self.index);
        evidence("pod", self.pod.metadata.name.as_deref(), path, value)
    }

    /// Adds the name of the container to the cause, if the pod has more than one.
    fn named(&self, mut cause: Cause) -> Cause {
        let name = quoted(&self.status.name);
        let others = self.pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        match self.kind {
            Kind::Init => cause.what = format!("its init container {name}: {}", cause.what),
            Kind::Main if others.is_some_and(|all| all.len() > 1) => {
                cause.what = format!("its container {name}: {}", cause.what);
            }
            Kind::Main => {}
        }
        cause
    }
}

/// Returns the cause of a container that refers to something that is missing or wrong.
pub(super) fn config_error(because: &str) -> Cause {
    Cause::new(Reason::ConfigError, format!("its container cannot be created ({because})"))
        .hint("the container refers to something that is missing or wrong: a Secret, one of its keys, a volume, or the user to run as")
}

const REGISTRY_AWAY: &str =
    "the registry does not respond: check its name in `image`, and the network of the nodes";
const REGISTRY_BUSY: &str = "the registry currently limits the rate of pulls";

/// Returns whether the start may succeed later without any change by the user.
pub(super) fn may_pass(cause: &Cause) -> bool {
    matches!(cause.hint.as_deref(), Some(REGISTRY_AWAY | REGISTRY_BUSY))
}

/// Returns advice on an image that cannot be pulled.
pub(super) fn pull_hint(reason: &str, message: &str) -> &'static str {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if reason == "ErrImageNeverPull" {
        "the image is not on the node, and the policy's `image_pull_policy` forbids pulling it"
    } else if says(&["no such host"]) {
        "the registry cannot be reached: check its name in `image`, and the network of the nodes"
    } else if reason == "RegistryUnavailable" || says(&["dial tcp", "timeout", "connection refused"]) {
        REGISTRY_AWAY
    } else if says(&["toomanyrequests", "too many requests"]) {
        REGISTRY_BUSY
    } else if says(&["unauthorized", "authentication", "denied", "forbidden"]) {
        "the registry denies access: check the name in `image`, and the policy's `image_pull_secrets`"
    } else {
        "check the name and the tag in `image`, and that the image is in the registry"
    }
}
