//! Scheduling of the sending thread, the strongest the system allows. `unsafe` here is one call that sets the calling
//! thread's policy. Must not touch any other thread.
//!
//! Real-time first (send lag under load stays in microseconds), then a negative nice value, then whatever there is. A
//! real-time thread that eats its processor would starve whoever it measures, so the worker gives it up when it does.

use std::io;

/// Lowest real-time priority: above every ordinary thread, below every other real-time one.
const LOWEST: i32 = 1;
/// Nice value where real time is not allowed.
const NICE: i32 = -10;

/// What a thread runs at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// `SCHED_FIFO` at the lowest real-time priority.
    RealTime,
    /// Nice −10.
    Nice,
    /// Ordinary.
    Ordinary,
}

/// Gives the calling thread the strongest priority that the system allows; what it got.
#[must_use]
pub fn raise() -> Priority {
    match policy(libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, LOWEST) {
        Ok(()) => Priority::RealTime,
        Err(e) => {
            tracing::debug!("no real-time priority for the load thread: {e}");
            nice()
        }
    }
}

/// Takes real time back from the calling thread; what it has now.
#[must_use]
pub fn relax() -> Priority {
    if let Err(e) = policy(libc::SCHED_OTHER, 0) {
        tracing::warn!("the load thread keeps its real-time priority: {e}");
        return Priority::RealTime;
    }
    nice()
}

fn nice() -> Priority {
    match rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        Ok(()) => Priority::Nice,
        Err(e) => {
            tracing::debug!("no raised priority for the load thread: {e}");
            Priority::Ordinary
        }
    }
}

fn policy(policy: i32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: the pointer is to a live `sched_param`; 0 is the calling thread; nothing is kept.
    let answer = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_raised_as_far_as_allowed_and_given_up() {
        let (raised, relaxed) = std::thread::spawn(|| (raise(), relax())).join().unwrap();
        assert_ne!(relaxed, Priority::RealTime);
        assert!(raised == Priority::RealTime || raised == relaxed);
    }
}
