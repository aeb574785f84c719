//! The loop itself: waits for descriptors, deadlines and wakes, and runs the tasks that became ready. Must not know
//! bytes.

use crate::queue::{Notifier, Queue};
use crate::sleep::Sleep;
use crate::task::{TaskId, Tasks};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use slab::Slab;
use std::cell::{Cell, RefCell};
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
/// Between so many polls the owner's deadline is looked at.
const LOOK_EVERY: usize = 8;
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
    /// The peer sends nothing more, or the connection is broken; what it sent before can still be read.
    pub ended: bool,
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
    sleeps: Cell<u64>,
    soon: Cell<bool>,
}

/// What tasks and the owner do with a loop. Cheap to clone; stays on its thread.
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

/// The loop of one thread.
pub struct Reactor {
    handle: Handle,
    events: Vec<epoll::Event>,
    /// Woken and not yet polled, the next one last.
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
            sleeps: Cell::new(0),
            soon: Cell::new(false),
        };
        let events = Vec::with_capacity(EVENTS);
        Ok(Reactor { handle: Handle(Rc::new(inner)), events, left: Vec::new() })
    }

    /// What tasks work with.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until something happens, at the latest until `deadline`; the last `spin` before it without sleeping (the
    /// sleeps of tasks are not spun for). Runs tasks that were woken and puts what became ready of the owner's own
    /// descriptors into `ready` (cleared first). Does not sleep when a task ended in it or asked for that
    /// ([`Handle::return_soon`]): the owner may have something to take up.
    ///
    /// # Errors
    /// When the kernel refuses to wait: the loop is of no further use.
    pub fn turn(&mut self, deadline: Option<Instant>, spin: Duration, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        self.handle.0.soon.set(false);
        self.run_tasks(deadline);
        if self.left.is_empty() && self.handle.0.queue.is_empty() && !self.handle.0.soon.get() {
            self.wait(deadline, spin)?;
        } else {
            self.poll(Some(Duration::ZERO))?;
        }
        self.sort_events(ready);
        self.handle.wake_sleepers();
        self.run_tasks(deadline);
        Ok(())
    }

    /// Drives the loop until `work` is done or `until` has come (`None` then; it is dropped).
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    pub fn run<T: 'static>(&mut self, until: Instant, work: impl Future<Output = T> + 'static) -> io::Result<Option<T>> {
        let done = Rc::new(Cell::new(None));
        let (into, mut ready) = (Rc::clone(&done), Vec::new());
        let id = self.handle.spawn(async move { into.set(Some(work.await)) });
        while Instant::now() < until {
            self.turn(Some(until), Duration::ZERO, &mut ready)?;
            if let Some(value) = done.take() {
                return Ok(Some(value));
            }
        }
        self.handle.cancel(id);
        Ok(None)
    }

    fn wait(&mut self, deadline: Option<Instant>, spin: Duration) -> io::Result<()> {
        let sleeper = self.handle.first_sleeper();
        // From here on nothing sleeps.
        let awake = deadline.map(|d| d.checked_sub(spin).unwrap_or(d));
        let Some(until) = earlier(awake, sleeper) else { return self.poll(None) };
        self.poll(Some(until.saturating_duration_since(Instant::now())))?;
        let (Some(awake), Some(end)) = (awake, earlier(deadline, sleeper)) else { return Ok(()) };
        // Interrupted, or a sleeper's time has come: the wait goes on in the next turn.
        if spin.is_zero() || Instant::now() < awake {
            return Ok(());
        }
        // Bounded by `spin`: descriptors are looked at all the while, so that answers are not seen late.
        while self.events.is_empty() && Instant::now() < end {
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
                let ended = flags.intersects(F::RDHUP | F::HUP | F::ERR);
                ready.push(Ready { token: token & !DIRECT, readable, writable, ended });
            } else {
                self.handle.source_ready(token, readable, writable);
            }
        }
    }

    /// Polls woken tasks in the order of their wakes, at most [`POLLS`], and no more once the deadline has come.
    fn run_tasks(&mut self, deadline: Option<Instant>) {
        for round in 1..=POLLS {
            let Some(id) = self.next_woken() else { return };
            let taken = self.handle.0.tasks.borrow_mut().take(id);
            let Some(mut taken) = taken else { continue };
            let ended = taken.poll();
            if ended {
                self.handle.return_soon();
            }
            let gone = self.handle.0.tasks.borrow_mut().put(taken, ended);
            drop(gone);
            if round % LOOK_EVERY == 0 && deadline.is_some_and(|d| Instant::now() >= d) {
                return;
            }
        }
    }

    fn next_woken(&mut self) -> Option<TaskId> {
        if self.left.is_empty() {
            self.handle.0.queue.take(&mut self.left);
            // Taken from the end, so that the first woken runs first.
            self.left.reverse();
        }
        self.left.pop()
    }
}

/// The earlier of two moments that may not be.
fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

impl Drop for Reactor {
    /// Ends every task: their sockets and sleeps hold the loop, so it would outlive its owner otherwise.
    fn drop(&mut self) {
        let all = self.handle.0.tasks.borrow_mut().close();
        drop(all);
    }
}

impl Handle {
    /// Runs a future on this loop; it begins with the next turn.
    pub fn spawn(&self, work: impl Future<Output = ()> + 'static) -> TaskId {
        let added = self.0.tasks.borrow_mut().add(Box::pin(work), &self.0.queue);
        match added {
            Ok((id, waker)) => {
                waker.wake();
                id
            }
            // The loop is gone.
            Err(_work) => TaskId::NONE,
        }
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

    /// Makes the current turn end without sleeping: for tasks that leave something for the loop's owner.
    pub fn return_soon(&self) {
        self.0.soon.set(true);
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

    /// Gives a task's descriptor to the owner under `token`; what it is ready for comes anew.
    pub(crate) fn hand_over(&self, fd: BorrowedFd<'_>, source: usize, token: u64) -> io::Result<()> {
        use epoll::EventFlags as F;
        let gone = self.0.sources.borrow_mut().try_remove(source);
        drop(gone);
        Ok(epoll::modify(&self.0.epoll, fd, epoll::EventData::new_u64(DIRECT | token), F::IN | F::OUT | F::RDHUP | F::ET)?)
    }

    pub(crate) fn poll_ready(&self, source: usize, write: bool, cx: &mut Context<'_>) -> Poll<()> {
        let mut sources = self.0.sources.borrow_mut();
        let Some(source) = sources.get_mut(source) else { return Poll::Ready(()) };
        let side = usize::from(write);
        if source.ready[side] {
            return Poll::Ready(());
        }
        if source.wakers[side].as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let old = source.wakers[side].replace(cx.waker().clone());
        // Whatever a stranger's waker does when it goes, it does it outside of the borrow.
        drop(sources);
        drop(old);
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
        let old = self.0.sleepers.borrow_mut().insert((at, number), waker.clone());
        drop(old);
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
