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
pub(crate) struct Notifier {
    state: Mutex<NotifierState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct NotifierState {
    count: u64,
    /// Whether no further change will follow.
    is_closed: bool,
    wakers: Vec<Waker>,
}

impl Notifier {
    /// Returns the number of notifications so far. Read the count before the state that you wait for.
    pub(crate) fn count(&self) -> u64 {
        self.lock_state().count
    }

    /// Returns whether no further notification will follow. If so, a state that is read afterwards is final.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock_state().is_closed
    }

    /// Blocks until the count differs from `count`, the notifier is closed, or the timeout expires.
    pub(crate) fn wait(&self, count: u64, timeout: Option<Duration>) {
        let state = self.lock_state();
        let is_unchanged = |state: &mut NotifierState| state.count == count && !state.is_closed;
        match timeout {
            Some(timeout) => {
                drop(self.changed.wait_timeout_while(state, timeout, is_unchanged));
            }
            None => drop(self.changed.wait_while(state, is_unchanged)),
        }
    }

    /// Waits until the count differs from `count` or the notifier is closed. The asynchronous form of
    /// [`wait`](Self::wait).
    pub(crate) async fn notified(&self, count: u64) {
        std::future::poll_fn(|context: &mut Context<'_>| {
            let mut state = self.lock_state();
            if state.count != count || state.is_closed {
                return Poll::Ready(());
            }
            if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                state.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn notify(&self) {
        self.advance(false);
    }

    /// Closes the notifier with the last notification.
    pub(crate) fn close(&self) {
        self.advance(true);
    }

    fn advance(&self, is_closed: bool) {
        let mut state = self.lock_state();
        state.count += 1;
        state.is_closed |= is_closed;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock_state(&self) -> MutexGuard<'_, NotifierState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription to the changes of one directory. Dropping it ends the subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    watch_descriptor: i32,
    notifier: Weak<Notifier>,
}

/// Notifies `notifier` until the subscription is dropped: when a file in the directory is written, closed
/// after a write, created, renamed or deleted, and when the directory itself is deleted.
pub(crate) fn subscribe(dir: &Path, notifier: &Arc<Notifier>) -> io::Result<Subscription> {
    let hub = InotifyHub::global()?;
    let changes = WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::ONLYDIR;
    let mut subscribers = hub.lock_subscribers();
    let watch_descriptor = inotify::add_watch(&hub.inotify, dir, changes)?;
    subscribers.entry(watch_descriptor).or_default().push(Arc::downgrade(notifier));
    Ok(Subscription { watch_descriptor, notifier: Arc::downgrade(notifier) })
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Ok(hub) = InotifyHub::global() else { return };
        let mut subscribers = hub.lock_subscribers();
        let Some(notifiers) = subscribers.get_mut(&self.watch_descriptor) else { return };
        if let Some(index) = notifiers.iter().position(|bell| Weak::ptr_eq(bell, &self.notifier)) {
            notifiers.swap_remove(index);
        }
        if notifiers.is_empty() {
            subscribers.remove(&self.watch_descriptor);
            // If the directory was deleted, the kernel has already removed the watch, and this call fails.
            let _ = inotify::remove_watch(&hub.inotify, self.watch_descriptor);
        }
    }
}

/// The inotify instance of this process.
#[derive(Debug)]
struct InotifyHub {
    inotify: OwnedFd,
    /// The notifiers of each watched directory, by watch descriptor.
    subscribers: Mutex<HashMap<i32, Vec<Weak<Notifier>>>>,
}

impl InotifyHub {
    fn global() -> io::Result<&'static Self> {
        static HUB: OnceLock<Result<InotifyHub, Errno>> = OnceLock::new();
        let created = HUB.get_or_init(|| {
            Ok(Self { inotify: inotify::init(CreateFlags::CLOEXEC)?, subscribers: Mutex::default() })
        });
        let hub = created.as_ref().map_err(|error| io::Error::from(*error))?;
        static THREAD: OnceLock<bool> = OnceLock::new();
        let is_running = *THREAD.get_or_init(|| {
            thread::Builder::new().name("runway-inotify".into()).spawn(|| hub.dispatch_events()).is_ok()
        });
        if is_running { Ok(hub) } else { Err(io::ErrorKind::OutOfMemory.into()) }
    }

    fn lock_subscribers(&self) -> MutexGuard<'_, HashMap<i32, Vec<Weak<Notifier>>>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dispatch_events(&self) {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let (watch_descriptor, flags) = match reader.next() {
                Ok(event) => (event.wd(), event.events()),
                Err(Errno::INTR) => continue,
                // The instance can deliver no further events. All subscribers wake up and check their state.
                Err(_) => return self.notify_all(),
            };
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                self.notify_all();
            } else {
                let notifiers = self.lock_subscribers().get(&watch_descriptor).cloned().unwrap_or_default();
                notifiers.iter().filter_map(Weak::upgrade).for_each(|bell| bell.notify());
            }
        }
    }

    fn notify_all(&self) {
        let all: Vec<_> = self.lock_subscribers().values().flatten().cloned().collect();
        all.iter().filter_map(Weak::upgrade).for_each(|bell| bell.notify());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn notifier_reports_changes_of_its_directory_only() {
        let dir = std::env::temp_dir().join(format!("runway-notify-{}", std::process::id()));
        fs::create_dir_all(dir.join("in")).unwrap();
        let (one, two) = (Arc::new(Notifier::default()), Arc::new(Notifier::default()));
        let subscription = subscribe(&dir, &one).unwrap();
        let _inner_subscription = subscribe(&dir.join("in"), &two).unwrap();
        let before = one.count();
        fs::write(dir.join("in/x"), "x").unwrap();
        two.wait(0, None);
        fs::write(dir.join("y"), "y").unwrap();
        one.wait(before, None);
        drop(subscription);
        let after = one.count();
        fs::write(dir.join("z"), "z").unwrap();
        one.wait(after, Some(Duration::from_millis(20)));
        fs::remove_dir_all(&dir).unwrap();
        // Deleting the directory notifies the remaining subscriber.
        two.wait(two.count(), Some(Duration::from_millis(20)));
        assert!(two.count() > 1);
    }
}
