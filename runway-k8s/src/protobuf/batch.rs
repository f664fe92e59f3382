//! Decodes the messages of `k8s.io/api/batch/v1/generated.proto`.

use super::wire::{DecodeError, Message, Value};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};

impl Message for Job {
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

impl Message for JobSpec {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.parallelism = Some(value.int32()?),
            2 => self.completions = Some(value.int32()?),
            3 => self.active_deadline_seconds = Some(value.int64()?),
            6 => self.template = value.message()?,
            7 => self.backoff_limit = Some(value.int32()?),
            9 => self.completion_mode = value.non_empty_string()?,
            10 => self.suspend = Some(value.boolean()?),
            15 => self.managed_by = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for JobStatus {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.conditions.get_or_insert_default().push(value.message()?),
            2 => self.start_time = value.time()?,
            3 => self.completion_time = value.time()?,
            4 => self.active = value.non_zero_int32()?,
            5 => self.succeeded = value.non_zero_int32()?,
            6 => self.failed = value.non_zero_int32()?,
            8 => self.uncounted_terminated_pods = Some(value.message()?),
            9 => self.ready = Some(value.int32()?),
            10 => self.failed_indexes = value.non_empty_string()?,
            _ => {}
        }
        Ok(())
    }
}

impl Message for JobCondition {
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

impl Message for UncountedTerminatedPods {
    fn merge_field(&mut self, field: u32, value: Value<'_>) -> Result<(), DecodeError> {
        match field {
            1 => self.succeeded.get_or_insert_default().push(value.string()?),
            2 => self.failed.get_or_insert_default().push(value.string()?),
            _ => {}
        }
        Ok(())
    }
}
