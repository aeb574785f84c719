//! Which tasks were woken, by whichever thread; an eventfd ends the sleep of the loop when it was another. Must not run
//! them.

use crate::task::TaskId;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Wake;
use std::thread::ThreadId;

/// The queue of woken tasks: each task is in it at most once, so it is bounded by their number.
#[derive(Debug)]
pub(crate) struct Queue {
    woken: Mutex<Vec<TaskId>>,
    /// Something is in it; spares the lock in turns that wake nobody.
    some: AtomicBool,
    bell: OwnedFd,
    home: ThreadId,
}

/// Wakes one task.
#[derive(Debug)]
pub(crate) struct Bell {
    id: TaskId,
    queued: AtomicBool,
    queue: Arc<Queue>,
}

/// Ends the sleep of a loop from any thread.
#[derive(Clone, Debug)]
pub struct Notifier(Arc<Queue>);

impl Queue {
    /// A queue for the calling thread.
    pub(crate) fn new() -> io::Result<Arc<Queue>> {
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Queue { woken: Mutex::default(), some: AtomicBool::new(false), bell, home: std::thread::current().id() }))
    }

    /// To be registered with epoll.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Takes what was woken since; `into` is empty and gives its room in exchange.
    pub(crate) fn take(&self, into: &mut Vec<TaskId>) {
        if self.is_empty() {
            return;
        }
        let mut woken = self.woken.lock().expect("no holder panics");
        self.some.store(false, Ordering::Relaxed);
        std::mem::swap(&mut *woken, into);
    }

    /// Nobody was woken.
    pub(crate) fn is_empty(&self) -> bool {
        !self.some.load(Ordering::Acquire)
    }

    /// Silences the bell once it was heard.
    pub(crate) fn heard(&self) {
        let mut count = [0u8; 8];
        match rustix::io::read(&self.bell, &mut count) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(e) => tracing::warn!("an eventfd cannot be read: {e}"),
        }
    }

    fn ring(&self) {
        // A counter that is full rings already.
        match rustix::io::write(&self.bell, &1u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(e) => tracing::warn!("an eventfd cannot be written: {e}"),
        }
    }
}

impl Bell {
    pub(crate) fn new(id: TaskId, queue: Arc<Queue>) -> Arc<Bell> {
        Arc::new(Bell { id, queued: AtomicBool::new(false), queue })
    }

    /// The task is about to be polled: a wake from here on counts anew.
    pub(crate) fn answered(&self) {
        self.queued.store(false, Ordering::Release);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut woken = self.queue.woken.lock().expect("no holder panics");
        woken.push(self.id);
        self.queue.some.store(true, Ordering::Release);
        drop(woken);
        if std::thread::current().id() != self.queue.home {
            self.queue.ring();
        }
    }
}

impl Notifier {
    pub(crate) fn new(queue: &Arc<Queue>) -> Notifier {
        Notifier(Arc::clone(queue))
    }

    /// Makes the loop's current or next turn return soon.
    pub fn notify(&self) {
        self.0.ring();
    }
}
