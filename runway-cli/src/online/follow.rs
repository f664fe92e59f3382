//! Prints the output of a job while it runs. Resumes after retries of the job, disconnects and server
//! restarts.

use super::patience::Patience;
use super::wait::{LONGEST_POLL, POLL, Progress, has_ended};
use crate::client::{Client, Marked, MarkedError, Piece, Trouble};
use crate::failure::Failure;
use crate::output;
use runway_api::JobView;
use runway_core::JobId;
use std::io::{BufRead, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A connection that lasted longer than this counts as a success, even without output: it resets the retry
/// time.
const GOOD: Duration = Duration::from_secs(10);

/// The position up to which the output was printed.
#[derive(Debug, Default)]
struct Place {
    /// The last attempt with printed output.
    attempt: Option<u32>,
    /// The number of bytes printed from that attempt.
    bytes: u64,
    /// The number of bytes that the server repeats after a reconnect, and that must not be printed again.
    again: u64,
    /// Dropped when the first attempt starts, which ends the status reports.
    begun: Option<Sender<()>>,
}

impl Place {
    /// Records that the next bytes are the output of an attempt, from its first byte.
    fn begin(&mut self, attempt: u32) {
        self.begun = None;
        self.again = match self.attempt {
            Some(last) if attempt == last => self.bytes,
            // All output of an older attempt was printed before the newer attempt started.
            Some(last) if attempt < last => u64::MAX,
            _ => 0,
        };
        if self.again == 0 {
            (self.attempt, self.bytes) = (Some(attempt), 0);
        }
    }

    /// Returns the part of these bytes that was not printed before.
    fn fresh<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let known = self.again.min(length);
        self.again -= known;
        self.bytes = self.bytes.saturating_add(length - known);
        usize::try_from(known).ok().and_then(|known| bytes.get(known..)).unwrap_or_default()
    }
}

/// Prints the output of a job until the job ends or the reader closes the pipe. Prints each byte once, even
/// if the connection breaks. Reports the status on standard error until the job starts.
pub(crate) fn follow(
    client: &Client,
    patience: &mut Patience,
    job: &JobView,
    tail: Option<u32>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let ended = &AtomicBool::new(false);
    let (begun, waiting) = channel();
    // Request the output immediately, so that no attempt is missed. A second thread polls the status in
    // parallel.
    std::thread::scope(|scope| {
        scope.spawn(move || tell_of_waiting(client, job.clone(), progress, &waiting, ended));
        let mut place = Place { begun: Some(begun), ..Place::default() };
        read(client, patience, job.id, tail, &mut place, ended)
    })
}

/// Reports status changes of a job until it starts or ends, or the other side of the channel is dropped.
fn tell_of_waiting(
    client: &Client,
    mut job: JobView,
    progress: &mut Progress,
    begun: &Receiver<()>,
    ended: &AtomicBool,
) {
    // Ignore errors here: the thread that reads the output retries and reports them.
    let mut pause = POLL;
    while progress.tell(&job).is_ok() && !has_ended(&job) {
        if begun.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        pause = (pause * 2).min(LONGEST_POLL);
        if let Ok(seen) = client.job(job.id) {
            job = seen;
        }
    }
    ended.store(true, Ordering::Relaxed);
}

fn read(
    client: &Client,
    patience: &mut Patience,
    id: JobId,
    tail: Option<u32>,
    place: &mut Place,
    ended: &AtomicBool,
) -> Result<(), Failure> {
    let mut lines = tail;
    loop {
        let trouble = match client.output(id, lines, true) {
            Ok(reader) => match copy(client, Marked::new(reader), patience, place)? {
                Ok(()) => return Ok(()),
                Err(trouble) => {
                    if tail.is_some() && place.attempt.is_some() && lines != Some(0) {
                        // The start of the last lines is unknown, so the server cannot resume there. Request
                        // only new output.
                        output::print_aside(
                            "disconnected; output that the job prints before the reconnect is lost\n",
                        )?;
                        lines = Some(0);
                    }
                    trouble
                }
            },
            Err(trouble) => trouble,
        };
        match &trouble {
            // The job has not started.
            Trouble::Problem(told) if told.status == 409 && place.attempt.is_none() => {
                if ended.load(Ordering::Relaxed) {
                    return Ok(());
                }
                std::thread::sleep(POLL);
            }
            Trouble::Problem(told) if told.status == 410 && place.attempt.is_some() => return Ok(()),
            _ => patience.bear(trouble)?,
        }
    }
}

/// Prints frames until the output ends, the reader closes the pipe, or the connection breaks.
fn copy(
    client: &Client,
    mut marked: Marked<impl BufRead>,
    patience: &mut Patience,
    place: &mut Place,
) -> Result<Result<(), Trouble>, Failure> {
    let began = Instant::now();
    loop {
        match marked.next() {
            Ok(Some(Piece::Attempt(attempt))) => place.begin(attempt),
            Ok(Some(Piece::Bytes(bytes))) => {
                let fresh = place.fresh(&bytes);
                // Only new bytes reset the retries. Otherwise a server that always disconnects at the same
                // byte would be retried forever.
                if fresh.is_empty() {
                    continue;
                }
                patience.renew();
                if !output::print_bytes(fresh)? {
                    return Ok(Ok(()));
                }
            }
            Ok(None) => return Ok(Ok(())),
            Err(MarkedError::BrokenOff(error)) => {
                if began.elapsed() > GOOD {
                    patience.renew();
                }
                return Ok(Err(client.broken_off(&error)));
            }
            Err(MarkedError::NoRecord) => {
                return Err(client.foreign("the output is not in the framed format".to_owned()).into());
            }
        }
    }
}

/// Prints the existing output of a job.
pub(crate) fn print_output(client: &Client, id: JobId, tail: Option<u32>) -> Result<(), Failure> {
    let mut reader = client.output(id, tail, false)?;
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut bytes).map_err(|error| client.broken_off(&error))?;
        let is_read = output::print_bytes(bytes.get(..read).unwrap_or_default())?;
        if read == 0 || !is_read {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_is_left_out() {
        let mut place = Place::default();
        place.begin(1);
        assert_eq!(place.fresh(b"one two"), b"one two");
        // The connection breaks, and the server starts again at the first byte.
        place.begin(1);
        assert_eq!(place.fresh(b"one "), b"");
        assert_eq!(place.fresh(b"two three"), b" three");
        // The connection breaks before the server reaches the position.
        place.begin(1);
        assert_eq!(place.fresh(b"one"), b"");
        place.begin(1);
        assert_eq!(place.fresh(b"one two three!"), b"!");
        place.begin(2);
        assert_eq!(place.fresh(b"one"), b"one");
        place.begin(1);
        assert_eq!(place.fresh(b"whatever"), b"");
        place.begin(2);
        assert_eq!(place.fresh(b"one more"), b" more");
    }
}
