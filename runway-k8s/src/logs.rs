//! What a job prints: from its newest pod, and on to the next one where it is tried again.

use crate::backend::Inner;
use crate::failure::Failure;
use crate::object::is_finished;
use bytes::Bytes;
use futures::io::AsyncBufReadExt;
use futures::stream::{BoxStream, StreamExt};
use futures::{AsyncBufRead, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use runway_control::backend::{JobRef, LogError, LogEvent, LogOptions, LogStream, Unavailable};
use runway_core::render::CONTAINER;
use runway_core::status::{Seen, classify, has_run, lives};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

/// One attempt of a job, whose process has begun.
struct Attempt {
    number: u32,
    pod: String,
    has_ended: bool,
}

/// How a job is, to who wants to read what it prints.
struct Reading {
    newest: Option<Attempt>,
    is_over: bool,
}

pub(crate) async fn logs(inner: Arc<Inner>, job: JobRef, options: LogOptions) -> Result<LogStream, LogError> {
    let reading = inner.reading(&job).await?;
    if !options.follow {
        let attempt = reading.newest.ok_or(LogError::NotStarted)?;
        return Ok(read(&inner, &job, &attempt, options).await?.boxed());
    }
    if reading.newest.is_none() && reading.is_over {
        return Err(LogError::NotStarted);
    }
    let start = Following { inner, job, options, read: BTreeSet::new(), last: 0, looks: 0 };
    Ok(stream::try_unfold(start, Following::next).try_flatten().boxed())
}

/// Goes from attempt to attempt.
struct Following {
    inner: Arc<Inner>,
    job: JobRef,
    options: LogOptions,
    /// The pods that were read.
    read: BTreeSet<String>,
    /// The attempt that was read last.
    last: u32,
    /// How often in a row it was looked in vain whether the attempt whose output has ended has ended as well.
    looks: u32,
}

/// So often it is looked whether an attempt has ended whose output has. A node says so within a second or two.
const LOOKS: u32 = 15;

type Piece = BoxStream<'static, Result<LogEvent, LogError>>;

impl Following {
    /// The output of the next attempt; nothing once there will be none.
    async fn next(mut self) -> Result<Option<(Piece, Self)>, LogError> {
        loop {
            let Reading { newest, is_over } = match self.inner.reading(&self.job).await {
                Err(LogError::Gone) if !self.read.is_empty() => return Ok(None),
                reading => reading?,
            };
            match newest {
                Some(mut attempt) if !self.read.contains(&attempt.pod) => {
                    // A pod that was deleted before it had ended may not have been counted.
                    attempt.number = attempt.number.max(self.last.saturating_add(1));
                    // Only of the first are the last lines wanted; what comes later is new.
                    let tail = self.options.tail.filter(|_| self.read.is_empty());
                    let options = LogOptions { follow: !attempt.has_ended, tail };
                    match read(&self.inner, &self.job, &attempt, options).await {
                        Ok(piece) => {
                            self.read.insert(attempt.pod);
                            self.last = attempt.number;
                            self.looks = 0;
                            return Ok(Some((piece.boxed(), self)));
                        }
                        // It has left just now, or its container is not quite there yet.
                        Err(LogError::Gone | LogError::NotStarted) if self.looks < LOOKS => self.looks += 1,
                        Err(error) => return Err(error),
                    }
                }
                _ if is_over => return Ok(None),
                Some(attempt) if !attempt.has_ended => {
                    self.looks += 1;
                    if self.looks > LOOKS {
                        let message = "the output was cut off while the job runs on; follow it again";
                        return Err(Unavailable::new(message).into());
                    }
                }
                _ => {}
            }
            tokio::time::sleep(self.inner.settings.log_pause).await;
        }
    }
}

impl Inner {
    async fn reading(&self, job: &JobRef) -> Result<Reading, LogError> {
        let asked =
            |failure: Failure| LogError::Unavailable(failure.into_unavailable("reading what a job prints"));
        let found = self.job(job).await.map_err(asked)?;
        let mut pods = self.pods(job).await.map_err(asked)?;
        if found.is_none() && pods.is_empty() {
            return Err(LogError::Gone);
        }
        let key = |pod: &Pod| {
            (pod.metadata.creation_timestamp.clone().map(|time| time.0), pod.metadata.name.clone())
        };
        pods.sort_by_cached_key(key);
        let is_over = found.as_ref().is_none_or(is_finished) && !pods.iter().any(lives);
        // Pods of earlier attempts may be gone: the Job has counted them.
        let attempts = classify(&Seen { job: found.as_ref(), pods: &pods, ..Seen::default() }).attempts;
        let newest = pods.iter().rev().zip((1..=attempts).rev()).find(|(pod, _)| has_run(pod));
        let newest = newest.map(|(pod, number)| Attempt {
            number,
            pod: pod.metadata.name.clone().unwrap_or_default(),
            has_ended: !lives(pod),
        });
        Ok(Reading { newest, is_over })
    }
}

async fn read(
    inner: &Arc<Inner>,
    job: &JobRef,
    attempt: &Attempt,
    options: LogOptions,
) -> Result<impl stream::Stream<Item = Result<LogEvent, LogError>> + use<>, LogError> {
    let parameters = LogParams {
        container: Some(CONTAINER.to_owned()),
        follow: options.follow,
        tail_lines: options.tail.map(i64::from),
        ..LogParams::default()
    };
    let api: Api<Pod> = inner.api(&job.tenant);
    let opened = tokio::time::timeout(inner.settings.call_timeout, api.log_stream(&attempt.pod, &parameters));
    let reader = match opened.await {
        Ok(Ok(reader)) => reader,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => return Err(LogError::Gone),
        Ok(Err(kube::Error::Api(status))) if status.code == 400 => return Err(LogError::NotStarted),
        Ok(Err(error)) => return Err(Unavailable::caused_by("the output cannot be read", error).into()),
        Err(_) => return Err(Unavailable::new("the output cannot be read: no answer").into()),
    };
    let pieces = stream::try_unfold(Box::pin(reader), piece);
    Ok(stream::iter([Ok(LogEvent::Attempt(attempt.number))]).chain(pieces))
}

/// The next bytes, as they come.
async fn piece<R: AsyncBufRead>(
    mut reader: Pin<Box<R>>,
) -> Result<Option<(LogEvent, Pin<Box<R>>)>, LogError> {
    let bytes = reader.fill_buf().await.map(Bytes::copy_from_slice);
    let bytes = bytes.map_err(|error| Unavailable::caused_by("the output was cut off", error))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    reader.consume_unpin(bytes.len());
    Ok(Some((LogEvent::Bytes(bytes), reader)))
}
