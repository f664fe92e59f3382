//! Assertions for the pods of jobs.

use serde_json::{Value, json};

/// Asserts that a pod spec satisfies the profile `restricted` of the
/// [Pod Security Standards](https://kubernetes.io/docs/concepts/security/pod-security-standards/).
pub fn assert_restricted(pod: &Value) {
    for host in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(pod.get(host).is_none_or(|value| value == false), "{host}");
    }
    let kinds = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in pod["volumes"].as_array().unwrap() {
        let kind = volume.as_object().unwrap().keys().find(|key| *key != "name").unwrap();
        assert!(kinds.contains(&kind.as_str()), "{kind}");
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_ne!(pod["securityContext"]["runAsUser"], 0);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["privileged"], false);
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        assert!(container.get("ports").is_none());
    }
}
