//! Fault plans for the fake cluster.

use runway_control::fake::{Call, EventFault, Fault, FaultPlan, JobTimings, Response};
use runway_core::JobId;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One fault for all calls except lists, and one set of job timings. A test can change both while it runs.
/// Clones share both.
#[derive(Debug, Clone, Default)]
pub struct ScriptedFaults {
    current: Arc<Mutex<(Fault, JobTimings)>>,
}

impl ScriptedFaults {
    /// Creates the plan with these initial values.
    #[must_use]
    pub fn new(fault: Fault, timings: JobTimings) -> Self {
        Self { current: Arc::new(Mutex::new((fault, timings))) }
    }

    /// Sets the response to all later calls except lists, and removes every delay.
    pub fn set_response(&self, response: Response) {
        self.current.lock().unwrap().0 = Fault { response, ..Fault::default() };
    }

    /// Sets the request delay of all later calls except lists. The responses to these calls arrive.
    pub fn set_delay(&self, request_delay: Duration) {
        self.current.lock().unwrap().0 = Fault { request_delay, ..Fault::default() };
    }

    /// Sets the timings of all jobs created later.
    pub fn set_timings(&self, timings: JobTimings) {
        self.current.lock().unwrap().1 = timings;
    }
}

impl FaultPlan for ScriptedFaults {
    fn call(&mut self, call: Call) -> Fault {
        match call {
            Call::List => Fault::default(),
            _ => self.current.lock().unwrap().0,
        }
    }

    fn event(&mut self) -> EventFault {
        EventFault::None
    }

    fn timings(&mut self, _: JobId) -> JobTimings {
        self.current.lock().unwrap().1
    }
}

/// A fault for each create call, and the timings of all jobs.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateFault {
    /// The fault of each create call. Other calls succeed.
    pub create: Fault,
    /// The timings of all jobs.
    pub timings: JobTimings,
}

impl FaultPlan for CreateFault {
    fn call(&mut self, call: Call) -> Fault {
        match call {
            Call::Create(_) => self.create,
            _ => Fault::default(),
        }
    }

    fn event(&mut self) -> EventFault {
        EventFault::None
    }

    fn timings(&mut self, _: JobId) -> JobTimings {
        self.timings
    }
}

/// Returns the timings of a job that runs for 10 minutes, which is longer than any test.
#[must_use]
pub fn long_timings() -> JobTimings {
    JobTimings { queue_time: Duration::ZERO, run_time: Duration::from_secs(600), ..JobTimings::default() }
}

/// Returns the timings of a job that waits for 400 ms and runs for 400 ms.
#[must_use]
pub fn short_timings(succeeds: bool) -> JobTimings {
    let (waits, runs) = (Duration::from_millis(400), Duration::from_millis(400));
    JobTimings { queue_time: waits, run_time: runs, succeeds, ..JobTimings::default() }
}
