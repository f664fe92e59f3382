//! Decodes the messages of `k8s.io/api/core/v1/generated.proto`.

use super::wire::{DecodeError, Message, Value};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, EnvVar, EnvVarSource, Event, EventSeries, EventSource, ImageVolumeSource,
    ObjectReference, Pod, PodCondition, PodSchedulingGate, PodSpec, PodStatus, PodTemplateSpec,
    ResourceRequirements, SecretKeySelector, Volume,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

impl Message for Pod {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.metadata = value.message()?,
            2 => self.spec = Some(value.message()?),
            3 => self.status = Some(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for PodTemplateSpec {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 2 {
            self.spec = Some(value.message()?);
        }
        Ok(())
    }
}

impl Message for PodSpec {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => {
                // Runway needs only volumes with an image, because a failed pull can be about such an image.
                let volume: Volume = value.message()?;
                if volume.image.is_some() {
                    self.volumes.get_or_insert_default().push(volume);
                }
            }
            2 => self.containers.push(value.message()?),
            3 => self.restart_policy = value.non_empty_string()?,
            4 => self.termination_grace_period_seconds = Some(value.int64()?),
            10 => self.node_name = value.non_empty_string()?,
            20 => self.init_containers.get_or_insert_default().push(value.message()?),
            38 => self.scheduling_gates.get_or_insert_default().push(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for PodSchedulingGate {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 1 {
            self.name = value.string()?;
        }
        Ok(())
    }
}

impl Message for Volume {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.name = value.string()?,
            2 => self.image = value.message::<VolumeSource>()?.image,
            _ => {}
        }
        Ok(())
    }
}

/// The source of a volume. In JSON, its fields are fields of the volume.
#[derive(Default)]
struct VolumeSource {
    image: Option<ImageVolumeSource>,
}

impl Message for VolumeSource {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 30 {
            self.image = Some(value.message()?);
        }
        Ok(())
    }
}

impl Message for ImageVolumeSource {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 1 {
            self.reference = value.non_empty_string()?;
        }
        Ok(())
    }
}

impl Message for Container {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.name = value.string()?,
            2 => self.image = value.non_empty_string()?,
            7 => {
                // Runway needs only the variables that refer to a Secret. Variables with a plain value are
                // dropped, because the values can be large or secret.
                let variable: EnvVar = value.message()?;
                if variable.value_from.is_some() {
                    self.env.get_or_insert_default().push(variable);
                }
            }
            8 => self.resources = Some(value.message()?),
            24 => self.restart_policy = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for EnvVar {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.name = value.string()?,
            3 => self.value_from = Some(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for EnvVarSource {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 4 {
            self.secret_key_ref = Some(value.message()?);
        }
        Ok(())
    }
}

impl Message for SecretKeySelector {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.name = value.message::<LocalObjectReference>()?.name,
            2 => self.key = value.string()?,
            _ => {}
        }
        Ok(())
    }
}

/// The name of an object in the same namespace. Protobuf has a separate message for it. In JSON, the name is
/// a field of the enclosing object.
#[derive(Default)]
struct LocalObjectReference {
    name: String,
}

impl Message for LocalObjectReference {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 1 {
            self.name = value.string()?;
        }
        Ok(())
    }
}

impl Message for ResourceRequirements {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 1 {
            value.merge_map_entry(&mut self.limits, |value| value.message::<Quantity>())?;
        }
        Ok(())
    }
}

/// `Quantity` is defined in `k8s.io/apimachinery/pkg/api/resource/generated.proto`.
impl Message for Quantity {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 1 {
            self.0 = value.string()?;
        }
        Ok(())
    }
}

impl Message for PodStatus {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.phase = value.non_empty_string()?,
            2 => self.conditions.get_or_insert_default().push(value.message()?),
            3 => self.message = value.non_empty_string()?,
            4 => self.reason = value.non_empty_string()?,
            7 => self.start_time = value.time()?,
            8 => self.container_statuses.get_or_insert_default().push(value.message()?),
            10 => self.init_container_statuses.get_or_insert_default().push(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for PodCondition {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.type_ = value.string()?,
            2 => self.status = value.string()?,
            4 => self.last_transition_time = value.time()?,
            5 => self.reason = value.non_empty_string()?,
            6 => self.message = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for ContainerStatus {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.name = value.string()?,
            2 => self.state = Some(value.message()?),
            3 => self.last_state = Some(value.message()?),
            4 => self.ready = value.boolean()?,
            5 => self.restart_count = value.int32()?,
            6 => self.image = value.string()?,
            9 => self.started = Some(value.boolean()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for ContainerState {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.waiting = Some(value.message()?),
            2 => self.running = Some(value.message()?),
            3 => self.terminated = Some(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for ContainerStateWaiting {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.reason = value.non_empty_string()?,
            2 => self.message = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for ContainerStateRunning {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 1 {
            self.started_at = value.time()?;
        }
        Ok(())
    }
}

impl Message for ContainerStateTerminated {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.exit_code = value.int32()?,
            2 => self.signal = value.non_zero_int32()?,
            3 => self.reason = value.non_empty_string()?,
            4 => self.message = value.non_empty_string()?,
            5 => self.started_at = value.time()?,
            6 => self.finished_at = value.time()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for Event {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.metadata = value.message()?,
            2 => self.involved_object = value.message()?,
            3 => self.reason = value.non_empty_string()?,
            4 => self.message = value.non_empty_string()?,
            5 => self.source = Some(value.message()?),
            6 => self.first_timestamp = value.time()?,
            7 => self.last_timestamp = value.time()?,
            8 => self.count = value.non_zero_int32()?,
            9 => self.type_ = value.non_empty_string()?,
            10 => self.event_time = value.micro_time()?,
            11 => self.series = Some(value.message()?),
            14 => self.reporting_component = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for EventSource {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        if field == 1 {
            self.component = value.non_empty_string()?;
        }
        Ok(())
    }
}

impl Message for EventSeries {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.count = value.non_zero_int32()?,
            2 => self.last_observed_time = value.micro_time()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for ObjectReference {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.kind = value.non_empty_string()?,
            2 => self.namespace = value.non_empty_string()?,
            3 => self.name = value.non_empty_string()?,
            4 => self.uid = value.non_empty_string()?,
            7 => self.field_path = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}
