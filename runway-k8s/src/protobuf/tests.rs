//! Compares decoded protobuf with decoded JSON of the same objects.

use super::test_encode::{
    TestField, encode_message, in_envelope, int, map_entry, nested, put_varint, string, time, watch_event,
};
use super::*;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::{from_value, json};

fn metadata() -> TestField {
    nested(&[
        (1, string("train")),
        (2, string("")),
        (3, string("runway-jobs")),
        (4, string("")),
        (5, string("u-1")),
        (6, string("77")),
        (7, int(1)),
        (8, time(1_800_000_000)),
        (9, time(1_800_000_060)),
        (10, int(0)),
        (11, map_entry("runway.dev/id", string("abc"))),
        (11, map_entry("empty", string(""))),
        (12, map_entry("runway.dev/quote", string("{}"))),
        (
            13,
            nested(&[(1, string("Job")), (3, string("train")), (4, string("u-2")), (6, int(1)), (7, int(1))]),
        ),
        (17, TestField::Bytes(vec![0xff; 200])),
    ])
}

/// A volume whose source is in the field `source` and has the reference of an image.
fn volume(name: &str, source: u8) -> TestField {
    let image = nested(&[(1, string("registry.internal/model:7")), (2, string("IfNotPresent"))]);
    nested(&[(1, string(name)), (2, nested(&[(source, image)]))])
}

fn template() -> TestField {
    let secret = |name: &str| nested(&[(1, nested(&[(1, string(name))])), (2, string("KEY"))]);
    let resources = nested(&[
        (1, map_entry("cpu", nested(&[(1, string("2"))]))),
        (1, map_entry("nvidia.com/gpu", nested(&[(1, string("4"))]))),
        (2, map_entry("cpu", nested(&[(1, string("2"))]))),
    ]);
    let container = nested(&[
        (1, string("job")),
        (2, string("registry.internal/embed:1")),
        (3, string("python")),
        (7, nested(&[(1, string("PLAIN")), (2, string("large"))])),
        (7, nested(&[(1, string("KEY")), (2, string("")), (3, nested(&[(4, secret("train"))]))])),
        (8, resources),
        (18, TestField::Varint(0)),
    ]);
    let init =
        nested(&[(1, string("proxy")), (2, string("proxy:1")), (8, nested(&[])), (24, string("Always"))]);
    nested(&[
        (1, nested(&[(1, string("not read"))])),
        (
            2,
            nested(&[
                (1, volume("scratch", 2)),
                (1, volume("model", 30)),
                (2, container),
                (3, string("Never")),
                (4, int(30)),
                (10, string("node1")),
                (20, init),
                (38, nested(&[(1, string("example.com/quota"))])),
            ]),
        ),
    ])
}

#[test]
fn job_decodes_as_its_json() {
    let condition = nested(&[
        (1, string("Failed")),
        (2, string("True")),
        (3, time(1_800_000_001)),
        (4, time(1_800_000_002)),
        (5, string("DeadlineExceeded")),
        (6, string("too late")),
    ]);
    let spec = nested(&[
        (1, int(1)),
        (2, int(0)),
        (3, int(900)),
        (6, template()),
        (7, int(0)),
        (8, int(300)),
        (9, string("Indexed")),
        (10, int(1)),
        (15, string("example.com/controller")),
    ]);
    let uncounted = nested(&[(1, string("p-1")), (1, string("p-2")), (2, string("p-3"))]);
    let status = nested(&[
        (1, condition),
        (2, time(1_800_000_000)),
        (3, nested(&[])),
        (4, int(0)),
        (5, int(2)),
        (6, int(3)),
        (8, uncounted),
        (9, int(0)),
        (10, string("1-3")),
    ]);
    let decoded: Job = decode_object(&in_envelope(&[(1, metadata()), (2, spec), (3, status)])).unwrap();
    let expected: Job = from_value(json!({
        "metadata": {
            "name": "train", "namespace": "runway-jobs", "uid": "u-1", "resourceVersion": "77",
            "creationTimestamp": "2027-01-15T08:00:00Z", "deletionTimestamp": "2027-01-15T08:01:00Z",
            "deletionGracePeriodSeconds": 0, "labels": {"runway.dev/id": "abc", "empty": ""},
            "annotations": {"runway.dev/quote": "{}"},
            "ownerReferences": [
                {"apiVersion": "", "kind": "Job", "name": "", "uid": "u-2", "controller": true},
            ],
        },
        "spec": {
            "parallelism": 1, "completions": 0, "activeDeadlineSeconds": 900, "backoffLimit": 0,
            "completionMode": "Indexed", "suspend": true, "managedBy": "example.com/controller",
            "template": {"spec": {
                "containers": [{
                    "name": "job", "image": "registry.internal/embed:1",
                    "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "train", "key": "KEY"}}}],
                    "resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "4"}},
                }],
                "initContainers": [
                    {"name": "proxy", "image": "proxy:1", "resources": {}, "restartPolicy": "Always"},
                ],
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 30, "nodeName": "node1",
                "schedulingGates": [{"name": "example.com/quota"}],
                "volumes": [{"name": "model", "image": {"reference": "registry.internal/model:7"}}],
            }},
        },
        "status": {
            "conditions": [{
                "type": "Failed", "status": "True", "lastTransitionTime": "2027-01-15T08:00:02Z",
                "reason": "DeadlineExceeded", "message": "too late",
            }],
            "startTime": "2027-01-15T08:00:00Z", "succeeded": 2, "failed": 3, "ready": 0,
            "failedIndexes": "1-3",
            "uncountedTerminatedPods": {"succeeded": ["p-1", "p-2"], "failed": ["p-3"]},
        },
    }))
    .unwrap();
    assert_eq!(decoded, expected);
}

#[test]
fn create_response_decodes_uid_and_time() {
    let response: CreateResponse =
        decode_object(&in_envelope(&[(1, metadata()), (2, nested(&[(6, template())])), (3, string(""))]))
            .unwrap();
    assert_eq!(response.uid.as_deref(), Some("u-1"));
    assert_eq!(response.created_at.unwrap().0.as_second(), 1_800_000_000);
    let nothing: CreateResponse =
        decode_object(&in_envelope(&[(1, nested(&[(5, string("")), (8, nested(&[]))]))])).unwrap();
    assert!(nothing.uid.is_none() && nothing.created_at.is_none());
    let cut = in_envelope(&[(1, TestField::Bytes(vec![0x2a, 9]))]);
    assert_eq!(decode_object::<CreateResponse>(&cut).unwrap_err(), DecodeError::Truncated);
}

#[test]
fn pod_decodes_as_its_json() {
    let terminated = nested(&[
        (1, int(-1)),
        (2, int(9)),
        (3, string("OOMKilled")),
        (4, string("told")),
        (5, time(1_800_000_003)),
        (6, time(1_800_000_004)),
        (7, string("containerd://x")),
    ]);
    let container = nested(&[
        (1, string("job")),
        (2, nested(&[(3, terminated)])),
        (3, nested(&[(1, nested(&[(1, string("CrashLoopBackOff")), (2, string("back-off"))]))])),
        (4, int(1)),
        (5, int(2)),
        (6, string("embed:1")),
        (7, string("sha256:x")),
        (9, int(1)),
    ]);
    let init = nested(&[
        (1, string("proxy")),
        (2, nested(&[(2, nested(&[(1, time(1_800_000_005))]))])),
        (3, nested(&[])),
        (4, int(0)),
        (5, int(0)),
        (6, string("proxy:1")),
        (7, string("")),
    ]);
    let condition = nested(&[
        (1, string("PodScheduled")),
        (2, string("False")),
        (3, nested(&[])),
        (4, time(1_800_000_002)),
        (5, string("Unschedulable")),
        (6, string("0/1 nodes")),
    ]);
    let status = nested(&[
        (1, string("Failed")),
        (2, condition),
        (3, string("The node was low on resource")),
        (4, string("Evicted")),
        (5, string("10.0.0.1")),
        (7, time(1_800_000_001)),
        (8, container),
        (9, string("Guaranteed")),
        (10, init),
    ]);
    let decoded: Pod = decode_object(&in_envelope(&[(1, metadata()), (3, status)])).unwrap();
    let expected: Pod = from_value(json!({
        "metadata": decoded.metadata,
        "status": {
            "phase": "Failed", "message": "The node was low on resource", "reason": "Evicted",
            "startTime": "2027-01-15T08:00:01Z",
            "conditions": [{
                "type": "PodScheduled", "status": "False", "lastTransitionTime": "2027-01-15T08:00:02Z",
                "reason": "Unschedulable", "message": "0/1 nodes",
            }],
            "containerStatuses": [{
                "name": "job", "image": "embed:1", "imageID": "", "ready": true, "restartCount": 2, "started": true,
                "state": {"terminated": {
                    "exitCode": -1, "signal": 9, "reason": "OOMKilled", "message": "told",
                    "startedAt": "2027-01-15T08:00:03Z", "finishedAt": "2027-01-15T08:00:04Z",
                }},
                "lastState": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
            }],
            "initContainerStatuses": [{
                "name": "proxy", "image": "proxy:1", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"running": {"startedAt": "2027-01-15T08:00:05Z"}}, "lastState": {},
            }],
        },
    }))
    .unwrap();
    assert_eq!(decoded, expected);
}

#[test]
fn event_decodes_as_its_json() {
    let about = nested(&[
        (1, string("Job")),
        (2, string("runway-jobs")),
        (3, string("train")),
        (4, string("u-1")),
        (5, string("batch/v1")),
        (6, string("")),
        (7, string("spec.containers{job}")),
    ]);
    let precise = nested(&[(1, int(1_800_000_000)), (2, int(5_000))]);
    let fields = [
        (1, nested(&[(1, string("train.1"))])),
        (2, about),
        (3, string("FailedCreate")),
        (4, string("exceeded quota")),
        (5, nested(&[(1, string("job-controller")), (2, string("node1"))])),
        (6, time(1_800_000_000)),
        (7, time(1_800_000_001)),
        (8, int(3)),
        (9, string("Warning")),
        (10, precise),
        (11, nested(&[(1, int(2)), (2, nested(&[(1, int(1_800_000_002)), (2, int(0))]))])),
        (14, string("job-controller")),
    ];
    let decoded: Event = decode_object(&in_envelope(&fields)).unwrap();
    let expected: Event = from_value(json!({
        "metadata": {"name": "train.1"},
        "involvedObject": {
            "kind": "Job", "namespace": "runway-jobs", "name": "train", "uid": "u-1", "fieldPath": "spec.containers{job}",
        },
        "reason": "FailedCreate", "message": "exceeded quota", "count": 3, "type": "Warning",
        "source": {"component": "job-controller"}, "reportingComponent": "job-controller",
        "firstTimestamp": "2027-01-15T08:00:00Z", "lastTimestamp": "2027-01-15T08:00:01Z",
        "eventTime": "2027-01-15T08:00:00.000005Z",
        "series": {"count": 2, "lastObservedTime": "2027-01-15T08:00:02.000000Z"},
    }))
    .unwrap();
    assert_eq!(decoded, expected);
}

#[test]
fn list_pages_and_watch_events_decode() {
    let job = |name: &str| nested(&[(1, nested(&[(1, string(name))]))]);
    let list = in_envelope(&[
        (1, nested(&[(1, string("")), (2, string("9")), (3, string("more")), (4, int(2))])),
        (2, job("a")),
        (2, job("b")),
    ]);
    let page: Page<Job> = decode_object(&list).unwrap();
    let names: Vec<_> = page.items.iter().map(|job| job.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        (page.metadata.resource_version, page.metadata.continue_),
        (Some("9".into()), Some("more".into()))
    );
    let last: Page<Job> =
        decode_object(&in_envelope(&[(1, nested(&[(2, string("9")), (3, string(""))]))])).unwrap();
    assert_eq!((last.metadata.continue_, last.items.len()), (None, 0));

    let named = [(1, nested(&[(1, string("a")), (6, string("9"))]))];
    let decode = |kind| decode_watch_event::<Job>(&watch_event(kind, &named)).unwrap();
    assert!(
        matches!(decode("ADDED"), RawWatchEvent::Applied(job) if job.metadata.name.as_deref() == Some("a"))
    );
    assert!(matches!(decode("MODIFIED"), RawWatchEvent::Applied(_)));
    assert!(matches!(decode("DELETED"), RawWatchEvent::Deleted(_)));
    assert!(
        matches!(decode("BOOKMARK"), RawWatchEvent::Bookmark(job) if job.metadata.resource_version.as_deref() == Some("9"))
    );
    assert!(matches!(decode("LATER"), RawWatchEvent::Unknown));
    let status = [(2, string("Failure")), (3, string("too old")), (4, string("Expired")), (6, int(410))];
    let decoded = decode_watch_event::<Job>(&watch_event("ERROR", &status)).unwrap();
    let RawWatchEvent::Error(status) = decoded else { panic!("{decoded:?}") };
    assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), (410, "Expired", "too old"));
}

#[test]
fn unknown_fields_are_ignored() {
    let fields = [
        (99, TestField::Varint(u64::MAX)),
        (100, TestField::Fixed64),
        (101, TestField::Fixed32),
        (102, string("later")),
        (1, nested(&[(1, string("train"))])),
    ];
    let job: Job = decode_object(&in_envelope(&fields)).unwrap();
    assert_eq!(job.metadata.name.as_deref(), Some("train"));
    // If a field occurs twice, the last value counts. Invalid UTF-8 in a string is replaced.
    let twice = [(1, nested(&[(1, string("a"))])), (1, nested(&[(1, TestField::Bytes(vec![b'b', 0xff]))]))];
    assert_eq!(
        decode_object::<Job>(&in_envelope(&twice)).unwrap().metadata.name.as_deref(),
        Some("b\u{fffd}")
    );
    // An entry without a value has an empty value.
    let bare = [(1, nested(&[(11, nested(&[(1, string("key"))]))]))];
    let labels = decode_object::<Job>(&in_envelope(&bare)).unwrap().metadata.labels.unwrap();
    assert_eq!(labels.get("key").map(String::as_str), Some(""));
}

#[test]
fn malformed_messages_fail_to_decode() {
    let read = |bytes: &[u8]| decode_object::<Job>(bytes).unwrap_err();
    assert_eq!(read(b"{\"kind\":\"Job\"}"), DecodeError::MissingMagic);
    assert_eq!(read(b"k8s"), DecodeError::MissingMagic);
    let whole = in_envelope(&[(1, nested(&[(1, string("train"))]))]);
    for cut in 5..whole.len() {
        // If the envelope is cut between two fields, the rest decodes without an error.
        if let Err(error) = decode_object::<Job>(&whole[..cut]) {
            assert_eq!(error, DecodeError::Truncated, "{cut}");
        }
    }
    let job = |fields: &[(u8, TestField)]| decode_object::<Job>(&in_envelope(fields)).unwrap_err();
    assert_eq!(job(&[(1, TestField::Varint(3))]), DecodeError::TypeMismatch);
    assert_eq!(job(&[(2, nested(&[(1, string("1"))]))]), DecodeError::TypeMismatch);
    assert_eq!(job(&[(2, nested(&[(1, int(i64::from(i32::MAX) + 1))]))]), DecodeError::TypeMismatch);
    assert_eq!(job(&[(2, TestField::Fixed32)]), DecodeError::TypeMismatch);
    // Wire types 3 and 4 are groups, which Kubernetes does not use. Wire types 6 and 7 do not exist.
    for key in [11, 12, 14, 15] {
        let expected = DecodeError::InvalidKey { key: u64::from(key) };
        assert_eq!(<Job as Message>::decode(&[key]).unwrap_err(), expected);
    }
    assert_eq!(<Job as Message>::decode(&[0, 0]).unwrap_err(), DecodeError::InvalidKey { key: 0 });
    // The longest varint has ten bytes. It decodes, but field 1 must not be an integer. A varint that
    // continues after its tenth byte is an error.
    let mut longest = vec![8];
    put_varint(&mut longest, u64::MAX);
    assert_eq!(longest.len(), 11);
    assert_eq!(<Job as Message>::decode(&longest).unwrap_err(), DecodeError::TypeMismatch);
    assert_eq!(
        <Job as Message>::decode(&[[8].as_slice(), &[0x80; 10]].concat()).unwrap_err(),
        DecodeError::VarintTooLong
    );
    // The declared length of the field exceeds the rest of the input.
    let mut huge = vec![10];
    put_varint(&mut huge, u64::MAX);
    assert_eq!(<Job as Message>::decode(&huge).unwrap_err(), DecodeError::Truncated);
}

#[test]
fn go_zero_time_decodes_as_none() {
    let created = |seconds| {
        let job: Job = decode_object(&in_envelope(&[(1, nested(&[(8, time(seconds))]))])).unwrap();
        job.metadata.creation_timestamp
    };
    assert_eq!((created(0), created(-62_135_596_800)), (None, None));
    assert_eq!(created(1).unwrap().0.as_second(), 1);
    let job = encode_message(&[(1, nested(&[(8, time(i64::MAX))]))]);
    assert_eq!(<Job as Message>::decode(&job).unwrap_err(), DecodeError::TypeMismatch);
}
