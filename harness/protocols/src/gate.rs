//! Waiting in line: an outcome told by another task, a queue of those who wait, a gate that lets so many in. Must not
//! know what is waited for.

use crate::face::{Broken, Progress};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// An outcome that another task tells.
pub(crate) struct Wait<T> {
    outcome: RefCell<Option<Result<T, Broken>>>,
    waker: RefCell<Option<Waker>>,
}

/// Those who wait, first come first served. Bounded by the exchanges in flight: each waits at most once, and whoever gives
/// up leaves.
pub(crate) struct Queue<T>(Rc<RefCell<VecDeque<Rc<Wait<T>>>>>);

/// A place in a [`Queue`]; left when dropped.
pub(crate) struct Place<T> {
    queue: Queue<T>,
    wait: Rc<Wait<T>>,
}

/// Lets so many in at once.
#[derive(Clone)]
pub(crate) struct Gate(Rc<Room>);

struct Room {
    free: Cell<u32>,
    waiting: Queue<Pass>,
}

/// Being inside; left when dropped.
pub(crate) struct Pass(Gate);

impl<T> Default for Wait<T> {
    fn default() -> Wait<T> {
        Wait { outcome: RefCell::new(None), waker: RefCell::new(None) }
    }
}

impl<T> Wait<T> {
    /// Tells the outcome.
    pub(crate) fn tell(&self, outcome: Result<T, Broken>) {
        *self.outcome.borrow_mut() = Some(outcome);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for it.
    pub(crate) async fn outcome(&self) -> Result<T, Broken> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Result<T, Broken>> {
        match self.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue(Rc::default())
    }
}

impl<T> Queue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Joins at the end.
    pub(crate) fn join(&self) -> Place<T> {
        let wait = Rc::new(Wait::default());
        self.0.borrow_mut().push_back(Rc::clone(&wait));
        Place { queue: Queue(Rc::clone(&self.0)), wait }
    }

    /// Gives the first one its outcome, which comes back when nobody waits.
    pub(crate) fn tell_first(&self, outcome: Result<T, Broken>) -> Option<Result<T, Broken>> {
        let first = self.0.borrow_mut().pop_front();
        match first {
            Some(first) => {
                first.tell(outcome);
                None
            }
            None => Some(outcome),
        }
    }
}

impl<T> Future for Place<T> {
    type Output = Result<T, Broken>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.wait.poll(cx)
    }
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let mut queue = self.queue.0.borrow_mut();
        // Who gave up has mostly waited longest, so it stands near the front.
        if let Some(at) = queue.iter().position(|w| Rc::ptr_eq(w, &self.wait)) {
            queue.remove(at);
        }
    }
}

/// Ends this turn of the task, which is woken again at once: a peer that never stops sending must not keep the loop.
pub(crate) async fn let_others_go() {
    let mut over = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Gate {
    pub(crate) fn new(room: u32) -> Gate {
        Gate(Rc::new(Room { free: Cell::new(room.max(1)), waiting: Queue::default() }))
    }

    /// Goes in; waits while it is full.
    pub(crate) async fn enter(&self, progress: &Progress) -> Result<Pass, Broken> {
        let free = self.0.free.get();
        if free > 0 {
            self.0.free.set(free - 1);
            return Ok(Pass(self.clone()));
        }
        progress.waited.set(true);
        self.0.waiting.join().await
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let room = &self.0.0;
        if room.waiting.is_empty() {
            room.free.set(room.free.get() + 1);
        } else {
            drop(room.waiting.tell_first(Ok(Pass(self.0.clone()))));
        }
    }
}
