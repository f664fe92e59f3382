//! Rules that find a cause in the words of a message, where Kubernetes has no structured field for it.
//!
//! A rule applies if the message contains one of its phrases. Text in double quotes is ignored, because it is
//! the name of an image, a file or an object. The first rule that applies decides. If no rule applies, the
//! hint names no culprit. A rule is only matched against text from Kubernetes and the container runtime, never
//! against text that a job has written.

use crate::status::Reason;

/// A rule for messages about one kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// The phrases in lower case. One of them is sufficient.
    phrases: &'static [&'static str],
    /// The reason of the status. `None` if nothing is missing or wrong.
    pub reason: Option<Reason>,
    /// The advice. It names the role that can act.
    pub hint: &'static str,
}

/// Returns the first rule that applies to the message.
pub(super) fn matching_rule(rules: &'static [Rule], message: &str) -> Option<&'static Rule> {
    let text = without_quotations(message);
    rules.iter().find(|rule| rule.phrases.iter().any(|phrase| text.contains(phrase)))
}

/// Returns the message in lower case, with single spaces and without text in double quotes. Text behind an
/// unclosed quote is kept, because the message may be cut.
pub(super) fn without_quotations(message: &str) -> String {
    let parts: Vec<_> = message.split('"').collect();
    let is_unclosed = parts.len() % 2 == 0;
    let kept = parts
        .iter()
        .enumerate()
        .filter(|(index, _)| index % 2 == 0 || (is_unclosed && index.saturating_add(1) == parts.len()));
    let text = kept.map(|(_, part)| *part).collect::<Vec<_>>().join(" ").to_lowercase();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const fn rule(phrases: &'static [&'static str], reason: Reason, hint: &'static str) -> Rule {
    Rule { phrases, reason: Some(reason), hint }
}

/// A rule for a state that usually clears. Nothing is missing or wrong.
const fn passing(phrases: &'static [&'static str], hint: &'static str) -> Rule {
    Rule { phrases, reason: None, hint }
}

/// Rules for images that cannot be pulled.
pub(super) const IMAGE_PULL: &[Rule] = &[
    rule(
        &["proper credentials"],
        Reason::ImagePull,
        "the image was pulled with credentials that this job does not have: the operator of Runway adds them with the \
         policy's `image_pull_secrets`",
    ),
    rule(
        &["is not present with pull policy of never", "errimageneverpull"],
        Reason::ImagePull,
        "the image is not on the node, and the policy's `image_pull_policy` forbids pulling it: ask the operator of \
         Runway",
    ),
    rule(
        &[
            "no match for platform",
            "no matching manifest",
            "no child with platform",
            "does not match the specified platform",
        ],
        Reason::ImagePull,
        "the image has no variant for the platform of the node: build the image for the architecture of the nodes",
    ),
    rule(
        &[
            "x509",
            "certificate",
            "tls:",
            "server gave http response to https client",
            "first record does not look like a tls",
        ],
        Reason::ImagePull,
        "the node does not accept the TLS certificate or the protocol of the registry: the administrators of the \
         cluster configure the registry on the nodes",
    ),
    rule(
        &[
            "no basic auth credentials",
            "unauthorized",
            "authentication",
            "authorization",
            "denied",
            "forbidden",
            "insufficient_scope",
        ],
        Reason::ImagePull,
        "the registry denies access: check the repository in `image`; the operator of Runway adds credentials with the \
         policy's `image_pull_secrets`, or the administrators of the cluster give them to the nodes",
    ),
    rule(
        &["no space left", "disk quota exceeded", "diskpressure"],
        Reason::ImagePull,
        "the disk of the node is full: ask the administrators of the cluster",
    ),
    rule(
        &["pull qps exceeded"],
        Reason::ImagePull,
        "the node limits its own pulls, and pulls the image later",
    ),
    rule(
        &["toomanyrequests", "too many requests", "rate limit", "rate exceeded"],
        Reason::ImagePull,
        "the registry limits the rate of pulls, and usually accepts a later pull",
    ),
    rule(
        &["no such host", "server misbehaving", "temporary failure in name resolution"],
        Reason::ImagePull,
        "the name of the registry cannot be resolved: check it in `image`; if it is right, ask the administrators of \
         the cluster about the network of the nodes",
    ),
    rule(
        &[
            "dial tcp",
            "timeout",
            "timed out",
            "deadline exceeded",
            "connection refused",
            "connection reset",
            "no route to host",
            "network is unreachable",
            "unexpected eof",
            "internal server error",
            "bad gateway",
            "service unavailable",
            "registryunavailable",
        ],
        Reason::ImagePull,
        "the registry does not respond, which often clears; if it lasts, check its name in `image`, and ask the \
         administrators of the cluster about the network of the nodes",
    ),
    rule(
        &["signature", "policy rejected", "not allowed by policy"],
        Reason::ImagePull,
        "the nodes accept only signed images: ask the administrators of the cluster",
    ),
    rule(
        &["not found", "manifest unknown", "name unknown", "does not exist"],
        Reason::ImagePull,
        "check the name and the tag in `image`, and that the image is in the registry",
    ),
];

/// The hint for a container without a command.
const NO_COMMAND: &str = "set `command`: the image has no entry point";

/// Rules for processes that the container runtime could not start.
pub(super) const START: &[Rule] = &[
    rule(&["no command specified"], Reason::StartError, NO_COMMAND),
    rule(
        &[
            "nvidia-container",
            "nvml",
            "driver/library version mismatch",
            "driver rpc error",
            "libnvidia",
            "libcuda",
            "cdi device",
        ],
        Reason::StartError,
        "the GPU driver of the node failed: ask the administrators of the cluster; the job needs no change",
    ),
    rule(
        &["exec format error"],
        Reason::StartError,
        "the program is built for another processor: build the image for the architecture of the nodes",
    ),
    rule(
        &["error mounting", "failed to mount", "mount through procfd", "to rootfs at"],
        Reason::StartError,
        "a mount failed before the program started: check the paths that are mounted into the container, or ask the \
         administrators of the cluster",
    ),
    rule(
        &["memory limit too low", "container init was oom-killed", "oom-killed (memory limit"],
        Reason::StartError,
        "the memory limit is too low to start a process: raise `resources.memory`",
    ),
    rule(
        &["chdir to cwd", "mkdir cwd"],
        Reason::StartError,
        "check `workdir`: the directory must exist in the image, and be accessible to the user that jobs run as",
    ),
    rule(
        &["unable to find user", "no matching entries in passwd", "unable to find group"],
        Reason::StartError,
        "the image does not contain the user that it runs as: build it with a numeric user, or ask the operator of \
         Runway for another user in the policy",
    ),
    rule(
        &[
            "cgroup",
            "no space left",
            "too many open files",
            "resource temporarily unavailable",
            "context deadline exceeded",
            "did not terminate",
            "ttrpc",
            "connection refused",
            "apparmor",
            "selinux",
            "seccomp",
            "no runtime for",
            "runtime handler",
        ],
        Reason::StartError,
        "the node or its container runtime failed: ask the administrators of the cluster; the job needs no change",
    ),
    rule(
        &["executable file not found", "no such file or directory", "is a directory", "permission denied"],
        Reason::StartError,
        "check `command` and `args`: the program must be in the image, and executable by the user that jobs run as",
    ),
];

/// Rules for containers that cannot be created.
pub(super) const CREATE: &[Rule] = &[
    rule(&["no command specified"], Reason::ConfigError, NO_COMMAND),
    passing(
        &["failed to sync secret cache", "failed to sync configmap cache"],
        "the node has not received the object yet, and usually receives it within seconds",
    ),
    rule(
        &["couldn't find key", "could not find key", "references non-existent"],
        Reason::ConfigError,
        "the object exists and lacks the key that the message names: add the key, or refer to another one",
    ),
    rule(
        &["secret not found", "configmap not found"],
        Reason::ConfigError,
        "the object that the message names does not exist: create it in the namespace of the job, and the container \
         starts",
    ),
    rule(
        &["runasnonroot", "run as root", "non-numeric user"],
        Reason::ConfigError,
        "the user of the image is not allowed: build the image with a numeric user other than 0, or ask the operator \
         of Runway for `run.run_as_user` in the policy",
    ),
    passing(
        &[
            "context deadline exceeded",
            "deadlineexceeded",
            "is reserved for",
            "failed to reserve",
            "no space left",
            "connection refused",
            "ttrpc",
            "cgroup",
            "timed out",
        ],
        "the container runtime of the node is overloaded or has failed, which often clears; if it lasts, ask the \
         administrators of the cluster",
    ),
    rule(
        &["subpath", "hostpath", "volume", "mount"],
        Reason::ConfigError,
        "a volume of the pod cannot be used as the message says: ask the administrators of the cluster",
    ),
];

/// Rules for volumes that a node cannot attach or mount.
pub(super) const VOLUME: &[Rule] = &[
    passing(
        &["multi-attach error", "already used by pod", "already exclusively attached", "is already attached"],
        "the volume is attached to another node, and is attached here when the other pod has ended",
    ),
    rule(
        &["secret not found", "configmap not found", "persistentvolumeclaim not found"],
        Reason::ConfigError,
        "the object that the message names does not exist: create it in the namespace of the job, and the container \
         starts",
    ),
    passing(
        &[
            "timed out",
            "deadline exceeded",
            "unmounted volumes",
            "not yet",
            "failed to sync",
            "not registered",
        ],
        "a volume can take a while, and the node retries; if it lasts, ask the administrators of the cluster",
    ),
];

/// Rules for pods that the API server rejects.
pub(super) const ADMISSION: &[Rule] = &[
    rule(
        &["failed calling webhook"],
        Reason::PodsRejected,
        "an admission webhook of the cluster does not respond: ask the administrators of the cluster; the job needs no \
         change, and Kubernetes retries",
    ),
    rule(
        &["admission webhook"],
        Reason::PodsRejected,
        "an admission webhook of the cluster rejects the pods: either the job or the webhook must change",
    ),
    rule(
        &["admissionpolicy", "policy '"],
        Reason::PodsRejected,
        "an admission policy of the cluster rejects the pods: either the job or the policy must change; ask the \
         administrators of the cluster",
    ),
    rule(
        &["exceeded quota"],
        Reason::PodsRejected,
        "the namespace's ResourceQuota is used up; Kubernetes retries until other pods have ended",
    ),
    rule(
        &["podsecurity"],
        Reason::PodsRejected,
        "the namespace enforces a stricter Pod Security profile: ask the administrators of the cluster",
    ),
    rule(
        &["must specify limits", "must specify requests", "maximum", "minimum", "limitrange"],
        Reason::PodsRejected,
        "the namespace's LimitRange or ResourceQuota does not allow these resources: ask the administrators of the \
         cluster",
    ),
    rule(
        &["is being terminated"],
        Reason::PodsRejected,
        "the namespace of the jobs is being deleted: ask the administrators of the cluster",
    ),
];

/// Rules for pods that their node evicted.
pub(super) const EVICTION: &[Rule] = &[
    rule(
        &[
            "usage of emptydir",
            "exceeds the total limit",
            "local ephemeral storage limit",
            "ephemeral local storage usage",
        ],
        Reason::Evicted,
        "raise `resources.ephemeral_storage`, or write less; `/tmp` and the logs count",
    ),
    rule(
        &["resource: memory", "memorypressure"],
        Reason::Evicted,
        "its node ran short of memory; submit it again, and if this recurs, raise `resources.memory` to the actual use",
    ),
    rule(
        &["resource: pids", "pidpressure"],
        Reason::Evicted,
        "its node ran out of process ids; submit it again, and if this recurs, ask the administrators of the cluster",
    ),
    rule(
        &[
            "resource: ephemeral-storage",
            "resource: inodes",
            "diskpressure",
            "resource: nodefs",
            "resource: imagefs",
            "inodes",
        ],
        Reason::Evicted,
        "its node ran short of storage or inodes; submit it again, and if this recurs, raise \
         `resources.ephemeral_storage` to the actual use",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_quotes_are_not_matched() {
        let message = "Failed to pull image \"registry/denied:1\": manifest unknown";
        assert_eq!(without_quotations(message), "failed to pull image : manifest unknown");
        let hint = matching_rule(IMAGE_PULL, message).unwrap().hint;
        assert!(hint.starts_with("check the name and the tag"), "{hint}");
        assert_eq!(without_quotations("secret \"x\"  not\nfound"), "secret not found");
        assert_eq!(without_quotations("a \"b\" c \"cut"), "a c cut");
        assert_eq!(without_quotations(""), "");
    }

    #[test]
    fn each_message_has_the_hint_of_its_cause() {
        for (rules, message, expected) in [
            (
                IMAGE_PULL,
                "is present with pull policy of Never but does not have the proper credentials",
                "`image_pull_secrets`",
            ),
            (
                IMAGE_PULL,
                "Container image \"x\" is not present with pull policy of Never",
                "`image_pull_policy`",
            ),
            (IMAGE_PULL, "no match for platform in manifest: not found", "architecture"),
            (IMAGE_PULL, "no matching manifest for linux/arm64 in the manifest list entries", "architecture"),
            (
                IMAGE_PULL,
                "tls: failed to verify certificate: x509: certificate signed by unknown authority",
                "TLS",
            ),
            (IMAGE_PULL, "http: server gave HTTP response to HTTPS client", "TLS"),
            (IMAGE_PULL, "Get https://r/v2/: no basic auth credentials", "denies access"),
            (
                IMAGE_PULL,
                "pull access denied, repository does not exist or may require authorization",
                "denies access",
            ),
            (IMAGE_PULL, "unexpected status code 403 Forbidden", "denies access"),
            (IMAGE_PULL, "write /var/lib/x: no space left on device", "disk of the node is full"),
            (IMAGE_PULL, "pull QPS exceeded", "limits its own pulls"),
            (IMAGE_PULL, "429 Too Many Requests - toomanyrequests: limit", "rate of pulls"),
            (IMAGE_PULL, "dial tcp: lookup r: no such host", "cannot be resolved"),
            (IMAGE_PULL, "dial tcp 10.0.0.5:443: connect: connection refused", "does not respond"),
            (IMAGE_PULL, "net/http: TLS handshake timeout", "does not respond"),
            (IMAGE_PULL, "503 Service Unavailable", "does not respond"),
            (IMAGE_PULL, "x: not found", "check the name and the tag"),
            (START, "exec: \"x\": executable file not found in $PATH: unknown", "`command` and `args`"),
            (START, "error during container init: exec /x: exec format error", "architecture"),
            (START, "nvml error: driver/library version mismatch: unknown", "GPU driver"),
            (START, "error mounting \"/a\" to rootfs at \"/b\": not a directory", "a mount failed"),
            (START, "memory limit too low, container init was OOM-killed", "`resources.memory`"),
            (
                START,
                "chdir to cwd (\"/w\") set in config.json failed: no such file or directory",
                "`workdir`",
            ),
            (
                START,
                "unable to apply cgroup configuration: no such file or directory",
                "container runtime failed",
            ),
            (CREATE, "failed to generate spec: no command specified", "set `command`"),
            (CREATE, "failed to sync secret cache: timed out waiting for the condition", "within seconds"),
            (CREATE, "couldn't find key K in Secret n/s", "lacks the key"),
            (CREATE, "secret \"nowhere\" not found", "does not exist"),
            (CREATE, "configmap \"nowhere\" not found", "does not exist"),
            (CREATE, "container has runAsNonRoot and image will run as root", "`run.run_as_user`"),
            (CREATE, "context deadline exceeded", "container runtime"),
            (CREATE, "failed to prepare subPath for volumeMount \"x\"", "volume"),
            (
                VOLUME,
                "Multi-Attach error for volume \"p\" Volume is already used by pod(s) o",
                "another node",
            ),
            (VOLUME, "MountVolume.SetUp failed for volume \"x\" : secret \"y\" not found", "does not exist"),
            (
                VOLUME,
                "Unable to attach or mount volumes: timed out waiting for the condition",
                "can take a while",
            ),
            (ADMISSION, "failed calling webhook \"n\": failed to call webhook: Post", "does not respond"),
            (ADMISSION, "admission webhook \"n\" denied the request: no", "or the webhook must change"),
            (
                ADMISSION,
                "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                "or the policy must change",
            ),
            (
                ADMISSION,
                "policy 'p' with binding 'b' denied request: error applying patch",
                "or the policy must change",
            ),
            (ADMISSION, "exceeded quota: q, requested: pods=1", "ResourceQuota is used up"),
            (ADMISSION, "violates PodSecurity \"restricted:latest\"", "stricter"),
            (ADMISSION, "maximum cpu usage per Container is 1", "LimitRange"),
            (ADMISSION, "because it is being terminated", "namespace of the jobs is being deleted"),
            (
                EVICTION,
                "Usage of EmptyDir volume \"tmp\" exceeds the limit \"8Mi\".",
                "`resources.ephemeral_storage`",
            ),
            (EVICTION, "The node was low on resource: memory.", "short of memory"),
            (EVICTION, "The node was low on resource: pids.", "process ids"),
            (EVICTION, "The node had condition: [DiskPressure].", "storage or inodes"),
        ] {
            let found = matching_rule(rules, message).map(|rule| rule.hint).unwrap_or_default();
            assert!(found.contains(expected), "`{message}`: `{found}`");
        }
        for rules in [IMAGE_PULL, START, CREATE, VOLUME, ADMISSION, EVICTION] {
            assert_eq!(matching_rule(rules, "a message of a later release"), None);
        }
    }
}
