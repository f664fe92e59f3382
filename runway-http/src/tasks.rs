//! The background tasks that the server needs.

use crate::state::AppState;
use futures::future::select_all;
use tokio::task::{JoinError, JoinHandle};

/// Background tasks that run as long as the server. Without one of them, the server would accept jobs and
/// report outdated data.
#[derive(Debug)]
pub struct EssentialTasks {
    state: AppState,
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

/// A background task ended, although the server needs it.
#[derive(Debug, thiserror::Error)]
#[error("the {name} ended unexpectedly")]
pub struct TaskEnded {
    /// The name of the task.
    pub name: &'static str,
    /// The panic of the task. `None` if the task returned.
    pub source: Option<JoinError>,
}

impl EssentialTasks {
    /// Creates an empty set of tasks for a server.
    #[must_use]
    pub const fn new(state: AppState) -> Self {
        Self { state, tasks: Vec::new() }
    }

    /// Starts a task.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push((name, tokio::spawn(task)));
    }

    /// Waits until a task returns or panics. The server is then no longer ready. Without any task, waits
    /// forever.
    pub async fn ended(&mut self) -> TaskEnded {
        if self.tasks.is_empty() {
            std::future::pending::<()>().await;
        }
        let (result, index, _) = select_all(self.tasks.iter_mut().map(|(_, handle)| handle)).await;
        self.state.mark_stopping();
        let (name, _) = self.tasks.swap_remove(index);
        TaskEnded { name, source: result.err() }
    }
}
