//! Notifications about changes in a directory, including changes by other processes.
//!
//! One thread reads inotify events for all subscribers, because Linux limits the inotify instances of a user
//! (often to 128). The thread notifies the subscribers of the directory. Each subscriber then reads the
//! directory itself.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{io, thread};

/// A change counter to wait on. Read the count, check the state, then wait: this order misses no change.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<Rung>,
    heard: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    times: u64,
    /// Whether no further change will follow.
    is_over: bool,
    wakers: Vec<Waker>,
}

impl Bell {
    /// Returns the number of notifications so far. Read it before the state that you wait for.
    pub(crate) fn times(&self) -> u64 {
        self.rung().times
    }

    /// Returns whether no further notification will follow. Read it before the state: after that, the state
    /// is final.
    pub(crate) fn is_over(&self) -> bool {
        self.rung().is_over
    }

    /// Blocks until the count differs from `count`, the notifier is closed, or the timeout expires.
    pub(crate) fn wait(&self, times: u64, within: Option<Duration>) {
        let state = self.rung();
        let is_silent = |state: &mut Rung| state.times == times && !state.is_over;
        match within {
            Some(within) => {
                drop(self.heard.wait_timeout_while(state, within, is_silent));
            }
            None => drop(self.heard.wait_while(state, is_silent)),
        }
    }

    /// Waits until the count differs from `count` or the notifier is closed. The asynchronous form of
    /// [`wait`](Self::wait).
    pub(crate) async fn rings(&self, times: u64) {
        std::future::poll_fn(|context: &mut Context<'_>| {
            let mut state = self.rung();
            if state.times != times || state.is_over {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn ring(&self) {
        self.tell(false);
    }

    /// Sends the last notification.
    pub(crate) fn end(&self) {
        self.tell(true);
    }

    fn tell(&self, is_over: bool) {
        let mut state = self.rung();
        state.times += 1;
        state.is_over |= is_over;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.heard.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription to the changes of one directory. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Listening {
    watch: i32,
    bell: Weak<Bell>,
}

/// Notifies `notifier` when a file in the directory is written, closed after a write, created, renamed or
/// deleted.
pub(crate) fn listen(folder: &Path, bell: &Arc<Bell>) -> io::Result<Listening> {
    let ears = Ears::of_the_program()?;
    let changes = WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::ONLYDIR;
    let mut bells = ears.bells();
    let watch = inotify::add_watch(&ears.kernel, folder, changes)?;
    bells.entry(watch).or_default().push(Arc::downgrade(bell));
    Ok(Listening { watch, bell: Arc::downgrade(bell) })
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Ok(ears) = Ears::of_the_program() else { return };
        let mut bells = ears.bells();
        let Some(hung) = bells.get_mut(&self.watch) else { return };
        if let Some(own) = hung.iter().position(|bell| Weak::ptr_eq(bell, &self.bell)) {
            hung.swap_remove(own);
        }
        if hung.is_empty() {
            bells.remove(&self.watch);
            // The kernel removes the watch itself when the directory is deleted.
            let _ = inotify::remove_watch(&ears.kernel, self.watch);
        }
    }
}

/// The inotify instance of this process.
#[derive(Debug)]
struct Ears {
    kernel: OwnedFd,
    /// The notifiers of each watched directory, by watch descriptor.
    bells: Mutex<HashMap<i32, Vec<Weak<Bell>>>>,
}

impl Ears {
    fn of_the_program() -> io::Result<&'static Self> {
        static EARS: OnceLock<Result<Ears, Errno>> = OnceLock::new();
        let made = EARS.get_or_init(|| {
            Ok(Self { kernel: inotify::init(CreateFlags::CLOEXEC)?, bells: Mutex::default() })
        });
        let ears = made.as_ref().map_err(|error| io::Error::from(*error))?;
        static THREAD: OnceLock<bool> = OnceLock::new();
        let runs = *THREAD.get_or_init(|| {
            thread::Builder::new().name("runway-inotify".into()).spawn(|| ears.listen()).is_ok()
        });
        if runs { Ok(ears) } else { Err(io::ErrorKind::OutOfMemory.into()) }
    }

    fn bells(&self) -> MutexGuard<'_, HashMap<i32, Vec<Weak<Bell>>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self) {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.kernel, &mut buffer);
        loop {
            let (watch, what) = match reader.next() {
                Ok(event) => (event.wd(), event.events()),
                Err(Errno::INTR) => continue,
                // No event will follow. Wake all subscribers, so that they check their state.
                Err(_) => return self.ring_all(),
            };
            if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.ring_all();
            } else {
                let hung = self.bells().get(&watch).cloned().unwrap_or_default();
                hung.iter().filter_map(Weak::upgrade).for_each(|bell| bell.ring());
            }
        }
    }

    fn ring_all(&self) {
        let all: Vec<_> = self.bells().values().flatten().cloned().collect();
        all.iter().filter_map(Weak::upgrade).for_each(|bell| bell.ring());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_bell_rings_for_what_is_written_and_for_nothing_else() {
        let folder = std::env::temp_dir().join(format!("runway-bell-{}", std::process::id()));
        fs::create_dir_all(folder.join("in")).unwrap();
        let (one, two) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let heard_by_one = listen(&folder, &one).unwrap();
        let _heard_by_two = listen(&folder.join("in"), &two).unwrap();
        let before = one.times();
        fs::write(folder.join("in/x"), "x").unwrap();
        two.wait(0, None);
        fs::write(folder.join("y"), "y").unwrap();
        one.wait(before, None);
        drop(heard_by_one);
        let after = one.times();
        fs::write(folder.join("z"), "z").unwrap();
        one.wait(after, Some(Duration::from_millis(20)));
        fs::remove_dir_all(&folder).unwrap();
        // Deleting the directory notifies the remaining subscriber.
        two.wait(two.times(), Some(Duration::from_millis(20)));
        assert!(two.times() > 1);
    }
}
