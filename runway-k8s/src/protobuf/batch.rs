//! Decodes the messages of `k8s.io/api/batch/v1/generated.proto`.

use super::wire::{DecodeError, Message, Value, messages};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods};

messages! { |this, value|
    Job {
        1 => this.metadata = value.message()?,
        2 => this.spec = Some(value.message()?),
        3 => this.status = Some(value.message()?),
    }

    JobSpec {
        1 => this.parallelism = Some(value.int32()?),
        2 => this.completions = Some(value.int32()?),
        3 => this.active_deadline_seconds = Some(value.int64()?),
        6 => this.template = value.message()?,
        7 => this.backoff_limit = Some(value.int32()?),
        9 => this.completion_mode = value.non_empty_string()?,
        10 => this.suspend = Some(value.boolean()?),
        15 => this.managed_by = value.non_empty_string()?,
    }

    JobStatus {
        1 => this.conditions.get_or_insert_default().push(value.message()?),
        2 => this.start_time = value.time()?,
        3 => this.completion_time = value.time()?,
        4 => this.active = value.non_zero_int32()?,
        5 => this.succeeded = value.non_zero_int32()?,
        6 => this.failed = value.non_zero_int32()?,
        8 => this.uncounted_terminated_pods = Some(value.message()?),
        9 => this.ready = Some(value.int32()?),
        10 => this.failed_indexes = value.non_empty_string()?,
    }

    JobCondition {
        1 => this.type_ = value.string()?,
        2 => this.status = value.string()?,
        4 => this.last_transition_time = value.time()?,
        5 => this.reason = value.non_empty_string()?,
        6 => this.message = value.non_empty_string()?,
    }

    UncountedTerminatedPods {
        1 => this.succeeded.get_or_insert_default().push(value.string()?),
        2 => this.failed.get_or_insert_default().push(value.string()?),
    }
}
