//! Tests of the calls that an observer receives.

use crate::set::seconds;
use runway_control::fake::FakeCluster;
use runway_control::{ControlPlane, JobRecord, Observer, Settings};
use runway_core::JobId;
use runway_core::status::Phase;
use runway_core::units::Timestamp;
use runway_testing::env::{VirtualEnv, in_virtual_time};
use runway_testing::jobs::spec;
use runway_testing::policies;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Default)]
struct Notes {
    decisions: Mutex<usize>,
    creations: Mutex<usize>,
    ends: Mutex<Vec<(JobId, Phase)>>,
}

impl Observer for Notes {
    fn decided(&self, _: Duration) {
        *self.decisions.lock().unwrap() += 1;
    }

    fn create_answered(&self, _: Duration) {
        *self.creations.lock().unwrap() += 1;
    }

    fn ended(&self, job: &JobRecord, _: Timestamp) {
        self.ends.lock().unwrap().push((job.seen.id, job.seen.status.phase));
    }
}

#[test]
fn each_end_is_told_once_and_none_that_came_before() {
    in_virtual_time(async {
        let surroundings = VirtualEnv::new(1);
        let cluster = FakeCluster::new(surroundings.clone());
        let policy = policies::parse(policies::SMALL);
        let begin = || async {
            let notes = Arc::new(Notes::default());
            let (backend, observer) = (Arc::new(cluster.connect()), Arc::clone(&notes));
            let settings = Settings::default();
            let plane = ControlPlane::with_observer(
                backend,
                Arc::clone(&policy),
                surroundings.clone(),
                settings,
                observer,
            );
            tokio::spawn(plane.clone().run());
            plane.ready().await;
            (plane, notes)
        };
        let (plane, notes) = begin().await;
        let mut jobs = Vec::new();
        for name in ["ends", "is-deleted"] {
            jobs.push(plane.submit(spec("a", name, 0).into(), None).await.unwrap().job().seen.id);
        }
        plane.submit(spec("a", "too-large", 9).into(), None).await.unwrap_err();
        assert_eq!((*notes.decisions.lock().unwrap(), *notes.creations.lock().unwrap()), (3, 2));
        seconds(5).await;
        cluster.delete(jobs[1], Duration::ZERO);
        seconds(400).await; // until the first job is deleted too
        assert_eq!(*notes.ends.lock().unwrap(), [(jobs[1], Phase::Unknown), (jobs[0], Phase::Succeeded)]);
        let third = plane.submit(spec("a", "ends-too", 0).into(), None).await.unwrap().job().seen.id;
        seconds(20).await;
        assert_eq!(notes.ends.lock().unwrap().last(), Some(&(third, Phase::Succeeded)));
        let (later, notes) = begin().await;
        assert_eq!(later.phases()[&Phase::Succeeded], 1, "the job still exists");
        seconds(400).await;
        assert!(notes.ends.lock().unwrap().is_empty(), "jobs that had finished before are not reported");
        assert_eq!(later.phases()[&Phase::Succeeded], 0, "the job was removed and is not counted");
    });
}
