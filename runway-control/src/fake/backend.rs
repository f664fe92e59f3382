//! Implements [`Backend`] for the fake cluster.

use super::connection::{FakeBackend, FakeCallError};
use super::{Call, watch_stream};
use crate::backend::{
    Backend, BackendTiming, CancelOutcome, CreateError, CreateRequest, JobRef, JobSnapshot, LogError,
    LogEvent, LogOptions, LogStream, Unavailable, WatchEvent,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use runway_core::capability::{BackendKind, Capabilities};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Backend for FakeBackend {
    fn capabilities(&self) -> Capabilities {
        BackendKind::Kubernetes.capabilities()
    }

    /// Returns the timing of a Kubernetes cluster.
    fn timing(&self) -> BackendTiming {
        BackendTiming {
            create_expiry: Duration::from_secs(65),
            min_poll_interval: Duration::from_millis(250),
            max_poll_interval: Duration::from_secs(8),
        }
    }

    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        async move {
            let (cluster, request, connection_id) =
                (self.cluster.clone(), request.clone(), self.connection_id);
            let fault = self.cluster.fault(Call::Create(request.id));
            let alive = Arc::clone(&self.alive);
            let sent_at = cluster.env.now();
            let apply = move || {
                cluster.apply_create(&request, (connection_id, !alive.load(Ordering::SeqCst)), sent_at)
            };
            match self.call(fault, apply).await {
                Ok(Ok(snapshot)) => Ok(snapshot),
                Ok(Err(existing)) => Err(CreateError::IdConflict(existing)),
                Err(FakeCallError::Rejected) => {
                    Err(CreateError::Rejected { reason: "the fake cluster rejected the job".to_owned() })
                }
                Err(unreachable @ FakeCallError::Unreachable) => {
                    Err(CreateError::Unavailable(unreachable.into()))
                }
                Err(lost @ FakeCallError::Lost) => Err(CreateError::Uncertain(lost.into())),
            }
        }
        .boxed()
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<JobSnapshot>, Unavailable>> {
        async move {
            let (cluster, id) = (self.cluster.clone(), job.id);
            let fault = self.cluster.fault(Call::Find(id));
            Ok(self.call(fault, move || cluster.find(id)).await?)
        }
        .boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<JobSnapshot>, Unavailable>> {
        async move { Ok(self.snapshot().await?.0) }.boxed()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        watch_stream::watch(self)
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<CancelOutcome, Unavailable>> {
        async move {
            let (cluster, id) = (self.cluster.clone(), job.id);
            let fault = self.cluster.fault(Call::Cancel(id));
            Ok(self.call(fault, move || cluster.cancel(id)).await?)
        }
        .boxed()
    }

    /// Returns the output of a job: one line about its start, and one line about its end. The second line is
    /// missing while the job is not finished. A follower receives the first line at once, and the second line
    /// when the job finishes.
    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        async move {
            let (cluster, id) = (self.cluster.clone(), job.id);
            let snapshot = cluster.find(id).ok_or(LogError::Gone)?;
            if snapshot.status.attempts == 0 && !options.follow {
                return Err(LogError::NotStarted);
            }
            let line = |text: String| Ok(LogEvent::Bytes(Bytes::from(text)));
            let (first, last) =
                (line(format!("{} begins\n", job.name)), line(format!("{} ends\n", job.name)));
            let lines = if options.follow {
                let end = stream::once(async move { cluster.finished(id).await.then_some(last) });
                stream::iter([first]).chain(end.filter_map(futures::future::ready)).boxed()
            } else if snapshot.status.phase.is_final() {
                let skipped = options.tail.map_or(0, |tail| 2_u32.saturating_sub(tail));
                stream::iter([first, last]).skip(usize::try_from(skipped).unwrap_or(0)).boxed()
            } else {
                stream::iter([first]).take(usize::try_from(options.tail.unwrap_or(1)).unwrap_or(1)).boxed()
            };
            Ok(stream::iter([Ok(LogEvent::Attempt(1))]).chain(lines).boxed())
        }
        .boxed()
    }
}
