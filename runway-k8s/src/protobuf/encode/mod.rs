//! Encodes Jobs as protobuf. The API server decodes protobuf in a fraction of the time that it needs for
//! JSON.
//!
//! Tables map the fields to their numbers. A field without a number is an error, and the caller then sends
//! the object as JSON. A field is therefore never lost.

mod writer;

use super::MAGIC;
use k8s_openapi::Resource;
use k8s_openapi::api::batch::v1::Job;
pub(crate) use writer::EncodeError;
use writer::{begin_message, end_message, put_field, put_string};

/// The fields of a message: their names in JSON, and their tags.
type FieldTable = &'static [(&'static str, FieldTag)];

/// The number and the type of a field.
#[derive(Clone, Copy)]
struct FieldTag {
    number: u8,
    /// The number within an inner message, for a field that is nested in protobuf but not in JSON.
    inner_number: Option<u8>,
    field_type: FieldType,
}

/// The type of a field. A list is encoded as a repeated field.
#[derive(Clone, Copy)]
enum FieldType {
    String,
    /// An integer or a boolean.
    Varint,
    Message(FieldTable),
    /// A map from strings to values of this type.
    Map(&'static FieldType),
    /// A string that is wrapped in a message, such as `Quantity`.
    Wrapped,
    /// A field that is only in the envelope.
    Envelope,
}

const fn field_tag(number: u8, field_type: FieldType) -> FieldTag {
    FieldTag { number, inner_number: None, field_type }
}

const fn nested_field_tag(outer: u8, number: u8, field_type: FieldType) -> FieldTag {
    FieldTag { number: outer, inner_number: Some(number), field_type }
}

/// This message and the following ones are in `k8s.io/api/batch/v1/generated.proto`.
const JOB: FieldTable = &[
    ("apiVersion", field_tag(1, FieldType::Envelope)),
    ("kind", field_tag(1, FieldType::Envelope)),
    ("metadata", field_tag(1, FieldType::Message(METADATA))),
    ("spec", field_tag(2, FieldType::Message(JOB_SPEC))),
];

const JOB_SPEC: FieldTable = &[
    ("parallelism", field_tag(1, FieldType::Varint)),
    ("completions", field_tag(2, FieldType::Varint)),
    ("activeDeadlineSeconds", field_tag(3, FieldType::Varint)),
    ("template", field_tag(6, FieldType::Message(TEMPLATE))),
    ("backoffLimit", field_tag(7, FieldType::Varint)),
    ("ttlSecondsAfterFinished", field_tag(8, FieldType::Varint)),
    ("suspend", field_tag(10, FieldType::Varint)),
    ("podFailurePolicy", field_tag(11, FieldType::Message(FAILURE_POLICY))),
];

const FAILURE_POLICY: FieldTable = &[("rules", field_tag(1, FieldType::Message(FAILURE_RULE)))];

const FAILURE_RULE: FieldTable = &[
    ("action", field_tag(1, FieldType::String)),
    ("onPodConditions", field_tag(3, FieldType::Message(POD_CONDITION))),
];

const POD_CONDITION: FieldTable =
    &[("type", field_tag(1, FieldType::String)), ("status", field_tag(2, FieldType::String))];

/// A message of `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.
const METADATA: FieldTable = &[
    ("name", field_tag(1, FieldType::String)),
    ("namespace", field_tag(3, FieldType::String)),
    ("labels", field_tag(11, FieldType::Map(&FieldType::String))),
    ("annotations", field_tag(12, FieldType::Map(&FieldType::String))),
];

/// This message and the following ones are in `k8s.io/api/core/v1/generated.proto`.
const TEMPLATE: FieldTable = &[
    ("metadata", field_tag(1, FieldType::Message(METADATA))),
    ("spec", field_tag(2, FieldType::Message(POD_SPEC))),
];

const POD_SPEC: FieldTable = &[
    ("volumes", field_tag(1, FieldType::Message(VOLUME))),
    ("containers", field_tag(2, FieldType::Message(CONTAINER))),
    ("restartPolicy", field_tag(3, FieldType::String)),
    ("terminationGracePeriodSeconds", field_tag(4, FieldType::Varint)),
    ("nodeSelector", field_tag(7, FieldType::Map(&FieldType::String))),
    ("securityContext", field_tag(14, FieldType::Message(POD_SECURITY))),
    ("imagePullSecrets", field_tag(15, FieldType::Message(REFERENCE))),
    ("automountServiceAccountToken", field_tag(21, FieldType::Varint)),
    ("tolerations", field_tag(22, FieldType::Message(TOLERATION))),
    ("enableServiceLinks", field_tag(30, FieldType::Varint)),
];

const VOLUME: FieldTable = &[
    ("name", field_tag(1, FieldType::String)),
    ("emptyDir", nested_field_tag(2, 2, FieldType::Message(EMPTY_DIR))),
];

const EMPTY_DIR: FieldTable =
    &[("medium", field_tag(1, FieldType::String)), ("sizeLimit", field_tag(2, FieldType::Wrapped))];

const CONTAINER: FieldTable = &[
    ("name", field_tag(1, FieldType::String)),
    ("image", field_tag(2, FieldType::String)),
    ("command", field_tag(3, FieldType::String)),
    ("args", field_tag(4, FieldType::String)),
    ("workingDir", field_tag(5, FieldType::String)),
    ("env", field_tag(7, FieldType::Message(VARIABLE))),
    ("resources", field_tag(8, FieldType::Message(RESOURCES))),
    ("volumeMounts", field_tag(9, FieldType::Message(MOUNT))),
    ("imagePullPolicy", field_tag(14, FieldType::String)),
    ("securityContext", field_tag(15, FieldType::Message(SECURITY))),
];

const VARIABLE: FieldTable = &[
    ("name", field_tag(1, FieldType::String)),
    ("value", field_tag(2, FieldType::String)),
    ("valueFrom", field_tag(3, FieldType::Message(VARIABLE_SOURCE))),
];

const VARIABLE_SOURCE: FieldTable = &[("secretKeyRef", field_tag(4, FieldType::Message(SECRET_KEY)))];

const SECRET_KEY: FieldTable =
    &[("name", nested_field_tag(1, 1, FieldType::String)), ("key", field_tag(2, FieldType::String))];

const RESOURCES: FieldTable = &[
    ("limits", field_tag(1, FieldType::Map(&FieldType::Wrapped))),
    ("requests", field_tag(2, FieldType::Map(&FieldType::Wrapped))),
];

const MOUNT: FieldTable =
    &[("name", field_tag(1, FieldType::String)), ("mountPath", field_tag(3, FieldType::String))];

const SECURITY: FieldTable = &[
    ("capabilities", field_tag(1, FieldType::Message(CAPABILITIES))),
    ("privileged", field_tag(2, FieldType::Varint)),
    ("runAsNonRoot", field_tag(5, FieldType::Varint)),
    ("readOnlyRootFilesystem", field_tag(6, FieldType::Varint)),
    ("allowPrivilegeEscalation", field_tag(7, FieldType::Varint)),
    ("seccompProfile", field_tag(11, FieldType::Message(SECCOMP))),
];

const CAPABILITIES: FieldTable = &[("drop", field_tag(2, FieldType::String))];

const POD_SECURITY: FieldTable = &[
    ("runAsUser", field_tag(2, FieldType::Varint)),
    ("runAsNonRoot", field_tag(3, FieldType::Varint)),
    ("runAsGroup", field_tag(6, FieldType::Varint)),
    ("seccompProfile", field_tag(10, FieldType::Message(SECCOMP))),
];

const SECCOMP: FieldTable = &[("type", field_tag(1, FieldType::String))];

const REFERENCE: FieldTable = &[("name", field_tag(1, FieldType::String))];

const TOLERATION: FieldTable = &[
    ("key", field_tag(1, FieldType::String)),
    ("operator", field_tag(2, FieldType::String)),
    ("effect", field_tag(4, FieldType::String)),
];

/// Encodes a Job in its envelope.
pub(crate) fn encode_job(job: &Job) -> Result<Vec<u8>, EncodeError> {
    let mut bytes = Vec::with_capacity(2048);
    bytes.extend_from_slice(MAGIC);
    let type_start = begin_message(&mut bytes, 1);
    put_string(&mut bytes, 1, Job::API_VERSION);
    put_string(&mut bytes, 2, Job::KIND);
    end_message(&mut bytes, type_start);
    put_field(&mut bytes, field_tag(2, FieldType::Message(JOB)), Job::KIND, job)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::decode_object;
    use k8s_openapi::api::batch::v1::JobSpec as BatchSpec;
    use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
    use runway_core::policy::PriceOverrides;
    use runway_core::render::render;
    use runway_core::spec::SecretLiterals;
    use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission, units::Timestamp};
    use std::path::Path;
    use std::sync::Arc;

    /// Returns the rendered Jobs of all example documents, which the example policy admits.
    fn jobs() -> Vec<Job> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let policy = std::fs::read(fixtures.join("policies/default.yaml")).unwrap();
        let policy = Arc::new(Policy::parse(&policy, PriceOverrides::default()).unwrap());
        let gate = Gate::new(Arc::clone(&policy), HashSeed::default());
        let mut jobs = Vec::new();
        for entry in std::fs::read_dir(fixtures.join("jobs")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            for mut parsed in JobSpec::parse_all(&std::fs::read(&path).unwrap(), SecretLiterals::Accept) {
                parsed
                    .spec
                    .secrets
                    .values_mut()
                    .for_each(|secret| *secret = runway_core::spec::Secret::Value("hush".into()));
                let submission = Submission::from(parsed).with_tenant(None);
                let decision = gate.preview(&submission, Timestamp::from_seconds(1));
                let admitted = decision.admitted().expect("the examples are admitted");
                jobs.push(render(admitted, JobId::from_random(7), &policy).unwrap().job);
            }
        }
        jobs
    }

    #[test]
    fn rendered_jobs_round_trip_through_protobuf() {
        let jobs = jobs();
        assert!(jobs.len() > 5);
        for mut expected in jobs {
            let decoded: Job = decode_object(&encode_job(&expected).unwrap()).unwrap();
            // The decoder skips some fields of the spec and of the template, so these are not compared.
            let (spec, expected_spec) = (decoded.spec.unwrap(), expected.spec.as_mut().unwrap());
            expected_spec.ttl_seconds_after_finished = None;
            expected_spec.pod_failure_policy = None;
            expected_spec.template = spec.template.clone();
            assert_eq!(Some(spec), expected.spec);
            assert_eq!(decoded.metadata, expected.metadata);
        }
    }

    fn encode_spec(spec: BatchSpec) -> Result<Vec<u8>, EncodeError> {
        encode_job(&Job { spec: Some(spec), ..Job::default() })
    }

    #[test]
    fn encode_fails_for_an_unknown_field() {
        assert!(encode_spec(BatchSpec { parallelism: Some(-1), ..BatchSpec::default() }).is_ok());
        let result = encode_spec(BatchSpec { manual_selector: Some(true), ..BatchSpec::default() });
        assert_eq!(result, Err(EncodeError::UnknownField("manualSelector")));
        let pod = PodSpec { host_network: Some(true), ..PodSpec::default() };
        let template = PodTemplateSpec { spec: Some(pod), ..PodTemplateSpec::default() };
        let result = encode_spec(BatchSpec { template, ..BatchSpec::default() });
        assert_eq!(result, Err(EncodeError::UnknownField("hostNetwork")));
    }

    #[test]
    fn negative_number_round_trips() {
        let encoded = encode_spec(BatchSpec { backoff_limit: Some(-2), ..BatchSpec::default() });
        let decoded: Job = decode_object(&encoded.unwrap()).unwrap();
        assert_eq!(decoded.spec.unwrap().backoff_limit, Some(-2));
    }
}
