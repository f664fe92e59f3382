//! Prints the output of a job while it runs. Resumes after retries of the job, disconnects and server
//! restarts.

use super::retry::RetryPolicy;
use super::wait::{MAX_POLL_INTERVAL, POLL_INTERVAL, Progress, has_ended};
use crate::client::{Client, ClientError, FrameError, FramedLog, LogFrame};
use crate::error::CliError;
use crate::output;
use runway_api::JobView;
use runway_core::JobId;
use std::io::{BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A connection that lasted longer than this time counts as a success, even without output. The next failure
/// then starts a new time limit for retries.
const STABLE_CONNECTION: Duration = Duration::from_secs(10);

/// The position up to which the output of the job was printed.
#[derive(Debug, Default)]
struct ResumePoint {
    /// The newest attempt whose output the server has started to send.
    attempt: Option<u32>,
    /// The number of bytes printed from that attempt.
    bytes_read: u64,
    /// The number of next bytes that must not be printed, because the server repeats output after a
    /// reconnect.
    skip_bytes: u64,
    /// The sender that keeps the thread with the status reports running. It is dropped when the first attempt
    /// starts, and the thread then stops.
    started_tx: Option<Sender<()>>,
}

impl ResumePoint {
    /// Records that the next bytes are the output of `attempt`, from its first byte.
    fn start_attempt(&mut self, attempt: u32) {
        self.started_tx = None;
        self.skip_bytes = match self.attempt {
            Some(last) if attempt == last => self.bytes_read,
            // All output of an older attempt was printed before the newer attempt started.
            Some(last) if attempt < last => u64::MAX,
            _ => 0,
        };
        if self.skip_bytes == 0 {
            (self.attempt, self.bytes_read) = (Some(attempt), 0);
        }
    }

    /// Returns the part of these bytes that was not printed before.
    fn unread<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let skipped = self.skip_bytes.min(length);
        self.skip_bytes -= skipped;
        self.bytes_read = self.bytes_read.saturating_add(length - skipped);
        usize::try_from(skipped).ok().and_then(|known| bytes.get(known..)).unwrap_or_default()
    }
}

/// Prints the output of a job until the job ends or the reader of standard output closes the pipe. Reports
/// the status of the job on standard error until the job starts.
///
/// Without `tail`, prints each byte once, even if the connection breaks. With `tail`, a broken connection can
/// lose output.
pub(crate) fn follow(
    client: &Client,
    retry_policy: &mut RetryPolicy,
    job: &JobView,
    tail: Option<u32>,
    progress: &mut Progress,
) -> Result<(), CliError> {
    let ended = &AtomicBool::new(false);
    let (started_tx, started_rx) = channel();
    // Request the output immediately, so that no attempt is missed. A second thread polls the status in
    // parallel.
    std::thread::scope(|scope| {
        scope.spawn(move || report_waiting(client, job.clone(), progress, &started_rx, ended));
        let mut resume_point = ResumePoint { started_tx: Some(started_tx), ..ResumePoint::default() };
        read_output(client, retry_policy, job.id, tail, &mut resume_point, ended)
    })
}

/// Reports status changes of a job until the job ends or the sender of `started_rx` is dropped. The sender is
/// dropped when the job starts, or when the reading of the output ends. Sets `ended` if the job has ended.
fn report_waiting(
    client: &Client,
    mut job: JobView,
    progress: &mut Progress,
    started_rx: &Receiver<()>,
    ended: &AtomicBool,
) {
    // Ignore failed requests. The thread that reads the output sees the same failures, and retries or reports
    // them.
    let mut pause = POLL_INTERVAL;
    while progress.report_change(&job).is_ok() && !has_ended(&job) {
        if started_rx.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        pause = (pause * 2).min(MAX_POLL_INTERVAL);
        if let Ok(current) = client.job(job.id) {
            job = current;
        }
    }
    ended.store(true, Ordering::Relaxed);
}

fn read_output(
    client: &Client,
    retry_policy: &mut RetryPolicy,
    id: JobId,
    tail: Option<u32>,
    resume_point: &mut ResumePoint,
    ended: &AtomicBool,
) -> Result<(), CliError> {
    let mut lines = tail;
    loop {
        let error = match client.job_output(id, lines, true) {
            Ok(reader) => match print_frames(client, FramedLog::new(reader), retry_policy, resume_point)? {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if tail.is_some() && resume_point.attempt.is_some() && lines != Some(0) {
                        // With `tail`, the position of the printed lines in the output is unknown. So the
                        // reading cannot resume there, and the client requests only new output.
                        output::eprint(
                            "disconnected; output that the job prints before the reconnect is lost\n",
                        )?;
                        lines = Some(0);
                    }
                    error
                }
            },
            Err(error) => error,
        };
        match &error {
            // The status 409 means that the job has not started.
            ClientError::Problem(told) if told.status == 409 && resume_point.attempt.is_none() => {
                if ended.load(Ordering::Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(POLL_INTERVAL);
            }
            ClientError::Problem(told) if told.status == 410 && resume_point.attempt.is_some() => {
                return Ok(());
            }
            _ => retry_policy.wait_or_fail(error)?,
        }
    }
}

/// Prints frames until the output ends, the reader of standard output closes the pipe, or the connection
/// breaks. The inner result is the error of a broken connection, after which the caller can retry.
fn print_frames(
    client: &Client,
    mut log: FramedLog<impl BufRead>,
    retry_policy: &mut RetryPolicy,
    resume_point: &mut ResumePoint,
) -> Result<Result<(), ClientError>, CliError> {
    let started = Instant::now();
    loop {
        match log.next_frame() {
            Ok(Some(LogFrame::Attempt(attempt))) => resume_point.start_attempt(attempt),
            Ok(Some(LogFrame::Bytes(bytes))) => {
                let unread = resume_point.unread(&bytes);
                // Only new bytes reset the retries. Otherwise a server that always disconnects at the same
                // byte would be retried forever.
                if unread.is_empty() {
                    continue;
                }
                retry_policy.reset();
                if !output::print_bytes(unread)? {
                    return Ok(Ok(()));
                }
            }
            Ok(None) => return Ok(Ok(())),
            Err(FrameError::Disconnected(error)) => {
                if started.elapsed() > STABLE_CONNECTION {
                    retry_policy.reset();
                }
                return Ok(Err(client.disconnected(&error)));
            }
            Err(FrameError::InvalidHeader) => {
                return Err(client.unexpected("the output is not in the framed format".to_owned()).into());
            }
        }
    }
}

/// Prints the existing output of a job, and does not wait for more.
pub(crate) fn print_output(client: &Client, id: JobId, tail: Option<u32>) -> Result<(), CliError> {
    let mut reader = client.job_output(id, tail, false)?;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut bytes).map_err(|error| client.disconnected(&error))?;
        let is_open = output::print_bytes(bytes.get(..read).unwrap_or_default())?;
        if read == 0 || !is_open {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_output_is_skipped() {
        let mut resume_point = ResumePoint::default();
        resume_point.start_attempt(1);
        assert_eq!(resume_point.unread(b"one two"), b"one two");
        // The connection breaks, and the server starts again at the first byte.
        resume_point.start_attempt(1);
        assert_eq!(resume_point.unread(b"one "), b"");
        assert_eq!(resume_point.unread(b"two three"), b" three");
        // The server starts again, but the connection breaks before all printed bytes have been repeated.
        resume_point.start_attempt(1);
        assert_eq!(resume_point.unread(b"one"), b"");
        resume_point.start_attempt(1);
        assert_eq!(resume_point.unread(b"one two three!"), b"!");
        resume_point.start_attempt(2);
        assert_eq!(resume_point.unread(b"one"), b"one");
        resume_point.start_attempt(1);
        assert_eq!(resume_point.unread(b"whatever"), b"");
        resume_point.start_attempt(2);
        assert_eq!(resume_point.unread(b"one more"), b" more");
    }
}
