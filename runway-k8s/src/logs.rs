//! Reads the output of a job from its newest pod. A follower continues with the pods of later attempts.

use crate::call_error::{CallErrorCause, with_timeout};
use crate::cluster::Cluster;
use crate::object::is_finished;
use bytes::Bytes;
use futures::io::AsyncBufReadExt;
use futures::stream::{BoxStream, StreamExt};
use futures::{AsyncBufRead, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use runway_control::backend::{JobRef, LogError, LogEvent, LogOptions, LogStream, Unavailable};
use runway_core::render::CONTAINER_NAME;
use runway_core::status::{JobObjects, classify, has_run, is_active};
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

/// An attempt whose process has started.
struct Attempt {
    number: u32,
    pod: String,
    has_terminated: bool,
}

/// The state of a job, as far as the log reader needs it.
struct AttemptState {
    newest_attempt: Option<Attempt>,
    is_complete: bool,
}

pub(crate) async fn logs(
    cluster: Arc<Cluster>,
    job: JobRef,
    options: LogOptions,
) -> Result<LogStream, LogError> {
    let state = cluster.attempt_state(&job).await?;
    if !options.follow {
        let attempt = state.newest_attempt.ok_or(LogError::NotStarted)?;
        return Ok(open_log(&cluster, &job, &attempt, options).await?.boxed());
    }
    if state.newest_attempt.is_none() && state.is_complete {
        return Err(LogError::NotStarted);
    }
    let follower =
        LogFollower { cluster, job, options, read_pods: BTreeSet::new(), last_attempt: 0, polls: 0 };
    Ok(stream::try_unfold(follower, LogFollower::next_attempt).try_flatten().boxed())
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
struct LogFollower {
    cluster: Arc<Cluster>,
    job: JobRef,
    options: LogOptions,
    /// The names of the pods that were read.
    read_pods: BTreeSet<String>,
    /// The number of the last attempt that was read.
    last_attempt: u32,
    /// The number of polls that count towards [`MAX_POLLS`], since the output of the last attempt was opened.
    polls: u32,
}

/// The maximum number of polls for the termination of an attempt whose output has ended, or for the output of
/// a new attempt. A node normally reports the termination within two seconds.
const MAX_POLLS: u32 = 15;

type AttemptOutput = BoxStream<'static, Result<LogEvent, LogError>>;

impl LogFollower {
    /// Returns the output of the next attempt. `None` if there are no more attempts.
    async fn next_attempt(mut self) -> Result<Option<(AttemptOutput, Self)>, LogError> {
        loop {
            let AttemptState { newest_attempt, is_complete } =
                match self.cluster.attempt_state(&self.job).await {
                    Err(LogError::Gone) if !self.read_pods.is_empty() => return Ok(None),
                    reading => reading?,
                };
            match newest_attempt {
                Some(mut attempt) if !self.read_pods.contains(&attempt.pod) => {
                    // The Job may not count a pod that was deleted while it ran.
                    attempt.number = attempt.number.max(self.last_attempt.saturating_add(1));
                    // `tail` applies only to the first attempt, because later output is new.
                    let tail = self.options.tail.filter(|_| self.read_pods.is_empty());
                    let options = LogOptions { follow: !attempt.has_terminated, tail };
                    match open_log(&self.cluster, &self.job, &attempt, options).await {
                        Ok(output) => {
                            self.read_pods.insert(attempt.pod);
                            self.last_attempt = attempt.number;
                            self.polls = 0;
                            return Ok(Some((output.boxed(), self)));
                        }
                        // The pod was just removed, or its container is not ready yet.
                        Err(LogError::Gone | LogError::NotStarted) if self.polls < MAX_POLLS => {
                            self.polls += 1;
                        }
                        Err(error) => return Err(error),
                    }
                }
                _ if is_complete => return Ok(None),
                Some(attempt) if !attempt.has_terminated => {
                    self.polls += 1;
                    if self.polls > MAX_POLLS {
                        return Err(Interruption::EndedEarly { attempt: attempt.number }.into());
                    }
                }
                _ => {}
            }
            tokio::time::sleep(self.cluster.settings.log_poll_interval).await;
        }
    }
}

impl Cluster {
    async fn attempt_state(&self, job: &JobRef) -> Result<AttemptState, LogError> {
        let found = self.job(job).await.map_err(Unavailable::from)?;
        let mut pods = self.pods(job, found.as_ref()).await.map_err(Unavailable::from)?;
        if found.is_none() && pods.is_empty() {
            return Err(LogError::Gone);
        }
        let key = |pod: &Pod| {
            (pod.metadata.creation_timestamp.clone().map(|time| time.0), pod.metadata.name.clone())
        };
        pods.sort_by_cached_key(key);
        let is_complete = found.as_ref().is_none_or(is_finished) && !pods.iter().any(is_active);
        // Pods of earlier attempts may have been removed, but the Job still counts them.
        let attempts =
            classify(&JobObjects { job: found.as_ref(), pods: &pods, ..JobObjects::default() }).attempts;
        let newest_attempt = pods.iter().rev().zip((1..=attempts).rev()).find(|(pod, _)| has_run(pod));
        let newest_attempt = newest_attempt.map(|(pod, number)| Attempt {
            number,
            pod: pod.metadata.name.clone().unwrap_or_default(),
            has_terminated: !is_active(pod),
        });
        Ok(AttemptState { newest_attempt, is_complete })
    }
}

async fn open_log(
    cluster: &Arc<Cluster>,
    job: &JobRef,
    attempt: &Attempt,
    options: LogOptions,
) -> Result<impl stream::Stream<Item = Result<LogEvent, LogError>> + use<>, LogError> {
    let parameters = LogParams {
        container: Some(CONTAINER_NAME.to_owned()),
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
    let chunks = stream::try_unfold(Box::pin(reader), next_chunk);
    Ok(stream::iter([Ok(LogEvent::Attempt(attempt.number))]).chain(chunks))
}

/// Returns the next bytes from the stream.
async fn next_chunk<R: AsyncBufRead>(
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
