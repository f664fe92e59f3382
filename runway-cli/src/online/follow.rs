//! What a job prints, as it prints it: over retries, and over servers that end and come back.

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

/// A connection that lasted for longer was a good one, whether or not the job had anything to say.
const GOOD: Duration = Duration::from_secs(10);

/// How far the output was read.
#[derive(Debug, Default)]
struct Place {
    /// The attempt that printed last, of those that were read.
    attempt: Option<u32>,
    /// The bytes of it that were read.
    bytes: u64,
    /// The bytes that come again.
    again: u64,
    /// Dropped once anything comes.
    begun: Option<Sender<()>>,
}

impl Place {
    /// Takes note of an attempt from whose start the output comes.
    fn begin(&mut self, attempt: u32) {
        self.begun = None;
        self.again = match self.attempt {
            Some(last) if attempt == last => self.bytes,
            // An older one has been read to its end.
            Some(last) if attempt < last => u64::MAX,
            _ => 0,
        };
        if self.again == 0 {
            (self.attempt, self.bytes) = (Some(attempt), 0);
        }
    }

    /// What of these bytes has not been read before.
    fn fresh<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let known = self.again.min(length);
        self.again -= known;
        self.bytes = self.bytes.saturating_add(length - known);
        usize::try_from(known).ok().and_then(|known| bytes.get(known..)).unwrap_or_default()
    }
}

/// Prints what a job prints until it has ended, or nobody reads on. What was printed is not printed again, whatever breaks off.
/// Until it begins, why it waits is told on standard error.
pub(crate) fn follow(
    client: &Client,
    patience: &mut Patience,
    job: &JobView,
    tail: Option<u32>,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let ended = &AtomicBool::new(false);
    let (begun, waiting) = channel();
    // The output is asked for at once, so that no attempt is missed; meanwhile a second look is taken at the job.
    std::thread::scope(|scope| {
        scope.spawn(move || tell_of_waiting(client, job.clone(), progress, &waiting, ended));
        let mut place = Place { begun: Some(begun), ..Place::default() };
        read(client, patience, job.id, tail, &mut place, ended)
    })
}

/// Tells how a job is until it begins or ends, or nobody wants to know any more.
fn tell_of_waiting(
    client: &Client,
    mut job: JobView,
    progress: &mut Progress,
    begun: &Receiver<()>,
    ended: &AtomicBool,
) {
    // Whether the server is there is found out, and told, by who reads the output.
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
                        // From the start of an attempt it is not known where its last lines began.
                        output::print_aside(
                            "the output broke off; what is printed until it goes on will be missing\n",
                        )?;
                        lines = Some(0);
                    }
                    trouble
                }
            },
            Err(trouble) => trouble,
        };
        match &trouble {
            // It has not begun.
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

/// Prints until the end, or until it breaks off.
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
                // A server that breaks off at the same place for ever does not get any further.
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
                return Err(client.foreign("this is no output of a job".to_owned()).into());
            }
        }
    }
}

/// Prints what there is of a job's output.
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
        // It broke off, and begins anew.
        place.begin(1);
        assert_eq!(place.fresh(b"one "), b"");
        assert_eq!(place.fresh(b"two three"), b" three");
        // It broke off before it came as far.
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
