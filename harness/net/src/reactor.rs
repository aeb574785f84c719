//! The loop itself: waits for descriptors, deadlines and wakes, and runs the tasks that became ready. Must not know
//! bytes.

use crate::queue::{Notifier, Queue};
use crate::sleep::Sleep;
use crate::task::{TaskId, Tasks};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use slab::Slab;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Most events taken from the kernel at once.
const EVENTS: usize = 256;
/// Most tasks polled in one turn; the rest waits for the next, so that deadlines are kept.
const POLLS: usize = 256;
/// Marks descriptors that the loop's owner registered itself.
const DIRECT: u64 = 1 << 63;
/// The eventfd.
const BELL: u64 = DIRECT - 1;

/// A descriptor that its owner registered became ready (edge-triggered: read or write until it would block).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// As registered.
    pub token: u64,
    /// Bytes, an end or an error can be read.
    pub readable: bool,
    /// Bytes fit, or a connect has come out.
    pub writable: bool,
}

/// A socket of tasks.
#[derive(Debug, Default)]
struct Source {
    ready: [bool; 2],
    wakers: [Option<Waker>; 2],
}

struct Inner {
    epoll: OwnedFd,
    queue: Arc<Queue>,
    tasks: RefCell<Tasks>,
    sources: RefCell<Slab<Source>>,
    sleepers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    sleeps: std::cell::Cell<u64>,
}

/// What tasks and the owner do with a loop. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

/// The loop of one thread.
pub struct Reactor {
    handle: Handle,
    events: Vec<epoll::Event>,
    woken: Vec<TaskId>,
    left: Vec<TaskId>,
}

impl Reactor {
    /// A loop for the calling thread, whose timer slack is set to 1 ns.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Reactor> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let queue = Queue::new()?;
        epoll::add(&epoll, queue.bell(), epoll::EventData::new_u64(BELL), epoll::EventFlags::IN | epoll::EventFlags::ET)?;
        let inner = Inner {
            epoll,
            queue,
            tasks: RefCell::default(),
            sources: RefCell::default(),
            sleepers: RefCell::default(),
            sleeps: std::cell::Cell::new(0),
        };
        let events = Vec::with_capacity(EVENTS);
        Ok(Reactor { handle: Handle(Rc::new(inner)), events, woken: Vec::new(), left: Vec::new() })
    }

    /// What tasks work with.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until something happens, at the latest until `deadline`; the last `spin` before it without sleeping. Runs
    /// tasks that were woken and puts what became ready of the owner's own descriptors into `ready` (cleared first).
    ///
    /// # Errors
    /// When the kernel refuses to wait: the loop is of no further use.
    pub fn turn(&mut self, deadline: Option<Instant>, spin: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.run_tasks();
        let idle = self.left.is_empty() && self.handle.0.queue.is_empty();
        let until = match (deadline, self.handle.first_sleeper()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.wait(if idle { Wait::Until(until) } else { Wait::Look }, spin)?;
        self.sort_events(ready);
        self.handle.wake_sleepers();
        self.run_tasks();
        Ok(())
    }

    fn wait(&mut self, wait: Wait, spin: Duration) -> io::Result<()> {
        let Wait::Until(until) = wait else { return self.poll(Some(Duration::ZERO)) };
        let Some(until) = until else { return self.poll(None) };
        let left = until.saturating_duration_since(Instant::now());
        if left > spin {
            self.poll(Some(left - spin))?;
            if !self.events.is_empty() || spin.is_zero() {
                return Ok(());
            }
        } else {
            self.poll(Some(Duration::ZERO))?;
        }
        // Bounded by `spin`: descriptors are looked at all the while, so that answers are not seen late.
        while self.events.is_empty() && Instant::now() < until {
            self.poll(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// One wait in the kernel; interrupted, it has found nothing.
    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout =
            timeout.map(|t| Timespec { tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(t.subsec_nanos()) });
        self.events.clear();
        match epoll::wait(&self.handle.0.epoll, rustix::buffer::spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn sort_events(&mut self, ready: &mut Vec<Ready>) {
        use epoll::EventFlags as F;
        for event in &self.events {
            let (token, flags) = (event.data.u64(), event.flags);
            let readable = flags.intersects(F::IN | F::RDHUP | F::HUP | F::ERR);
            let writable = flags.intersects(F::OUT | F::HUP | F::ERR);
            if token == BELL {
                self.handle.0.queue.heard();
            } else if token & DIRECT != 0 {
                ready.push(Ready { token: token & !DIRECT, readable, writable });
            } else {
                self.handle.source_ready(token, readable, writable);
            }
        }
    }

    fn run_tasks(&mut self) {
        for _ in 0..POLLS {
            let id = match self.left.pop() {
                Some(id) => id,
                None => {
                    self.woken.clear();
                    self.handle.0.queue.take(&mut self.woken);
                    // Taken from the end, so that the first woken runs first.
                    self.woken.reverse();
                    std::mem::swap(&mut self.woken, &mut self.left);
                    match self.left.pop() {
                        Some(id) => id,
                        None => return,
                    }
                }
            };
            let taken = self.handle.0.tasks.borrow_mut().take(id);
            let Some(mut taken) = taken else { continue };
            let ended = taken.poll();
            let gone = self.handle.0.tasks.borrow_mut().put(taken, ended);
            drop(gone);
        }
    }
}

/// How long to wait.
enum Wait {
    /// Not at all: tasks are ready.
    Look,
    /// Until something happens or this moment.
    Until(Option<Instant>),
}

impl Drop for Reactor {
    /// Ends every task: their sockets and sleeps hold the loop, so it would outlive its owner otherwise.
    fn drop(&mut self) {
        let all = self.handle.0.tasks.borrow_mut().drain();
        drop(all);
    }
}

impl Handle {
    /// Runs a future on this loop; it begins with the next turn.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) -> TaskId {
        let (id, waker) = self.0.tasks.borrow_mut().add(Box::pin(work), &self.0.queue);
        waker.wake();
        id
    }

    /// Drops a task where it stands; one that has ended is left alone.
    pub fn cancel(&self, id: TaskId) {
        let work = self.0.tasks.borrow_mut().remove(id);
        drop(work);
    }

    /// Tasks that have not ended.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.0.tasks.borrow().len()
    }

    /// Waits until `at`, at once when it has passed.
    #[must_use]
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep::new(self.clone(), at)
    }

    /// Ends the loop's sleep from other threads.
    #[must_use]
    pub fn notifier(&self) -> Notifier {
        Notifier::new(&self.0.queue)
    }

    /// Registers a descriptor of the owner's once for its whole life, edge-triggered for both directions. `token` (below
    /// 2^62) comes back in [`Ready`]. Closing the descriptor ends the registration.
    ///
    /// # Errors
    /// The system's.
    pub fn register(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        use epoll::EventFlags as F;
        Ok(epoll::add(&self.0.epoll, fd, epoll::EventData::new_u64(DIRECT | token), F::IN | F::OUT | F::RDHUP | F::ET)?)
    }

    pub(crate) fn watch(&self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        use epoll::EventFlags as F;
        // Ready until an attempt shows otherwise: nothing is waited for that has already happened.
        let source = self.0.sources.borrow_mut().insert(Source { ready: [true, false], wakers: [None, None] });
        let data = epoll::EventData::new_u64(source as u64);
        match epoll::add(&self.0.epoll, fd, data, F::IN | F::OUT | F::RDHUP | F::ET) {
            Ok(()) => Ok(source),
            Err(e) => {
                self.0.sources.borrow_mut().remove(source);
                Err(e.into())
            }
        }
    }

    pub(crate) fn unwatch(&self, fd: BorrowedFd<'_>, source: usize) -> io::Result<()> {
        let gone = self.0.sources.borrow_mut().try_remove(source);
        drop(gone);
        Ok(epoll::delete(&self.0.epoll, fd)?)
    }

    pub(crate) fn poll_ready(&self, source: usize, write: bool, cx: &mut Context<'_>) -> Poll<()> {
        let mut sources = self.0.sources.borrow_mut();
        let Some(source) = sources.get_mut(source) else { return Poll::Ready(()) };
        let side = usize::from(write);
        if source.ready[side] {
            return Poll::Ready(());
        }
        match &mut source.wakers[side] {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    pub(crate) fn not_ready(&self, source: usize, write: bool) {
        if let Some(source) = self.0.sources.borrow_mut().get_mut(source) {
            source.ready[usize::from(write)] = false;
        }
    }

    fn source_ready(&self, token: u64, readable: bool, writable: bool) {
        let mut woken = [None, None];
        if let Some(source) = usize::try_from(token).ok().and_then(|t| {
            self.0.sources.borrow_mut().get_mut(t).map(|s| {
                for (side, now) in [readable, writable].into_iter().enumerate() {
                    s.ready[side] |= now;
                }
                [readable.then(|| s.wakers[0].take()).flatten(), writable.then(|| s.wakers[1].take()).flatten()]
            })
        }) {
            woken = source;
        }
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    pub(crate) fn sleeps(&self, at: Instant, number: Option<u64>, waker: &Waker) -> u64 {
        let number = number.unwrap_or_else(|| {
            self.0.sleeps.set(self.0.sleeps.get() + 1);
            self.0.sleeps.get()
        });
        self.0.sleepers.borrow_mut().insert((at, number), waker.clone());
        number
    }

    pub(crate) fn awake(&self, at: Instant, number: u64) {
        let gone = self.0.sleepers.borrow_mut().remove(&(at, number));
        drop(gone);
    }

    fn first_sleeper(&self) -> Option<Instant> {
        self.0.sleepers.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    fn wake_sleepers(&self) {
        if self.0.sleepers.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        loop {
            let mut sleepers = self.0.sleepers.borrow_mut();
            let Some(first) = sleepers.first_entry().filter(|e| e.key().0 <= now) else { return };
            let waker = first.remove();
            drop(sleepers);
            waker.wake();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("tasks", &self.tasks()).finish_non_exhaustive()
    }
}

impl AsFd for Reactor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.0.epoll.as_fd()
    }
}
