//! Tests of the calls that an observer receives.

use crate::harness::sleep_seconds;
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
struct RecordingObserver {
    decisions: Mutex<usize>,
    creations: Mutex<usize>,
    finished: Mutex<Vec<(JobId, Phase)>>,
}

impl Observer for RecordingObserver {
    fn on_decision(&self, _: Duration) {
        *self.decisions.lock().unwrap() += 1;
    }

    fn on_create_response(&self, _: Duration) {
        *self.creations.lock().unwrap() += 1;
    }

    fn on_finished(&self, job: &JobRecord, _: Timestamp) {
        self.finished.lock().unwrap().push((job.snapshot.id, job.snapshot.status.phase));
    }
}

#[test]
fn observer_gets_each_finished_job_once() {
    in_virtual_time(async {
        let env = VirtualEnv::new(1);
        let cluster = FakeCluster::new(env.clone());
        let policy = policies::parse(policies::SMALL);
        let start = || async {
            let recorded = Arc::new(RecordingObserver::default());
            let (backend, observer) = (Arc::new(cluster.connect()), Arc::clone(&recorded));
            let settings = Settings::default();
            let plane =
                ControlPlane::with_observer(backend, Arc::clone(&policy), env.clone(), settings, observer);
            tokio::spawn(plane.clone().run());
            plane.ready().await;
            (plane, recorded)
        };
        let (plane, recorded) = start().await;
        let mut jobs = Vec::new();
        for name in ["ends", "is-deleted"] {
            jobs.push(plane.submit(spec("a", name, 0).into(), None).await.unwrap().job().snapshot.id);
        }
        plane.submit(spec("a", "too-large", 9).into(), None).await.unwrap_err();
        assert_eq!((*recorded.decisions.lock().unwrap(), *recorded.creations.lock().unwrap()), (3, 2));
        sleep_seconds(5).await;
        cluster.delete(jobs[1], Duration::ZERO);
        // The cluster deletes the first job 300 s after its end.
        sleep_seconds(400).await;
        assert_eq!(
            *recorded.finished.lock().unwrap(),
            [(jobs[1], Phase::Unknown), (jobs[0], Phase::Succeeded)]
        );
        let third = plane.submit(spec("a", "ends-too", 0).into(), None).await.unwrap().job().snapshot.id;
        sleep_seconds(20).await;
        assert_eq!(recorded.finished.lock().unwrap().last(), Some(&(third, Phase::Succeeded)));
        let (restarted, recorded) = start().await;
        assert_eq!(restarted.phases()[&Phase::Succeeded], 1, "the job still exists");
        sleep_seconds(400).await;
        assert!(
            recorded.finished.lock().unwrap().is_empty(),
            "jobs that had finished before are not reported"
        );
        assert_eq!(restarted.phases()[&Phase::Succeeded], 0, "the job was removed and is not counted");
    });
}
