//! A timerfd on the runtime: the one place with `unsafe`, a promise that the descriptor stays open and the same. Must
//! not know who waits.

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// A one-shot timer without slack.
#[derive(Debug)]
pub struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// A timer on the running runtime.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Timer> {
        let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        // SAFETY: the `OwnedFd` is moved in and never taken out or replaced, so the descriptor stays open and is the
        // same until the `AsyncFd` is dropped.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Timer(fd))
    }

    /// Sets it to go off after `wait` (at least 1 ns), instead of what was set before.
    ///
    /// # Errors
    /// The system's.
    pub fn set(&self, wait: Duration) -> io::Result<()> {
        let wait = wait.max(Duration::from_nanos(1));
        let value = Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(wait.subsec_nanos()) };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }

    /// Waits until it goes off (or may have).
    ///
    /// # Errors
    /// The system's.
    pub async fn gone_off(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut expirations = [0u8; 8];
        match rustix::io::read(self.0.get_ref(), &mut expirations) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }
}
