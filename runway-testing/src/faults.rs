//! A fault plan for the fake cluster, and job timings.

use runway_control::fake::{Call, EventFault, Fault, FaultPlan, JobTimings, Response};
use runway_core::JobId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Faults in the order in which they happen. Clones share the queue, so a test can extend it while it runs.
#[derive(Debug, Clone, Default)]
pub struct FaultQueue<T>(Arc<Mutex<VecDeque<T>>>);

impl<T> FaultQueue<T> {
    /// Adds a fault.
    pub fn push(&self, fault: T) {
        self.0.lock().unwrap().push_back(fault);
    }

    /// Adds faults.
    pub fn extend(&self, faults: impl IntoIterator<Item = T>) {
        self.0.lock().unwrap().extend(faults);
    }

    fn pop(&self) -> Option<T> {
        self.0.lock().unwrap().pop_front()
    }
}

/// Scripted faults: a queue for each kind of call and for events, one fault for all other calls except lists,
/// and one set of job timings. Clones share all of them, so a test can change them while it runs.
#[derive(Debug, Clone, Default)]
pub struct ScriptedFaults {
    /// The faults of create calls.
    pub creates: FaultQueue<Fault>,
    /// The faults of find calls.
    pub finds: FaultQueue<Fault>,
    /// The faults of cancel calls.
    pub cancels: FaultQueue<Fault>,
    /// The faults of lists. When this queue is empty, lists have no faults.
    pub lists: FaultQueue<Fault>,
    /// The faults of events. When this queue is empty, events have no faults.
    pub events: FaultQueue<EventFault>,
    fallback: Arc<Mutex<(Fault, JobTimings)>>,
}

impl ScriptedFaults {
    /// Creates a plan without faults, with these timings of all jobs.
    #[must_use]
    pub fn with_timings(timings: JobTimings) -> Self {
        let faults = Self::default();
        faults.set_timings(timings);
        faults
    }

    /// Adds faults of create calls.
    #[must_use]
    pub fn with_creates(self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.creates.extend(faults);
        self
    }

    /// Sets the response to all later calls without a fault in a queue, and removes every delay.
    pub fn set_response(&self, response: Response) {
        self.fallback.lock().unwrap().0 = response_fault(response);
    }

    /// Sets the request delay of all later calls without a fault in a queue. The responses to these calls
    /// arrive.
    pub fn set_delay(&self, request_delay: Duration) {
        self.fallback.lock().unwrap().0 = Fault { request_delay, ..Fault::default() };
    }

    /// Sets the timings of all jobs created later.
    pub fn set_timings(&self, timings: JobTimings) {
        self.fallback.lock().unwrap().1 = timings;
    }
}

impl FaultPlan for ScriptedFaults {
    fn call(&mut self, call: Call) -> Fault {
        let queue = match call {
            Call::Create(_) => &self.creates,
            Call::Find(_) => &self.finds,
            Call::Cancel(_) => &self.cancels,
            Call::List => return self.lists.pop().unwrap_or_default(),
        };
        queue.pop().unwrap_or_else(|| self.fallback.lock().unwrap().0)
    }

    fn event(&mut self) -> EventFault {
        self.events.pop().unwrap_or_default()
    }

    fn timings(&mut self, _: JobId) -> JobTimings {
        self.fallback.lock().unwrap().1
    }
}

/// Returns the fault of a call with this response and without a delay.
#[must_use]
pub fn response_fault(response: Response) -> Fault {
    Fault { response, ..Fault::default() }
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
