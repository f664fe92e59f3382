//! Fault plans for the fake cluster.

use runway_control::fake::{Answer, Call, Chaos, EventFault, Fault, Life};
use runway_core::JobId;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Faults and lives that a test sets while it runs. Clones share them. Lists never fail.
#[derive(Debug, Clone, Default)]
pub struct ScriptedFaults {
    current: Arc<Mutex<(Fault, Life)>>,
}

impl ScriptedFaults {
    /// Starts with these.
    #[must_use]
    pub fn new(fault: Fault, life: Life) -> Self {
        Self { current: Arc::new(Mutex::new((fault, life))) }
    }

    /// Gives every call this answer from now on.
    pub fn set_answer(&self, answer: Answer) {
        self.current.lock().unwrap().0 = Fault { answer, ..Fault::default() };
    }

    /// Delays the arrival of every call from now on.
    pub fn set_delay(&self, there: Duration) {
        self.current.lock().unwrap().0 = Fault { there, ..Fault::default() };
    }

    /// Gives every job that is created from now on this life.
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

/// One fault for every create, and one life for every job.
#[derive(Debug, Clone, Copy, Default)]
pub struct CreateFault {
    /// The fault of every create; other calls succeed.
    pub create: Fault,
    /// The life of every job.
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

/// The life of a job that runs for longer than any test.
#[must_use]
pub fn long_life() -> Life {
    Life { waits: Duration::ZERO, runs: Duration::from_secs(600), ..Life::default() }
}

/// The life of a job that waits and runs for 400 ms each.
#[must_use]
pub fn short_life(succeeds: bool) -> Life {
    let (waits, runs) = (Duration::from_millis(400), Duration::from_millis(400));
    Life { waits, runs, succeeds, ..Life::default() }
}
