//! What a job prints: from its newest pod, and on to the next one where it is tried again.

use crate::cluster::Cluster;
use crate::failure::{CallErrorCause, with_timeout};
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
use std::io;
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

pub(crate) async fn logs(
    cluster: Arc<Cluster>,
    job: JobRef,
    options: LogOptions,
) -> Result<LogStream, LogError> {
    let reading = cluster.reading(&job).await?;
    if !options.follow {
        let attempt = reading.newest.ok_or(LogError::NotStarted)?;
        return Ok(read(&cluster, &job, &attempt, options).await?.boxed());
    }
    if reading.newest.is_none() && reading.is_over {
        return Err(LogError::NotStarted);
    }
    let start = Following { cluster, job, options, read: BTreeSet::new(), last: 0, looks: 0 };
    Ok(stream::try_unfold(start, Following::next).try_flatten().boxed())
}

/// The end of a log stream before the end of the attempt.
#[derive(Debug, thiserror::Error)]
enum Interruption {
    /// The API server ended the stream, although the attempt still runs.
    #[error("the output was cut off while attempt {attempt} runs on; follow it again")]
    EndedEarly { attempt: u32 },
    /// The connection ended.
    #[error("the output was cut off: {0}")]
    ConnectionLost(io::Error),
}

impl From<Interruption> for LogError {
    fn from(interruption: Interruption) -> Self {
        let message = interruption.to_string();
        Self::Unavailable(match interruption {
            Interruption::EndedEarly { .. } => Unavailable::new(message),
            Interruption::ConnectionLost(source) => Unavailable::caused_by(message, source),
        })
    }
}

/// Goes from attempt to attempt.
struct Following {
    cluster: Arc<Cluster>,
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
            let Reading { newest, is_over } = match self.cluster.reading(&self.job).await {
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
                    match read(&self.cluster, &self.job, &attempt, options).await {
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
                        return Err(Interruption::EndedEarly { attempt: attempt.number }.into());
                    }
                }
                _ => {}
            }
            tokio::time::sleep(self.cluster.settings.log_pause).await;
        }
    }
}

impl Cluster {
    async fn reading(&self, job: &JobRef) -> Result<Reading, LogError> {
        let found = self.job(job).await.map_err(Unavailable::from)?;
        let mut pods = self.pods(job).await.map_err(Unavailable::from)?;
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
    cluster: &Arc<Cluster>,
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
    let api: Api<Pod> = cluster.api(&job.tenant);
    let opened = api.log_stream(&attempt.pod, &parameters);
    let opened = with_timeout(cluster.settings.call_timeout, "reading the output of a pod", opened).await;
    let reader = opened.map_err(|error| match error.cause {
        CallErrorCause::Rejected { code: 404, .. } => LogError::Gone,
        CallErrorCause::Rejected { code: 400, .. } => LogError::NotStarted,
        _ => LogError::Unavailable(error.into()),
    })?;
    let pieces = stream::try_unfold(Box::pin(reader), piece);
    Ok(stream::iter([Ok(LogEvent::Attempt(attempt.number))]).chain(pieces))
}

/// The next bytes, as they come.
async fn piece<R: AsyncBufRead>(
    mut reader: Pin<Box<R>>,
) -> Result<Option<(LogEvent, Pin<Box<R>>)>, LogError> {
    let bytes = reader.fill_buf().await.map(Bytes::copy_from_slice);
    let bytes = bytes.map_err(Interruption::ConnectionLost)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    reader.consume_unpin(bytes.len());
    Ok(Some((LogEvent::Bytes(bytes), reader)))
}
