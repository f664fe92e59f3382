//! Backends that replace single operations of another backend.

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use runway_control::backend::{
    Backend, BackendTiming, CancelOutcome, CreateError, CreateRequest, JobRef, JobSnapshot, LogError,
    LogOptions, LogStream, Unavailable, WatchEvent,
};
use runway_core::capability::Capabilities;

/// Replaces operations of a backend. Each operation calls the inner backend, unless the implementation
/// replaces it.
pub trait BackendWrapper: Send + Sync + 'static {
    /// The type of the inner backend.
    type Inner: Backend;

    /// Returns the inner backend.
    fn inner(&self) -> &Self::Inner;

    /// Creates a job, as [`Backend::create`].
    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        self.inner().create(request)
    }

    /// Returns the output of a job, as [`Backend::logs`].
    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.inner().logs(job, options)
    }
}

/// The backend with the replaced operations of a [`BackendWrapper`].
#[derive(Debug, Clone)]
pub struct WrappedBackend<W>(pub W);

impl<W: BackendWrapper> Backend for WrappedBackend<W> {
    fn capabilities(&self) -> Capabilities {
        self.0.inner().capabilities()
    }

    fn timing(&self) -> BackendTiming {
        self.0.inner().timing()
    }

    fn create<'a>(&'a self, request: &'a CreateRequest) -> BoxFuture<'a, Result<JobSnapshot, CreateError>> {
        self.0.create(request)
    }

    fn find<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<Option<JobSnapshot>, Unavailable>> {
        self.0.inner().find(job)
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<JobSnapshot>, Unavailable>> {
        self.0.inner().list()
    }

    fn watch(&self) -> BoxStream<'_, WatchEvent> {
        self.0.inner().watch()
    }

    fn cancel<'a>(&'a self, job: &'a JobRef) -> BoxFuture<'a, Result<CancelOutcome, Unavailable>> {
        self.0.inner().cancel(job)
    }

    fn logs<'a>(
        &'a self,
        job: &'a JobRef,
        options: LogOptions,
    ) -> BoxFuture<'a, Result<LogStream, LogError>> {
        self.0.logs(job, options)
    }
}
