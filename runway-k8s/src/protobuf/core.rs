//! Decodes the messages of `k8s.io/api/core/v1/generated.proto`.

use super::wire::{Malformed, Message, Value};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, EnvVar, EnvVarSource, Event, EventSeries, ObjectReference, Pod, PodCondition, PodSpec,
    PodStatus, PodTemplateSpec, ResourceRequirements, SecretKeySelector,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

impl Message for Pod {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
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
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field == 2 {
            self.spec = Some(value.message()?);
        }
        Ok(())
    }
}

impl Message for PodSpec {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            2 => self.containers.push(value.message()?),
            3 => self.restart_policy = value.some_text()?,
            4 => self.termination_grace_period_seconds = Some(value.long()?),
            10 => self.node_name = value.some_text()?,
            20 => self.init_containers.get_or_insert_default().push(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for Container {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.name = value.text()?,
            2 => self.image = value.some_text()?,
            7 => {
                // Only references to Secrets are needed. Other variables are dropped, because their values
                // can be large or secret.
                let variable: EnvVar = value.message()?;
                if variable.value_from.is_some() {
                    self.env.get_or_insert_default().push(variable);
                }
            }
            8 => self.resources = Some(value.message()?),
            24 => self.restart_policy = value.some_text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for EnvVar {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.name = value.text()?,
            3 => self.value_from = Some(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for EnvVarSource {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field == 4 {
            self.secret_key_ref = Some(value.message()?);
        }
        Ok(())
    }
}

impl Message for SecretKeySelector {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.name = value.message::<LocalObjectReference>()?.name,
            2 => self.key = value.text()?,
            _ => {}
        }
        Ok(())
    }
}

/// A separate message in protobuf. In JSON, its fields are part of the object that refers to it.
#[derive(Default)]
struct LocalObjectReference {
    name: String,
}

impl Message for LocalObjectReference {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field == 1 {
            self.name = value.text()?;
        }
        Ok(())
    }
}

impl Message for ResourceRequirements {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field == 1 {
            value.entry(&mut self.limits, |value| value.message::<Quantity>())?;
        }
        Ok(())
    }
}

/// Defined in `k8s.io/apimachinery/pkg/api/resource/generated.proto`.
impl Message for Quantity {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field == 1 {
            self.0 = value.text()?;
        }
        Ok(())
    }
}

impl Message for PodStatus {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.phase = value.some_text()?,
            2 => self.conditions.get_or_insert_default().push(value.message()?),
            3 => self.message = value.some_text()?,
            4 => self.reason = value.some_text()?,
            7 => self.start_time = value.time()?,
            8 => self.container_statuses.get_or_insert_default().push(value.message()?),
            10 => self.init_container_statuses.get_or_insert_default().push(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for PodCondition {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.type_ = value.text()?,
            2 => self.status = value.text()?,
            4 => self.last_transition_time = value.time()?,
            5 => self.reason = value.some_text()?,
            6 => self.message = value.some_text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for ContainerStatus {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.name = value.text()?,
            2 => self.state = Some(value.message()?),
            3 => self.last_state = Some(value.message()?),
            4 => self.ready = value.flag()?,
            5 => self.restart_count = value.int()?,
            6 => self.image = value.text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for ContainerState {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
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
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.reason = value.some_text()?,
            2 => self.message = value.some_text()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for ContainerStateRunning {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field == 1 {
            self.started_at = value.time()?;
        }
        Ok(())
    }
}

impl Message for ContainerStateTerminated {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.exit_code = value.int()?,
            2 => self.signal = value.some_int()?,
            3 => self.reason = value.some_text()?,
            4 => self.message = value.some_text()?,
            5 => self.started_at = value.time()?,
            6 => self.finished_at = value.time()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for Event {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.metadata = value.message()?,
            2 => self.involved_object = value.message()?,
            3 => self.reason = value.some_text()?,
            4 => self.message = value.some_text()?,
            6 => self.first_timestamp = value.time()?,
            7 => self.last_timestamp = value.time()?,
            10 => self.event_time = value.micro_time()?,
            11 => self.series = Some(value.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for EventSeries {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        if field == 2 {
            self.last_observed_time = value.micro_time()?;
        }
        Ok(())
    }
}

impl Message for ObjectReference {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.kind = value.some_text()?,
            2 => self.namespace = value.some_text()?,
            3 => self.name = value.some_text()?,
            4 => self.uid = value.some_text()?,
            7 => self.field_path = value.some_text()?,
            _ => {}
        }
        Ok(())
    }
}
