//! The few system calls that need `unsafe`: fork, raw wait and ptrace detach (both with real-time signals, which the
//! safe wrappers refuse after having taken the event), signal dispositions. Must hold no logic.

use nix::errno::Errno;
use nix::unistd::ForkResult;
use std::io;

/// What a traced thread did last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing new.
    Nothing,
    /// It ended, or is nobody's tracee any more.
    Gone,
    /// It is stopped: the ptrace event (0 for a signal about to be delivered) and the signal.
    Stopped {
        /// `PTRACE_EVENT_*`, or 0.
        event: i32,
        /// Signal number.
        signal: i32,
    },
}

/// Event number of an interrupt stop or a group stop of a seized thread.
pub const EVENT_STOP: i32 = libc::PTRACE_EVENT_STOP;

/// Asks once, without waiting, what the traced thread `tid` did.
pub fn look(tid: i32) -> Seen {
    let mut status = 0;
    // SAFETY: waitpid only writes the status it is given a valid pointer to.
    let got = unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) };
    if got == 0 || (got < 0 && Errno::last() == Errno::EINTR) {
        Seen::Nothing
    } else if got < 0 || !libc::WIFSTOPPED(status) {
        Seen::Gone
    } else {
        Seen::Stopped { event: status >> 16, signal: libc::WSTOPSIG(status) }
    }
}

/// Takes the status of one child that has ended: its pid and exit code or −signal. `None` when none has.
pub fn reap_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: waitpid only writes the status it is given a valid pointer to.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let code = if libc::WIFSIGNALED(status) { -libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
    (pid > 0).then_some((pid, code))
}

/// Lets a stopped tracee go on untraced and delivers `signal` to it (0 is none).
///
/// # Errors
/// `ESRCH` when it is not stopped or no longer there.
pub fn detach(tid: i32, signal: i32) -> Result<(), Errno> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    let data = signal as usize as *mut libc::c_void;
    // SAFETY: PTRACE_DETACH reads no memory of ours; `data` is a signal number, not a pointer.
    Errno::result(unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, nothing, data) }).map(drop)
}

/// Forks a process that has exactly one thread.
///
/// # Errors
/// When it has more threads (a forked child could then find locks held for ever), or the kernel refuses.
pub fn fork() -> io::Result<ForkResult> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("{threads} threads are running where the shim needs one")));
    }
    // SAFETY: this process has one thread, so no lock can be held by a thread that does not exist in the child.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// Gives a signal its default disposition, as a program expects it when it starts.
pub fn default_disposition(signal: nix::sys::signal::Signal) {
    // SAFETY: SIG_DFL installs no handler. A failure (only KILL and STOP) leaves the default they always have.
    let _ = unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) };
}
