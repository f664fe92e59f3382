//! Fault plans for the fake cluster.

use runway_control::fake::{Answer, Call, Chaos, EventFault, Fault, Life};
use runway_core::JobId;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A fault and job timings that a test changes while it runs. Clones share them. Lists never fail.
#[derive(Debug, Clone, Default)]
pub struct ScriptedFaults {
    current: Arc<Mutex<(Fault, Life)>>,
}

impl ScriptedFaults {
    /// Creates the plan with these initial values.
    #[must_use]
    pub fn new(fault: Fault, life: Life) -> Self {
        Self { current: Arc::new(Mutex::new((fault, life))) }
    }

    /// Sets the response to all later calls.
    pub fn set_answer(&self, answer: Answer) {
        self.current.lock().unwrap().0 = Fault { answer, ..Fault::default() };
    }

    /// Sets the request delay of all later calls.
    pub fn set_delay(&self, there: Duration) {
        self.current.lock().unwrap().0 = Fault { there, ..Fault::default() };
    }

    /// Sets the timings of all jobs created later.
    pub fn set_life(&self, life: Life) {
        self.current.lock().unwrap().1 = life;
    }
}

impl Chaos for ScriptedFaults {
    fn call(&mut self, call: Call) -> Fault {
        match call {
            Call::List => Fault::default(),
            _ => self.current.lock().unwrap().0,
        }
    }

    fn event(&mut self) -> EventFault {
        EventFault::None
    }

    fn life(&mut self, _: JobId) -> Life {
        self.current.lock().unwrap().1
    }
}

/// A fault for each create call, and the timings of all jobs.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateFault {
    /// The fault of each create call. Other calls succeed.
    pub create: Fault,
    /// The timings of all jobs.
    pub life: Life,
}

impl Chaos for CreateFault {
    fn call(&mut self, call: Call) -> Fault {
        match call {
            Call::Create(_) => self.create,
            _ => Fault::default(),
        }
    }

    fn event(&mut self) -> EventFault {
        EventFault::None
    }

    fn life(&mut self, _: JobId) -> Life {
        self.life
    }
}

/// Returns the timings of a job that runs for 10 minutes, which is longer than any test.
#[must_use]
pub fn long_life() -> Life {
    Life { waits: Duration::ZERO, runs: Duration::from_secs(600), ..Life::default() }
}

/// Returns the timings of a job that waits for 400 ms and runs for 400 ms.
#[must_use]
pub fn short_life(succeeds: bool) -> Life {
    let (waits, runs) = (Duration::from_millis(400), Duration::from_millis(400));
    Life { waits, runs, succeeds, ..Life::default() }
}
