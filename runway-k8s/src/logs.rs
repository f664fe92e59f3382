//! Reads the output of a job from its newest pod. A follower continues with the pods of later attempts.

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

/// One attempt of a job whose process has started.
struct Attempt {
    number: u32,
    pod: String,
    has_ended: bool,
}

/// The state of a job, as far as the log reader needs it.
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
    #[error("the log stream ended while attempt {attempt} is still running; follow the logs again")]
    EndedEarly { attempt: u32 },
    /// The connection ended.
    #[error("the log stream was interrupted: {0}")]
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

/// Reads the output of one attempt after the other.
struct Following {
    cluster: Arc<Cluster>,
    job: JobRef,
    options: LogOptions,
    /// The names of the pods that were read.
    read: BTreeSet<String>,
    /// The number of the last attempt that was read.
    last: u32,
    /// The number of polls since the last output ended. It is reset when the next attempt is opened.
    looks: u32,
}

/// The maximum number of polls for the termination of an attempt whose output has ended. A node normally
/// reports the termination within two seconds.
const LOOKS: u32 = 15;

type Piece = BoxStream<'static, Result<LogEvent, LogError>>;

impl Following {
    /// Returns the output of the next attempt. `None` if there are no more attempts.
    async fn next(mut self) -> Result<Option<(Piece, Self)>, LogError> {
        loop {
            let Reading { newest, is_over } = match self.cluster.reading(&self.job).await {
                Err(LogError::Gone) if !self.read.is_empty() => return Ok(None),
                reading => reading?,
            };
            match newest {
                Some(mut attempt) if !self.read.contains(&attempt.pod) => {
                    // The Job may not count a pod that was deleted while it ran.
                    attempt.number = attempt.number.max(self.last.saturating_add(1));
                    // `tail` applies only to the first attempt, because later output is new.
                    let tail = self.options.tail.filter(|_| self.read.is_empty());
                    let options = LogOptions { follow: !attempt.has_ended, tail };
                    match read(&self.cluster, &self.job, &attempt, options).await {
                        Ok(piece) => {
                            self.read.insert(attempt.pod);
                            self.last = attempt.number;
                            self.looks = 0;
                            return Ok(Some((piece.boxed(), self)));
                        }
                        // The pod was just removed, or its container is not ready yet.
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
        // Pods of earlier attempts may have been removed, but the Job still counts them.
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

/// Returns the next bytes from the stream.
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
