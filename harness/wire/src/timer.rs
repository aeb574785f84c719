//! A timer exact to microseconds: tokio's own rounds up to whole milliseconds. One timerfd and one driver task serve
//! any number of sleepers; the kernel's timer wakes a little early and the rest is spun, bounded by [`MAX_LEAD`].
//! Holds this crate's only unsafe call: handing the descriptor to the runtime's reactor.

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use shakedown_core::Fail;
use std::collections::BTreeMap;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;

/// Least time before its moment at which a sleeper is woken to spin: covers a wake-up on a machine that was not idle.
const LEAD: Duration = Duration::from_micros(60);
/// Most time a sleeper spins: a processor that idled for milliseconds takes longer to wake up.
pub const MAX_LEAD: Duration = Duration::from_micros(200);
/// The longer the wait, the deeper the processor's sleep: one hundredth of the wait is added to the lead.
const LEAD_PER_WAIT: u32 = 100;

/// The timer. Cheap to share; sleepers of a dropped timer end at once.
#[derive(Debug)]
pub struct Timer {
    shared: Arc<Shared>,
    driver: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    fd: AsyncFd<OwnedFd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
    armed: Option<Instant>,
    stopped: bool,
}

/// Resolves at its moment, never before.
#[derive(Debug)]
pub struct Sleep {
    shared: Arc<Shared>,
    until: Instant,
    /// When it is woken to spin.
    wake: Instant,
    place: Option<u64>,
}

impl Timer {
    /// Starts the driver on the current tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no timer descriptor.
    pub fn start() -> Result<Timer, Fail> {
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map_err(|e| Fail::new(format!("cannot create a timer descriptor: {e}; raise the limit of open files (`ulimit -n`)")))?;
        // SAFETY: the `AsyncFd` owns the `OwnedFd`, which is open, refers to one descriptor and is neither exchanged nor
        // closed before the `AsyncFd` is dropped.
        let fd = unsafe { AsyncFd::register(fd) }.map_err(|e| Fail::new(format!("cannot watch a timer descriptor: {e}")))?;
        let shared = Arc::new(Shared { fd, state: Mutex::default() });
        let driver = tokio::spawn(drive(Arc::clone(&shared)));
        Ok(Timer { shared, driver })
    }

    /// A future that resolves at `until` (at once when that is past). May be dropped at any time.
    #[must_use]
    pub fn until(&self, until: Instant) -> Sleep {
        let wait = until.saturating_duration_since(Instant::now());
        let lead = (LEAD + wait / LEAD_PER_WAIT).min(MAX_LEAD);
        Sleep { shared: Arc::clone(&self.shared), until, wake: until.checked_sub(lead).unwrap_or(until), place: None }
    }

    /// A future that resolves after `span`.
    #[must_use]
    pub fn after(&self, span: Duration) -> Sleep {
        self.until(Instant::now() + span)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.driver.abort();
        let mut state = self.shared.lock();
        state.stopped = true;
        for waker in std::mem::take(&mut state.sleepers).into_values() {
            waker.wake();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Arms the descriptor for the earliest sleeper, unless it is armed for that or earlier.
    fn arm(&self, state: &mut State) {
        let Some(((first, _), _)) = state.sleepers.first_key_value() else { return };
        if state.armed.is_some_and(|armed| armed <= *first) {
            return;
        }
        let wait = first.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(wait.subsec_nanos()) };
        let spec = Itimerspec { it_interval: zero, it_value: value };
        match rustix::time::timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &spec) {
            Ok(_) => state.armed = Some(*first),
            // Only a malformed time can fail here; sleepers then poll again through the driver's own fallback.
            Err(error) => tracing::error!(%error, "cannot arm the timer"),
        }
    }
}

async fn drive(shared: Arc<Shared>) {
    loop {
        let Ok(mut ready) = shared.fd.readable().await else { return };
        let mut count = [0_u8; 8];
        if rustix::io::read(&shared.fd, &mut count).is_err() {
            // Re-armed between the wake-up and the read: wait for the new expiry.
            ready.clear_ready();
            continue;
        }
        ready.clear_ready();
        drop(ready);
        let mut due = Vec::new();
        {
            let mut state = shared.lock();
            state.armed = None;
            let now = Instant::now();
            while let Some(first) = state.sleepers.first_entry().filter(|first| first.key().0 <= now) {
                due.push(first.remove());
            }
            shared.arm(&mut state);
        }
        due.into_iter().for_each(Waker::wake);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.wake {
            while Instant::now() < self.until {
                std::hint::spin_loop();
            }
            self.forget();
            return Poll::Ready(());
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.stopped {
            return Poll::Ready(());
        }
        let place = *self.place.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        state.sleepers.insert((self.wake, place), cx.waker().clone());
        shared.arm(&mut state);
        Poll::Pending
    }
}

impl Sleep {
    fn forget(&mut self) {
        if let Some(place) = self.place.take() {
            self.shared.lock().sleepers.remove(&(self.wake, place));
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget();
    }
}
