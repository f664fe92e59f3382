//! Compares decoded protobuf with decoded JSON of the same objects.

use super::written::{Field, change, entry, message, nested, number, packed, put, text, time};
use super::*;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use serde_json::{from_value, json};

fn metadata() -> Field {
    nested(&[
        (1, text("train")),
        (2, text("")),
        (3, text("runway-jobs")),
        (4, text("")),
        (5, text("u-1")),
        (6, text("77")),
        (7, number(1)),
        (8, time(1_800_000_000)),
        (9, time(1_800_000_060)),
        (10, number(0)),
        (11, entry("runway.dev/id", text("abc"))),
        (11, entry("empty", text(""))),
        (12, entry("runway.dev/quote", text("{}"))),
        (17, Field::Bytes(vec![0xff; 200])),
    ])
}

fn template() -> Field {
    let secret = |name: &str| nested(&[(1, nested(&[(1, text(name))])), (2, text("KEY"))]);
    let resources = nested(&[
        (1, entry("cpu", nested(&[(1, text("2"))]))),
        (1, entry("nvidia.com/gpu", nested(&[(1, text("4"))]))),
        (2, entry("cpu", nested(&[(1, text("2"))]))),
    ]);
    let container = nested(&[
        (1, text("job")),
        (2, text("registry.internal/embed:1")),
        (3, text("python")),
        (7, nested(&[(1, text("PLAIN")), (2, text("large"))])),
        (7, nested(&[(1, text("KEY")), (2, text("")), (3, nested(&[(4, secret("train"))]))])),
        (8, resources),
        (18, Field::Number(0)),
    ]);
    let init = nested(&[(1, text("proxy")), (2, text("proxy:1")), (8, nested(&[])), (24, text("Always"))]);
    nested(&[
        (1, nested(&[(1, text("not read"))])),
        (2, nested(&[(2, container), (3, text("Never")), (4, number(30)), (10, text("node1")), (20, init)])),
    ])
}

#[test]
fn a_job() {
    let condition = nested(&[
        (1, text("Failed")),
        (2, text("True")),
        (3, time(1_800_000_001)),
        (4, time(1_800_000_002)),
        (5, text("DeadlineExceeded")),
        (6, text("too late")),
    ]);
    let spec = nested(&[
        (1, number(1)),
        (2, number(0)),
        (3, number(900)),
        (6, template()),
        (7, number(0)),
        (8, number(300)),
        (9, text("Indexed")),
        (10, number(1)),
    ]);
    let uncounted = nested(&[(1, text("p-1")), (1, text("p-2")), (2, text("p-3"))]);
    let status = nested(&[
        (1, condition),
        (2, time(1_800_000_000)),
        (3, nested(&[])),
        (4, number(0)),
        (5, number(2)),
        (6, number(3)),
        (8, uncounted),
        (9, number(0)),
    ]);
    let read: Job = object(&packed(&[(1, metadata()), (2, spec), (3, status)])).unwrap();
    let written: Job = from_value(json!({
        "metadata": {
            "name": "train", "namespace": "runway-jobs", "uid": "u-1", "resourceVersion": "77",
            "creationTimestamp": "2027-01-15T08:00:00Z", "deletionTimestamp": "2027-01-15T08:01:00Z",
            "deletionGracePeriodSeconds": 0, "labels": {"runway.dev/id": "abc", "empty": ""},
            "annotations": {"runway.dev/quote": "{}"},
        },
        "spec": {
            "parallelism": 1, "completions": 0, "activeDeadlineSeconds": 900, "backoffLimit": 0,
            "completionMode": "Indexed", "suspend": true,
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
            }},
        },
        "status": {
            "conditions": [{
                "type": "Failed", "status": "True", "lastTransitionTime": "2027-01-15T08:00:02Z",
                "reason": "DeadlineExceeded", "message": "too late",
            }],
            "startTime": "2027-01-15T08:00:00Z", "succeeded": 2, "failed": 3, "ready": 0,
            "uncountedTerminatedPods": {"succeeded": ["p-1", "p-2"], "failed": ["p-3"]},
        },
    }))
    .unwrap();
    assert_eq!(read, written);
}

#[test]
fn what_was_made() {
    let made: Made =
        object(&packed(&[(1, metadata()), (2, nested(&[(6, template())])), (3, text(""))])).unwrap();
    assert_eq!(made.uid.as_deref(), Some("u-1"));
    assert_eq!(made.created.unwrap().0.as_second(), 1_800_000_000);
    let nothing: Made = object(&packed(&[(1, nested(&[(5, text("")), (8, nested(&[]))]))])).unwrap();
    assert!(nothing.uid.is_none() && nothing.created.is_none());
    let cut = packed(&[(1, Field::Bytes(vec![0x2a, 9]))]);
    assert_eq!(object::<Made>(&cut).unwrap_err(), Malformed::Cut);
}

#[test]
fn a_pod() {
    let terminated = nested(&[
        (1, number(-1)),
        (2, number(9)),
        (3, text("OOMKilled")),
        (4, text("told")),
        (5, time(1_800_000_003)),
        (6, time(1_800_000_004)),
        (7, text("containerd://x")),
    ]);
    let container = nested(&[
        (1, text("job")),
        (2, nested(&[(3, terminated)])),
        (3, nested(&[(1, nested(&[(1, text("CrashLoopBackOff")), (2, text("back-off"))]))])),
        (4, number(1)),
        (5, number(2)),
        (6, text("embed:1")),
        (7, text("sha256:x")),
    ]);
    let init = nested(&[
        (1, text("proxy")),
        (2, nested(&[(2, nested(&[(1, time(1_800_000_005))]))])),
        (3, nested(&[])),
        (4, number(0)),
        (5, number(0)),
        (6, text("proxy:1")),
        (7, text("")),
    ]);
    let condition = nested(&[
        (1, text("PodScheduled")),
        (2, text("False")),
        (3, nested(&[])),
        (4, time(1_800_000_002)),
        (5, text("Unschedulable")),
        (6, text("0/1 nodes")),
    ]);
    let status = nested(&[
        (1, text("Failed")),
        (2, condition),
        (3, text("The node was low on resource")),
        (4, text("Evicted")),
        (5, text("10.0.0.1")),
        (7, time(1_800_000_001)),
        (8, container),
        (9, text("Guaranteed")),
        (10, init),
    ]);
    let read: Pod = object(&packed(&[(1, metadata()), (3, status)])).unwrap();
    let written: Pod = from_value(json!({
        "metadata": read.metadata,
        "status": {
            "phase": "Failed", "message": "The node was low on resource", "reason": "Evicted",
            "startTime": "2027-01-15T08:00:01Z",
            "conditions": [{
                "type": "PodScheduled", "status": "False", "lastTransitionTime": "2027-01-15T08:00:02Z",
                "reason": "Unschedulable", "message": "0/1 nodes",
            }],
            "containerStatuses": [{
                "name": "job", "image": "embed:1", "imageID": "", "ready": true, "restartCount": 2,
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
    assert_eq!(read, written);
}

#[test]
fn an_event() {
    let about = nested(&[
        (1, text("Job")),
        (2, text("runway-jobs")),
        (3, text("train")),
        (4, text("u-1")),
        (5, text("batch/v1")),
        (6, text("")),
        (7, text("spec.containers{job}")),
    ]);
    let precise = nested(&[(1, number(1_800_000_000)), (2, number(5_000))]);
    let fields = [
        (1, nested(&[(1, text("train.1"))])),
        (2, about),
        (3, text("FailedCreate")),
        (4, text("exceeded quota")),
        (6, time(1_800_000_000)),
        (7, time(1_800_000_001)),
        (8, number(3)),
        (9, text("Warning")),
        (10, precise),
        (11, nested(&[(1, number(2)), (2, nested(&[(1, number(1_800_000_002)), (2, number(0))]))])),
    ];
    let read: Event = object(&packed(&fields)).unwrap();
    let written: Event = from_value(json!({
        "metadata": {"name": "train.1"},
        "involvedObject": {
            "kind": "Job", "namespace": "runway-jobs", "name": "train", "uid": "u-1", "fieldPath": "spec.containers{job}",
        },
        "reason": "FailedCreate", "message": "exceeded quota",
        "firstTimestamp": "2027-01-15T08:00:00Z", "lastTimestamp": "2027-01-15T08:00:01Z",
        "eventTime": "2027-01-15T08:00:00.000005Z",
        "series": {"lastObservedTime": "2027-01-15T08:00:02.000000Z"},
    }))
    .unwrap();
    assert_eq!(read, written);
}

#[test]
fn a_page_and_what_is_told_after_it() {
    let job = |name: &str| nested(&[(1, nested(&[(1, text(name))]))]);
    let list = packed(&[
        (1, nested(&[(1, text("")), (2, text("9")), (3, text("more")), (4, number(2))])),
        (2, job("a")),
        (2, job("b")),
    ]);
    let page: Page<Job> = object(&list).unwrap();
    let names: Vec<_> = page.items.iter().map(|job| job.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(
        (page.metadata.resource_version, page.metadata.continue_),
        (Some("9".into()), Some("more".into()))
    );
    let last: Page<Job> = object(&packed(&[(1, nested(&[(2, text("9")), (3, text(""))]))])).unwrap();
    assert_eq!((last.metadata.continue_, last.items.len()), (None, 0));

    let named = [(1, nested(&[(1, text("a")), (6, text("9"))]))];
    let told = |kind| super::change::<Job>(&change(kind, &named)).unwrap();
    assert!(matches!(told("ADDED"), Change::Applied(job) if job.metadata.name.as_deref() == Some("a")));
    assert!(matches!(told("MODIFIED"), Change::Applied(_)));
    assert!(matches!(told("DELETED"), Change::Deleted(_)));
    assert!(
        matches!(told("BOOKMARK"), Change::Bookmark(job) if job.metadata.resource_version.as_deref() == Some("9"))
    );
    assert!(matches!(told("LATER"), Change::Other));
    let status = [(2, text("Failure")), (3, text("too old")), (4, text("Expired")), (6, number(410))];
    let told = super::change::<Job>(&change("ERROR", &status)).unwrap();
    let Change::Error(status) = told else { panic!("{told:?}") };
    assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), (410, "Expired", "too old"));
}

#[test]
fn what_is_not_known_is_passed_over() {
    let fields = [
        (99, Field::Number(u64::MAX)),
        (100, Field::Fixed64),
        (101, Field::Fixed32),
        (102, text("later")),
        (1, nested(&[(1, text("train"))])),
    ];
    let job: Job = object(&packed(&fields)).unwrap();
    assert_eq!(job.metadata.name.as_deref(), Some("train"));
    // The last value of a field counts. A string can contain invalid UTF-8.
    let twice = [(1, nested(&[(1, text("a"))])), (1, nested(&[(1, Field::Bytes(vec![b'b', 0xff]))]))];
    assert_eq!(object::<Job>(&packed(&twice)).unwrap().metadata.name.as_deref(), Some("b\u{fffd}"));
    // An entry without a value has an empty value.
    let bare = [(1, nested(&[(11, nested(&[(1, text("key"))]))]))];
    let labels = object::<Job>(&packed(&bare)).unwrap().metadata.labels.unwrap();
    assert_eq!(labels.get("key").map(String::as_str), Some(""));
}

#[test]
fn what_is_malformed_is_an_error() {
    let read = |bytes: &[u8]| object::<Job>(bytes).unwrap_err();
    assert_eq!(read(b"{\"kind\":\"Job\"}"), Malformed::NoMagic);
    assert_eq!(read(b"k8s"), Malformed::NoMagic);
    let whole = packed(&[(1, nested(&[(1, text("train"))]))]);
    for cut in 5..whole.len() {
        // If the envelope is cut between two fields, the rest decodes without an error.
        if let Err(error) = object::<Job>(&whole[..cut]) {
            assert_eq!(error, Malformed::Cut, "{cut}");
        }
    }
    let job = |fields: &[(u8, Field)]| object::<Job>(&packed(fields)).unwrap_err();
    assert_eq!(job(&[(1, Field::Number(3))]), Malformed::OtherType);
    assert_eq!(job(&[(2, nested(&[(1, text("1"))]))]), Malformed::OtherType);
    assert_eq!(job(&[(2, nested(&[(1, number(i64::from(i32::MAX) + 1))]))]), Malformed::OtherType);
    assert_eq!(job(&[(2, Field::Fixed32)]), Malformed::OtherType);
    // Groups, and unknown wire types.
    for key in [11, 12, 14, 15] {
        let told = Malformed::NoField { key: u64::from(key) };
        assert_eq!(<Job as Message>::read(&[key]).unwrap_err(), told);
    }
    assert_eq!(<Job as Message>::read(&[0, 0]).unwrap_err(), Malformed::NoField { key: 0 });
    // The varint of 64 bits takes ten bytes; eleven bytes are an error.
    let mut longest = vec![8];
    put(&mut longest, u64::MAX);
    assert_eq!(longest.len(), 11);
    assert_eq!(<Job as Message>::read(&longest).unwrap_err(), Malformed::OtherType);
    assert_eq!(
        <Job as Message>::read(&[[8].as_slice(), &[0x80; 10]].concat()).unwrap_err(),
        Malformed::TooLong
    );
    // The length exceeds the input.
    let mut huge = vec![10];
    put(&mut huge, u64::MAX);
    assert_eq!(<Job as Message>::read(&huge).unwrap_err(), Malformed::Cut);
}

#[test]
fn gos_zero_time_is_none() {
    let created = |seconds| {
        let job: Job = object(&packed(&[(1, nested(&[(8, time(seconds))]))])).unwrap();
        job.metadata.creation_timestamp
    };
    assert_eq!((created(0), created(-62_135_596_800)), (None, None));
    assert_eq!(created(1).unwrap().0.as_second(), 1);
    let job = message(&[(1, nested(&[(8, time(i64::MAX))]))]);
    assert_eq!(<Job as Message>::read(&job).unwrap_err(), Malformed::OtherType);
}
