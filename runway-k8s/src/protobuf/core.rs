//! Decodes the messages of `k8s.io/api/core/v1/generated.proto`.

use super::wire::{DecodeError, Message, Value, messages};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, EnvVar, EnvVarSource, Event, EventSeries, EventSource, ImageVolumeSource,
    ObjectReference, Pod, PodCondition, PodSchedulingGate, PodSpec, PodStatus, PodTemplateSpec,
    ResourceRequirements, SecretKeySelector, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

messages! { |this, value|
    Pod {
        1 => this.metadata = value.message()?,
        2 => this.spec = Some(value.message()?),
        3 => this.status = Some(value.message()?),
    }

    PodTemplateSpec {
        2 => this.spec = Some(value.message()?),
    }

    PodSpec {
        1 => {
            // Runway needs only volumes with an image, because a failed pull can be about such an image.
            let volume: Volume = value.message()?;
            if volume.image.is_some() {
                this.volumes.get_or_insert_default().push(volume);
            }
        },
        2 => this.containers.push(value.message()?),
        3 => this.restart_policy = value.non_empty_string()?,
        4 => this.termination_grace_period_seconds = Some(value.int64()?),
        10 => this.node_name = value.non_empty_string()?,
        20 => this.init_containers.get_or_insert_default().push(value.message()?),
        38 => this.scheduling_gates.get_or_insert_default().push(value.message()?),
    }

    PodSchedulingGate {
        1 => this.name = value.string()?,
    }

    Volume {
        1 => this.name = value.string()?,
        2 => this.image = value.message::<VolumeSource>()?.image,
    }

    VolumeSource {
        30 => this.image = Some(value.message()?),
    }

    ImageVolumeSource {
        1 => this.reference = value.non_empty_string()?,
    }

    Container {
        1 => this.name = value.string()?,
        2 => this.image = value.non_empty_string()?,
        7 => {
            // Runway needs only the variables that refer to a Secret. Variables with a plain value are
            // dropped, because the values can be large or secret.
            let variable: EnvVar = value.message()?;
            if variable.value_from.is_some() {
                this.env.get_or_insert_default().push(variable);
            }
        },
        8 => this.resources = Some(value.message()?),
        24 => this.restart_policy = value.non_empty_string()?,
    }

    EnvVar {
        1 => this.name = value.string()?,
        3 => this.value_from = Some(value.message()?),
    }

    EnvVarSource {
        4 => this.secret_key_ref = Some(value.message()?),
    }

    SecretKeySelector {
        1 => this.name = value.message::<LocalObjectReference>()?.name,
        2 => this.key = value.string()?,
    }
}

/// The name of an object in the same namespace. Protobuf has a separate message for it. In JSON, the name is
/// a field of the enclosing object.
#[derive(Default)]
struct LocalObjectReference {
    name: String,
}

/// The source of a volume. In JSON, its fields are fields of the volume.
#[derive(Default)]
struct VolumeSource {
    image: Option<ImageVolumeSource>,
}

messages! { |this, value|
    LocalObjectReference {
        1 => this.name = value.string()?,
    }

    ResourceRequirements {
        1 => value.merge_map_entry(&mut this.limits, |value| value.message::<Quantity>())?,
    }

    /// `Quantity` is defined in `k8s.io/apimachinery/pkg/api/resource/generated.proto`.
    Quantity {
        1 => this.0 = value.string()?,
    }

    PodStatus {
        1 => this.phase = value.non_empty_string()?,
        2 => this.conditions.get_or_insert_default().push(value.message()?),
        3 => this.message = value.non_empty_string()?,
        4 => this.reason = value.non_empty_string()?,
        7 => this.start_time = value.time()?,
        8 => this.container_statuses.get_or_insert_default().push(value.message()?),
        10 => this.init_container_statuses.get_or_insert_default().push(value.message()?),
    }

    PodCondition {
        1 => this.type_ = value.string()?,
        2 => this.status = value.string()?,
        4 => this.last_transition_time = value.time()?,
        5 => this.reason = value.non_empty_string()?,
        6 => this.message = value.non_empty_string()?,
    }

    ContainerStatus {
        1 => this.name = value.string()?,
        2 => this.state = Some(value.message()?),
        3 => this.last_state = Some(value.message()?),
        4 => this.ready = value.boolean()?,
        5 => this.restart_count = value.int32()?,
        6 => this.image = value.string()?,
        9 => this.started = Some(value.boolean()?),
    }

    ContainerState {
        1 => this.waiting = Some(value.message()?),
        2 => this.running = Some(value.message()?),
        3 => this.terminated = Some(value.message()?),
    }

    ContainerStateWaiting {
        1 => this.reason = value.non_empty_string()?,
        2 => this.message = value.non_empty_string()?,
    }

    ContainerStateRunning {
        1 => this.started_at = value.time()?,
    }

    ContainerStateTerminated {
        1 => this.exit_code = value.int32()?,
        2 => this.signal = value.non_zero_int32()?,
        3 => this.reason = value.non_empty_string()?,
        4 => this.message = value.non_empty_string()?,
        5 => this.started_at = value.time()?,
        6 => this.finished_at = value.time()?,
    }

    Event {
        1 => this.metadata = value.message()?,
        2 => this.involved_object = value.message()?,
        3 => this.reason = value.non_empty_string()?,
        4 => this.message = value.non_empty_string()?,
        5 => this.source = Some(value.message()?),
        6 => this.first_timestamp = value.time()?,
        7 => this.last_timestamp = value.time()?,
        8 => this.count = value.non_zero_int32()?,
        9 => this.type_ = value.non_empty_string()?,
        10 => this.event_time = value.micro_time()?,
        11 => this.series = Some(value.message()?),
        14 => this.reporting_component = value.non_empty_string()?,
    }

    EventSource {
        1 => this.component = value.non_empty_string()?,
    }

    EventSeries {
        1 => this.count = value.non_zero_int32()?,
        2 => this.last_observed_time = value.micro_time()?,
    }

    ObjectReference {
        1 => this.kind = value.non_empty_string()?,
        2 => this.namespace = value.non_empty_string()?,
        3 => this.name = value.non_empty_string()?,
        4 => this.uid = value.non_empty_string()?,
        7 => this.field_path = value.non_empty_string()?,
    }
}
