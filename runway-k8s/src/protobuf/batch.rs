//! Decodes the messages of `k8s.io/api/batch/v1/generated.proto`.

use super::wire::{Malformed, Message, Value};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};

impl Message for Job {
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

impl Message for JobSpec {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.parallelism = Some(value.int()?),
            2 => self.completions = Some(value.int()?),
            3 => self.active_deadline_seconds = Some(value.long()?),
            6 => self.template = value.message()?,
            7 => self.backoff_limit = Some(value.int()?),
            9 => self.completion_mode = value.some_text()?,
            10 => self.suspend = Some(value.flag()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for JobStatus {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.conditions.get_or_insert_default().push(value.message()?),
            2 => self.start_time = value.time()?,
            3 => self.completion_time = value.time()?,
            4 => self.active = value.some_int()?,
            5 => self.succeeded = value.some_int()?,
            6 => self.failed = value.some_int()?,
            8 => self.uncounted_terminated_pods = Some(value.message()?),
            9 => self.ready = Some(value.int()?),
            _ => {}
        }
        Ok(())
    }
}

impl Message for JobCondition {
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

impl Message for UncountedTerminatedPods {
    fn set(&mut self, field: u32, value: Value<'_>) -> Result<(), Malformed> {
        match field {
            1 => self.succeeded.get_or_insert_default().push(value.text()?),
            2 => self.failed.get_or_insert_default().push(value.text()?),
            _ => {}
        }
        Ok(())
    }
}
