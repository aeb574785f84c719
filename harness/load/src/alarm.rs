//! Waking on the nanosecond: one timerfd for every wait of a worker. tokio's own timer rounds up to milliseconds, so
//! nothing that is sent waits on it; a timerfd has no slack. Must not know what is waited for.

use crate::timer::Timer;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Wakes the tasks of one worker. Bounded by the number of tasks that wait.
#[derive(Debug)]
pub struct Alarm {
    timer: Timer,
    waiting: RefCell<BinaryHeap<Reverse<(Instant, u64)>>>,
    wakers: RefCell<HashMap<u64, Waker>>,
    next: Cell<u64>,
    armed: Cell<Option<Instant>>,
}

/// A wait for a moment.
#[derive(Debug)]
pub struct Until<'a> {
    alarm: &'a Alarm,
    at: Instant,
    id: Option<u64>,
}

impl Alarm {
    /// An alarm on the running runtime.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Rc<Alarm>> {
        Ok(Rc::new(Alarm {
            timer: Timer::new()?,
            waiting: RefCell::default(),
            wakers: RefCell::default(),
            next: Cell::new(0),
            armed: Cell::new(None),
        }))
    }

    /// Waits until `at`, at once when it has passed.
    #[must_use]
    pub fn until(&self, at: Instant) -> Until<'_> {
        Until { alarm: self, at, id: None }
    }

    /// Wakes whoever is due; must run beside the waits. Never ends.
    ///
    /// # Errors
    /// When the timer cannot be read or set.
    pub async fn drive(&self) -> io::Result<()> {
        loop {
            self.timer.gone_off().await?;
            self.fire()?;
        }
    }

    fn fire(&self) -> io::Result<()> {
        let now = Instant::now();
        self.armed.set(None);
        loop {
            let first = self.waiting.borrow().peek().copied();
            let Some(Reverse((at, id))) = first else { return Ok(()) };
            if at > now && self.wakers.borrow().contains_key(&id) {
                return self.arm(at);
            }
            self.waiting.borrow_mut().pop();
            if let Some(waker) = self.wakers.borrow_mut().remove(&id) {
                waker.wake();
            }
        }
    }

    fn arm(&self, at: Instant) -> io::Result<()> {
        self.timer.set(at.saturating_duration_since(Instant::now()))?;
        self.armed.set(Some(at));
        Ok(())
    }

    fn register(&self, at: Instant, waker: &Waker) -> u64 {
        let id = self.next.get();
        self.next.set(id + 1);
        self.wakers.borrow_mut().insert(id, waker.clone());
        self.waiting.borrow_mut().push(Reverse((at, id)));
        if self.armed.get().is_none_or(|armed| at < armed) {
            self.arm(at).expect("a timerfd takes every relative time above zero");
        }
        id
    }
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        match self.id {
            Some(id) => {
                self.alarm.wakers.borrow_mut().insert(id, cx.waker().clone());
            }
            None => self.id = Some(self.alarm.register(self.at, cx.waker())),
        }
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.alarm.wakers.borrow_mut().remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn waits_end_in_order_and_not_early() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let alarm = Alarm::new().unwrap();
            let driver = Rc::clone(&alarm);
            tokio::task::spawn_local(async move { driver.drive().await });
            let start = Instant::now();
            let order = Rc::new(RefCell::new(Vec::new()));
            let mut tasks = Vec::new();
            for ms in [30u64, 5, 20, 5] {
                let (alarm, order) = (Rc::clone(&alarm), Rc::clone(&order));
                tasks.push(tokio::task::spawn_local(async move {
                    alarm.until(start + Duration::from_millis(ms)).await;
                    assert!(start.elapsed() >= Duration::from_millis(ms));
                    order.borrow_mut().push(ms);
                }));
            }
            // A wait that is given up must not keep the others from being woken.
            drop(alarm.until(start + Duration::from_millis(1)));
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(*order.borrow(), [5, 5, 20, 30]);
            assert!(alarm.waiting.borrow().is_empty() && alarm.wakers.borrow().is_empty());
        });
    }
}
