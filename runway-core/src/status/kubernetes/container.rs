//! One container: how it terminated, or what prevents its start.

use super::rules::{self, matching_rule};
use super::time::instant;
use crate::status::cause::{Cause, evidence, quoted};
use crate::status::termination::{
    ProgramSource, child_out_of_memory, exited, not_started, out_of_memory, signaled,
};
use crate::status::{Evidence, Reason};
use crate::units::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as ContainerSpec, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
    PodStatus,
};

/// One container of a pod, with its status.
#[derive(Clone, Copy)]
pub(super) struct Container<'a> {
    pod: &'a Pod,
    role: ContainerRole,
    index: usize,
    status: &'a ContainerStatus,
}

/// The role of a container in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContainerRole {
    Main,
    Init,
}

/// How a container terminated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Termination {
    /// The kernel killed the container because it exceeded its memory limit.
    OutOfMemory,
    /// The process could not be started.
    NotStarted,
    /// A signal ended the process.
    Signaled(i32),
    /// The process exited with a code other than zero.
    ExitCode(i32),
    /// The kubelet lost the container and does not know how it ended.
    Lost,
    /// The process succeeded, but the kernel killed one of its children because it exceeded the memory limit.
    ChildOutOfMemory,
    /// The process succeeded.
    Succeeded,
}

impl Termination {
    /// Reads the state of a terminated container. Exit code 137 means SIGKILL and does not prove an OOM kill.
    /// The reason `OOMKilled` with exit code 0 means that only a child process was killed.
    pub(super) fn from_state(terminated: &ContainerStateTerminated) -> Self {
        match (terminated.reason.as_deref(), terminated.exit_code) {
            (Some("OOMKilled"), 0) => Self::ChildOutOfMemory,
            (Some("OOMKilled"), _) => Self::OutOfMemory,
            (Some("StartError" | "ContainerCannotRun" | "RunContainerError"), _) => Self::NotStarted,
            (Some("ContainerStatusUnknown"), _) => Self::Lost,
            (_, code) => match (terminated.signal, code) {
                (Some(signal @ 1..), _) => Self::Signaled(signal),
                (_, 0) => Self::Succeeded,
                // Shells and container runtimes report the end by signal n as exit code 128 + n.
                (_, 129..=192) => Self::Signaled(code.saturating_sub(128)),
                (_, code) => Self::ExitCode(code),
            },
        }
    }

    /// Ranks terminations by how well they explain the end of a pod with several containers. The lowest rank
    /// explains most.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::OutOfMemory => 0,
            Self::NotStarted => 1,
            Self::Signaled(_) | Self::ExitCode(_) => 2,
            Self::Lost => 3,
            Self::ChildOutOfMemory => 4,
            Self::Succeeded => 5,
        }
    }
}

impl<'a> Container<'a> {
    pub(super) fn all(pod: &'a Pod, role: ContainerRole) -> impl Iterator<Item = Self> {
        let list = |status: &'a PodStatus| match role {
            ContainerRole::Main => status.container_statuses.as_deref(),
            ContainerRole::Init => status.init_container_statuses.as_deref(),
        };
        let statuses = pod.status.as_ref().and_then(list).unwrap_or_default();
        statuses.iter().enumerate().map(move |(index, status)| Self { pod, role, index, status })
    }

    pub(super) fn name(&self) -> &'a str {
        &self.status.name
    }

    pub(super) fn is_running(&self) -> bool {
        self.status.state.as_ref().is_some_and(|state| state.running.is_some())
    }

    /// Returns the termination, or `None` if the container has not terminated or was restarted since.
    pub(super) fn terminated(&self) -> Option<&'a ContainerStateTerminated> {
        self.status.state.as_ref()?.terminated.as_ref()
    }

    /// Returns the last termination and its path. After a restart in place, `state` describes the new start,
    /// and the termination is in `lastState`.
    pub(super) fn last_terminated(&self) -> Option<(&'static str, &'a ContainerStateTerminated)> {
        self.terminated()
            .map(|terminated| ("state.terminated", terminated))
            .or_else(|| self.previous_termination().map(|terminated| ("lastState.terminated", terminated)))
    }

    pub(super) fn waiting(&self) -> Option<&'a ContainerStateWaiting> {
        self.status.state.as_ref()?.waiting.as_ref()
    }

    /// Returns the time at which the process started, if it runs.
    pub(super) fn running_since(&self) -> Option<Timestamp> {
        instant(self.status.state.as_ref()?.running.as_ref()?.started_at.as_ref())
    }

    pub(super) fn restart_count(&self) -> i32 {
        self.status.restart_count
    }

    /// Returns whether the container has started. For a native sidecar, this includes its startup probe.
    pub(super) fn is_started(&self) -> bool {
        self.status.started == Some(true)
    }

    /// Returns evidence if the node delays the restart, because the container failed too often.
    pub(super) fn back_off(&self) -> Option<Evidence> {
        let reason = self.waiting()?.reason.as_deref().filter(|reason| *reason == "CrashLoopBackOff")?;
        Some(self.evidence("state.waiting.reason", reason))
    }

    /// Returns whether a process of the container was ever observed.
    pub(super) fn has_run(&self) -> bool {
        self.is_running()
            || self.last_terminated().is_some_and(|(_, terminated)| {
                match Termination::from_state(terminated) {
                    Termination::NotStarted => false,
                    Termination::Lost => {
                        terminated.started_at.is_some() || self.was_restarted() || was_running(terminated)
                    }
                    _ => true,
                }
            })
    }

    /// Returns whether the node lost the container and cannot tell whether it ever ran.
    pub(super) fn is_lost(&self) -> bool {
        self.terminated().is_some_and(|terminated| Termination::from_state(terminated) == Termination::Lost)
            && !self.has_run()
    }

    /// Returns the termination before the last start.
    fn previous_termination(&self) -> Option<&'a ContainerStateTerminated> {
        self.status.last_state.as_ref()?.terminated.as_ref()
    }

    fn was_restarted(&self) -> bool {
        self.status.restart_count > 0
            || self.previous_termination().is_some_and(|end| match Termination::from_state(end) {
                Termination::NotStarted => false,
                Termination::Lost => end.started_at.is_some() || was_running(end),
                _ => true,
            })
    }

    /// Returns whether the container is an init container that keeps running next to the main containers.
    pub(super) fn is_sidecar(&self) -> bool {
        self.role == ContainerRole::Init
            && self.spec().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"))
    }

    /// Returns the last termination and its cause, or `None` if the container succeeded. If `succeeded` is
    /// set, the OOM kill of a child process is only a note. Otherwise it is the cause of the failure.
    pub(super) fn failure(&self, succeeded: bool) -> Option<(Termination, Cause)> {
        let (state, terminated) = self.last_terminated()?;
        let termination = Termination::from_state(terminated);
        let cause = match termination {
            Termination::Succeeded => return None,
            Termination::OutOfMemory => out_of_memory(self.memory_limit().as_deref()),
            Termination::ChildOutOfMemory if succeeded => child_out_of_memory(self.memory_limit().as_deref()),
            Termination::ChildOutOfMemory => out_of_memory(self.memory_limit().as_deref()),
            Termination::NotStarted => not_started_in_image(terminated.message.as_deref()),
            Termination::Signaled(signal) => {
                signaled(signal, terminated.exit_code, self.memory_limit().as_deref())
            }
            Termination::ExitCode(code) => exited(code, ProgramSource::Image),
            Termination::Lost => Cause::new(Reason::Disrupted, "lost by its node; how it ended is unknown")
                .with_hint("the job did not cause this failure; submit it again"),
        };
        let reason = terminated.reason.as_deref();
        let cause = match reason {
            Some(reason) if !matches!(termination, Termination::Signaled(_) | Termination::ExitCode(_)) => {
                cause.with_evidence(self.evidence(&format!("{state}.reason"), reason))
            }
            _ => cause,
        };
        let cause = match terminated.signal {
            Some(signal @ 1..) => {
                cause.with_evidence(self.evidence(&format!("{state}.signal"), &signal.to_string()))
            }
            _ => cause,
        };
        let code = self.evidence(&format!("{state}.exitCode"), &terminated.exit_code.to_string());
        Some((termination, self.with_container_name(cause.with_evidence(code))))
    }

    /// Returns the exit code of the current termination as evidence.
    pub(super) fn exit_code_evidence(&self, terminated: &ContainerStateTerminated) -> Evidence {
        self.evidence("state.terminated.exitCode", &terminated.exit_code.to_string())
    }

    /// Returns the cause that prevents the start, unless the container only needs more time.
    pub(super) fn blocking_cause(&self) -> Option<Cause> {
        let waiting = self.waiting()?;
        let reason = waiting.reason.as_deref().filter(|reason| !reason.is_empty())?;
        let message = waiting.message.as_deref().filter(|message| !message.trim().is_empty());
        let detail =
            message.map_or_else(|| reason.to_owned(), |message| format!("{reason}: {}", quoted(message)));
        let image = self.image();
        let cause = match reason {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "RegistryUnavailable"
            | "ImageInspectError"
            | "SignatureValidationFailed" => match self.image_volume_in(message.unwrap_or_default()) {
                Some((volume, image)) => Cause::new(
                    Reason::ImagePull,
                    format!("the image {image} of its volume {volume} cannot be pulled ({detail})"),
                ),
                None => {
                    Cause::new(Reason::ImagePull, format!("its image {image} cannot be pulled ({detail})"))
                }
            }
            .with_optional_hint(pull_hint(&format!("{reason}: {}", message.unwrap_or_default()))),
            "InvalidImageName" => invalid_image(&image),
            "CreateContainerConfigError" => {
                config_error(&detail, message.unwrap_or_default(), Some(Reason::ConfigError))
            }
            "CreateContainerError" | "PreCreateHookError" | "PreStartHookError" => {
                config_error(&detail, message.unwrap_or_default(), None)
            }
            "RunContainerError" => not_started_in_image(message),
            // The termination before the restart is the cause.
            "CrashLoopBackOff" => return None,
            "ContainerCreating" | "PodInitializing" if message.is_none() => return None,
            _ => Cause::new(None, format!("its container waits ({detail})")),
        };
        Some(self.with_container_name(cause.with_evidence(self.evidence("state.waiting.reason", reason))))
    }

    /// Returns the volume and its image, if a message about a failed pull is about the image of a volume
    /// rather than the image of the container.
    fn image_volume_in(&self, message: &str) -> Option<(String, String)> {
        let own = self.spec().and_then(|spec| spec.image.as_deref()).unwrap_or(&self.status.image);
        if !own.is_empty() && message.contains(&format!("\"{own}\"")) {
            return None;
        }
        let volumes = self.pod.spec.as_ref()?.volumes.as_deref().unwrap_or_default();
        volumes.iter().find_map(|volume| {
            let image = volume.image.as_ref()?.reference.as_deref()?;
            message.contains(image).then(|| (quoted(&volume.name), quoted(image)))
        })
    }

    /// Returns the image from the spec of the pod, or from the status if the spec has none.
    fn image(&self) -> String {
        let requested = self.spec().and_then(|spec| spec.image.as_deref());
        quoted(requested.unwrap_or(&self.status.image))
    }

    /// Returns the memory limit as the pod specifies it.
    pub(super) fn memory_limit(&self) -> Option<String> {
        let limits = self.spec()?.resources.as_ref()?.limits.as_ref()?;
        let limit = quoted(&limits.get("memory")?.0);
        Some(limit.trim_matches('`').to_owned())
    }

    fn spec(&self) -> Option<&'a ContainerSpec> {
        let spec = self.pod.spec.as_ref()?;
        let containers = match self.role {
            ContainerRole::Main => spec.containers.as_slice(),
            ContainerRole::Init => spec.init_containers.as_deref().unwrap_or_default(),
        };
        containers.iter().find(|container| container.name == self.status.name)
    }

    fn evidence(&self, path: &str, value: &str) -> Evidence {
        let list = match self.role {
            ContainerRole::Main => "containerStatuses",
            ContainerRole::Init => "initContainerStatuses",
        };
        let path = format!("status.{list}[{}].{path}", self.index);
        evidence("pod", self.pod.metadata.name.as_deref(), path, value)
    }

    /// Adds the name of the container to the cause, unless it is the only main container.
    fn with_container_name(&self, mut cause: Cause) -> Cause {
        let name = quoted(&self.status.name);
        let others = self.pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        match self.role {
            ContainerRole::Init if self.is_sidecar() => {
                cause.description = format!("its sidecar {name}: {}", cause.description);
            }
            ContainerRole::Init => {
                cause.description = format!("its init container {name}: {}", cause.description);
            }
            ContainerRole::Main if others.is_some_and(|all| all.len() > 1) => {
                cause.description = format!("its container {name}: {}", cause.description);
            }
            ContainerRole::Main => {}
        }
        cause
    }
}

/// Returns whether the kubelet reports that a container ran before it was lost.
fn was_running(terminated: &ContainerStateTerminated) -> bool {
    terminated.message.as_deref().is_some_and(|message| message.contains("used to be Running"))
}

/// Returns the cause of a container that cannot be created. `reason` applies if no rule matches the message.
pub(super) fn config_error(detail: &str, message: &str, reason: Option<Reason>) -> Cause {
    let rule = matching_rule(rules::CREATE, message);
    Cause::new(rule.map_or(reason, |rule| rule.reason), format!("its container cannot be created ({detail})"))
        .with_optional_hint(rule.map(|rule| rule.hint))
}

/// Returns the cause of a process that the container runtime could not start.
pub(super) fn not_started_in_image(message: Option<&str>) -> Cause {
    let hint = matching_rule(rules::START, message.unwrap_or_default()).map(|rule| rule.hint);
    not_started(message, hint.unwrap_or("the container runtime could not start the process"))
}

/// Returns the cause of an image with an invalid name. No retry can succeed.
pub(super) fn invalid_image(image: &str) -> Cause {
    let cause = Cause::new(Reason::InvalidImage, format!("its image {image} is not a valid image name"));
    Cause { permanent: true, ..cause.with_hint("write `image` as `registry/path:tag`, in lower case") }
}

/// Returns advice on an image that cannot be pulled. `None` if the message does not name the cause.
pub(super) fn pull_hint(message: &str) -> Option<&'static str> {
    matching_rule(rules::IMAGE_PULL, message).map(|rule| rule.hint)
}
