//! ValidatingAdmissionPolicy: the changes of Runway's Jobs that the API server rejects.
//!
//! The price and the hold of a job follow from its spec. A client with permission to patch Jobs can change the
//! deadline, the number of pods, and the resources of a suspended Job. A Job that is suspended and resumed
//! gets a new deadline. Runway itself only resumes a Job, once its Secret exists. The API server rejects all
//! other changes, also by administrators.

use super::NamespaceScope;
use crate::render::label;
use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    ValidatingAdmissionPolicyBindingSpec, ValidatingAdmissionPolicySpec, Validation, Variable,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

/// The variable `old` is the Job before the change. A new Job is compared with itself.
const OLD_JOB: (&str, &str) = ("old", "oldObject == null ? object : oldObject");

/// Conditions in CEL that each new and each changed Job must satisfy, each with the message for a violation.
///
/// Runway sets no `managedBy`, so the Job controller of the cluster runs the job. Another controller could run
/// it elsewhere.
const VALIDATIONS: [(&str, &str); 6] = [
    (
        "object.spec.template == variables.old.spec.template",
        "the pod template of a Runway job must not change",
    ),
    (
        "object.spec.parallelism == variables.old.spec.parallelism",
        "the parallelism of a Runway job must not change",
    ),
    (
        "object.spec.backoffLimit == variables.old.spec.backoffLimit",
        "the retries of a Runway job must not change",
    ),
    (
        "object.spec.?activeDeadlineSeconds == variables.old.spec.?activeDeadlineSeconds",
        "the deadline of a Runway job must not change",
    ),
    ("variables.old.spec.suspend || !object.spec.suspend", "a Runway job must not be suspended"),
    ("!has(object.spec.managedBy)", "a Runway job must not have another controller"),
];

/// Returns the policy for Jobs with Runway's label in the namespace. A change that removes the label is checked,
/// too, because the API server compares the labels before and after the change.
pub(super) fn admission_policy(scope: &NamespaceScope<'_>) -> ValidatingAdmissionPolicy {
    let labels = |key: &str, value: &str| LabelSelector {
        match_labels: Some([(key.to_owned(), value.to_owned())].into()),
        match_expressions: None,
    };
    let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect());
    let jobs = NamedRuleWithOperations {
        api_groups: list(&["batch"]),
        api_versions: list(&["v1"]),
        operations: list(&["CREATE", "UPDATE"]),
        resources: list(&["jobs"]),
        ..NamedRuleWithOperations::default()
    };
    let validations = VALIDATIONS.map(|(expression, message)| Validation {
        expression: expression.to_owned(),
        message: Some(message.to_owned()),
        ..Validation::default()
    });
    let (name, expression) = OLD_JOB;
    ValidatingAdmissionPolicy {
        metadata: metadata(scope),
        spec: Some(ValidatingAdmissionPolicySpec {
            failure_policy: Some("Fail".to_owned()),
            match_constraints: Some(MatchResources {
                namespace_selector: Some(labels("kubernetes.io/metadata.name", &scope.name)),
                object_selector: Some(labels(label::MANAGED_BY, label::RUNWAY)),
                resource_rules: Some(vec![jobs]),
                ..MatchResources::default()
            }),
            validations: Some(validations.into()),
            variables: Some(vec![Variable { name: name.to_owned(), expression: expression.to_owned() }]),
            ..ValidatingAdmissionPolicySpec::default()
        }),
        status: None,
    }
}

/// Returns the binding, which makes the API server reject the changes.
#[allow(
    clippy::useless_conversion,
    reason = "whether a field is an `Option` depends on the version of Kubernetes"
)]
pub(super) fn admission_policy_binding(scope: &NamespaceScope<'_>) -> ValidatingAdmissionPolicyBinding {
    let spec = ValidatingAdmissionPolicyBindingSpec {
        policy_name: object_name(scope).into(),
        validation_actions: vec!["Deny".to_owned()].into(),
        ..ValidatingAdmissionPolicyBindingSpec::default()
    };
    ValidatingAdmissionPolicyBinding { metadata: metadata(scope), spec: spec.into() }
}

/// Both objects belong to no namespace, so their name contains the namespace.
fn object_name(scope: &NamespaceScope<'_>) -> String {
    format!("{}.runway.dev", scope.name)
}

fn metadata(scope: &NamespaceScope<'_>) -> ObjectMeta {
    ObjectMeta { namespace: None, ..scope.metadata(&object_name(scope)) }
}
