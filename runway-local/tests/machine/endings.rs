//! Every way in which a job can end.

use crate::bed::{Bed, command, ended, script};
use runway_core::JobSpec;
use runway_core::status::{Phase, Reason};
use std::time::{Duration, Instant};

#[test]
fn a_job_that_does_well() {
    let bed = Bed::new();
    let ran = bed.run(script("echo hello; echo oh >&2"));
    assert_eq!(
        (ran.seen.status.phase, ran.seen.status.reason),
        (Phase::Succeeded, None),
        "{:?}",
        ran.seen.status
    );
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("hello\n", "oh\n"));
    assert_eq!((ran.seen.status.exit_code, ran.seen.status.attempts), (Some(0), 1));
}
