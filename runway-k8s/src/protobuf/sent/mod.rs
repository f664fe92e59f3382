//! Encodes Jobs as protobuf. The API server decodes protobuf in a fraction of the time that it needs for
//! JSON.
//!
//! Tables map the fields to their numbers. A field without a number is an error, and the caller then sends
//! the object as JSON. A field is therefore never lost.

mod writer;

use super::MAGIC;
use k8s_openapi::Resource;
use k8s_openapi::api::batch::v1::Job;
pub(crate) use writer::Unwritten;
use writer::{begin, end, put, put_text};

/// The fields of a message: their names in JSON, and their tags.
type Fields = &'static [(&'static str, Place)];

/// The number and the type of a field.
#[derive(Clone, Copy)]
struct Place {
    number: u8,
    /// The number within an inner message, for a field that is nested in protobuf but not in JSON.
    within: Option<u8>,
    kind: Kind,
}

/// The type of a field. A list is encoded as a repeated field.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// An integer or a boolean.
    Number,
    Message(Fields),
    /// A map from strings to values of this type.
    Map(&'static Kind),
    /// A string that is wrapped in a message, such as `Quantity`.
    Wrapped,
    /// A field that is only in the envelope.
    Envelope,
}

const fn at(number: u8, kind: Kind) -> Place {
    Place { number, within: None, kind }
}

const fn within(outer: u8, number: u8, kind: Kind) -> Place {
    Place { number: outer, within: Some(number), kind }
}

/// Messages of `k8s.io/api/batch/v1/generated.proto`.
const JOB: Fields = &[
    ("apiVersion", at(1, Kind::Envelope)),
    ("kind", at(1, Kind::Envelope)),
    ("metadata", at(1, Kind::Message(METADATA))),
    ("spec", at(2, Kind::Message(JOB_SPEC))),
];

const JOB_SPEC: Fields = &[
    ("parallelism", at(1, Kind::Number)),
    ("completions", at(2, Kind::Number)),
    ("activeDeadlineSeconds", at(3, Kind::Number)),
    ("template", at(6, Kind::Message(TEMPLATE))),
    ("backoffLimit", at(7, Kind::Number)),
    ("ttlSecondsAfterFinished", at(8, Kind::Number)),
    ("suspend", at(10, Kind::Number)),
    ("podFailurePolicy", at(11, Kind::Message(FAILURE_POLICY))),
];

const FAILURE_POLICY: Fields = &[("rules", at(1, Kind::Message(FAILURE_RULE)))];

const FAILURE_RULE: Fields =
    &[("action", at(1, Kind::Text)), ("onPodConditions", at(3, Kind::Message(POD_CONDITION)))];

const POD_CONDITION: Fields = &[("type", at(1, Kind::Text)), ("status", at(2, Kind::Text))];

/// A message of `k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto`.
const METADATA: Fields = &[
    ("name", at(1, Kind::Text)),
    ("namespace", at(3, Kind::Text)),
    ("labels", at(11, Kind::Map(&Kind::Text))),
    ("annotations", at(12, Kind::Map(&Kind::Text))),
];

/// This message and the following ones are in `k8s.io/api/core/v1/generated.proto`.
const TEMPLATE: Fields =
    &[("metadata", at(1, Kind::Message(METADATA))), ("spec", at(2, Kind::Message(POD_SPEC)))];

const POD_SPEC: Fields = &[
    ("volumes", at(1, Kind::Message(VOLUME))),
    ("containers", at(2, Kind::Message(CONTAINER))),
    ("restartPolicy", at(3, Kind::Text)),
    ("terminationGracePeriodSeconds", at(4, Kind::Number)),
    ("nodeSelector", at(7, Kind::Map(&Kind::Text))),
    ("securityContext", at(14, Kind::Message(POD_SECURITY))),
    ("imagePullSecrets", at(15, Kind::Message(REFERENCE))),
    ("automountServiceAccountToken", at(21, Kind::Number)),
    ("tolerations", at(22, Kind::Message(TOLERATION))),
    ("enableServiceLinks", at(30, Kind::Number)),
];

const VOLUME: Fields = &[("name", at(1, Kind::Text)), ("emptyDir", within(2, 2, Kind::Message(EMPTY_DIR)))];

const EMPTY_DIR: Fields = &[("medium", at(1, Kind::Text)), ("sizeLimit", at(2, Kind::Wrapped))];

const CONTAINER: Fields = &[
    ("name", at(1, Kind::Text)),
    ("image", at(2, Kind::Text)),
    ("command", at(3, Kind::Text)),
    ("args", at(4, Kind::Text)),
    ("workingDir", at(5, Kind::Text)),
    ("env", at(7, Kind::Message(VARIABLE))),
    ("resources", at(8, Kind::Message(RESOURCES))),
    ("volumeMounts", at(9, Kind::Message(MOUNT))),
    ("imagePullPolicy", at(14, Kind::Text)),
    ("securityContext", at(15, Kind::Message(SECURITY))),
];

const VARIABLE: Fields = &[
    ("name", at(1, Kind::Text)),
    ("value", at(2, Kind::Text)),
    ("valueFrom", at(3, Kind::Message(VARIABLE_SOURCE))),
];

const VARIABLE_SOURCE: Fields = &[("secretKeyRef", at(4, Kind::Message(SECRET_KEY)))];

const SECRET_KEY: Fields = &[("name", within(1, 1, Kind::Text)), ("key", at(2, Kind::Text))];

const RESOURCES: Fields =
    &[("limits", at(1, Kind::Map(&Kind::Wrapped))), ("requests", at(2, Kind::Map(&Kind::Wrapped)))];

const MOUNT: Fields = &[("name", at(1, Kind::Text)), ("mountPath", at(3, Kind::Text))];

const SECURITY: Fields = &[
    ("capabilities", at(1, Kind::Message(CAPABILITIES))),
    ("privileged", at(2, Kind::Number)),
    ("runAsNonRoot", at(5, Kind::Number)),
    ("readOnlyRootFilesystem", at(6, Kind::Number)),
    ("allowPrivilegeEscalation", at(7, Kind::Number)),
    ("seccompProfile", at(11, Kind::Message(SECCOMP))),
];

const CAPABILITIES: Fields = &[("drop", at(2, Kind::Text))];

const POD_SECURITY: Fields = &[
    ("runAsUser", at(2, Kind::Number)),
    ("runAsNonRoot", at(3, Kind::Number)),
    ("runAsGroup", at(6, Kind::Number)),
    ("seccompProfile", at(10, Kind::Message(SECCOMP))),
];

const SECCOMP: Fields = &[("type", at(1, Kind::Text))];

const REFERENCE: Fields = &[("name", at(1, Kind::Text))];

const TOLERATION: Fields =
    &[("key", at(1, Kind::Text)), ("operator", at(2, Kind::Text)), ("effect", at(4, Kind::Text))];

/// Encodes a Job in its envelope.
pub(crate) fn job(job: &Job) -> Result<Vec<u8>, Unwritten> {
    let mut bytes = Vec::with_capacity(2048);
    bytes.extend_from_slice(MAGIC);
    let kind = begin(&mut bytes, 1);
    put_text(&mut bytes, 1, Job::API_VERSION);
    put_text(&mut bytes, 2, Job::KIND);
    end(&mut bytes, kind);
    put(&mut bytes, at(2, Kind::Message(JOB)), Job::KIND, job)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::object;
    use k8s_openapi::api::batch::v1::JobSpec as BatchSpec;
    use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
    use runway_core::policy::RateOverrides;
    use runway_core::render::render;
    use runway_core::spec::SecretLiterals;
    use runway_core::{Gate, HashSeed, JobId, JobSpec, Policy, Submission, units::Timestamp};
    use std::path::Path;
    use std::sync::Arc;

    /// Returns the rendered Jobs of all example documents, which the example policy admits.
    fn jobs() -> Vec<Job> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        let policy = std::fs::read(fixtures.join("policies/default.yaml")).unwrap();
        let policy = Arc::new(Policy::parse(&policy, RateOverrides::default()).unwrap());
        let gate = Gate::new(Arc::clone(&policy), HashSeed::default());
        let mut jobs = Vec::new();
        for entry in std::fs::read_dir(fixtures.join("jobs")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            for mut reading in JobSpec::read_all(&std::fs::read(&path).unwrap(), SecretLiterals::Accept) {
                reading
                    .spec
                    .secrets
                    .values_mut()
                    .for_each(|secret| *secret = runway_core::spec::Secret::Value("hush".into()));
                let submission = Submission::from(reading).with_tenant(None);
                let decision = gate.preview(&submission, Timestamp::from_seconds(1));
                let admitted = decision.admitted().expect("the examples are admitted");
                jobs.push(render(admitted, JobId::from_random(7), &policy).unwrap().job);
            }
        }
        jobs
    }

    #[test]
    fn every_field_that_is_rendered_has_its_number() {
        let jobs = jobs();
        assert!(jobs.len() > 5);
        for mut sent in jobs {
            let read: Job = object(&job(&sent).unwrap()).unwrap();
            // The decoder skips some fields, so these are not compared.
            let (spec, written) = (read.spec.unwrap(), sent.spec.as_mut().unwrap());
            written.ttl_seconds_after_finished = None;
            written.pod_failure_policy = None;
            written.template = spec.template.clone();
            assert_eq!(Some(spec), sent.spec);
            assert_eq!(read.metadata, sent.metadata);
        }
    }

    fn of(spec: BatchSpec) -> Result<Vec<u8>, Unwritten> {
        job(&Job { spec: Some(spec), ..Job::default() })
    }

    #[test]
    fn what_has_no_number_is_told_of() {
        assert!(of(BatchSpec { parallelism: Some(-1), ..BatchSpec::default() }).is_ok());
        let other = of(BatchSpec { manual_selector: Some(true), ..BatchSpec::default() });
        assert_eq!(other, Err(Unwritten::Unknown("manualSelector")));
        let pod = PodSpec { host_network: Some(true), ..PodSpec::default() };
        let template = PodTemplateSpec { spec: Some(pod), ..PodTemplateSpec::default() };
        let other = of(BatchSpec { template, ..BatchSpec::default() });
        assert_eq!(other, Err(Unwritten::Unknown("hostNetwork")));
    }

    #[test]
    fn a_negative_number_takes_all_of_its_bits() {
        let sent = of(BatchSpec { backoff_limit: Some(-2), ..BatchSpec::default() });
        let read: Job = object(&sent.unwrap()).unwrap();
        assert_eq!(read.spec.unwrap().backoff_limit, Some(-2));
    }
}
