//! Init of a service's PID namespace: starts the program, reaps orphans, forwards signals. When it ends, the kernel kills
//! everything in the namespace. Must start nothing but the one program.

use crate::shim::{reap, say};
use crate::sys;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::unistd::{ForkResult, execvp, setsid};
use std::ffi::CString;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;

/// As a shell says it: found, but could not be run.
const NOT_RUNNABLE: i32 = 126;
/// As a shell says it: there is no such program.
const NOT_FOUND: i32 = 127;
/// Exit code when the shim is gone.
const ORPHANED: i32 = 137;
/// Exit code when init cannot do its work.
const BROKEN: i32 = 125;

/// Runs the program to its end and tells the shim its status (exit code or −signal). `alive` hangs up when the shim ends.
pub fn run(argv: &[CString], alive: &PipeReader, mut answer: PipeWriter) -> i32 {
    let _ = prctl::set_name(c"shakedown-init");
    if let Err(why) = prctl::set_pdeathsig(Signal::SIGKILL) {
        say(&format!("shakedown: cannot set a parent-death signal: {why}"));
        return BROKEN;
    }
    // The parent lives in another namespace, so getppid says 0: the pipe tells whether it went before the signal was set.
    if shim_is_gone(alive) {
        return ORPHANED;
    }
    own_proc();
    match sys::fork() {
        Ok(ForkResult::Child) => become_program(argv),
        Ok(ForkResult::Parent { child }) => {
            let code = loop {
                match SigSet::all().wait() {
                    Ok(Signal::SIGCHLD) => {
                        if let Some(code) = reap(child) {
                            break code;
                        }
                    }
                    Ok(signal) => drop(kill(child, signal)),
                    Err(_) => {}
                }
            };
            // A shim that does not hear it takes our own exit status instead.
            let _ = answer.write_all(&code.to_ne_bytes());
            if code < 0 { 128 - code } else { code }
        }
        Err(why) => {
            say(&format!("shakedown: cannot fork: {why}"));
            BROKEN
        }
    }
}

fn shim_is_gone(alive: &PipeReader) -> bool {
    let mut fds = [PollFd::new(alive.as_fd(), PollFlags::POLLIN)];
    let polled = poll(&mut fds, PollTimeout::ZERO);
    polled.is_err() || fds[0].revents().is_none_or(|events| events.contains(PollFlags::POLLHUP))
}

/// A `/proc` that shows the namespace's own process numbers, where that is allowed; programs run without it too.
fn own_proc() {
    let none = None::<&str>;
    let slave = mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none);
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let _ = slave.and_then(|()| mount(Some("proc"), "/proc", Some("proc"), flags, none));
}

/// Turns this process into the program, in a session of its own so that `kill 0` in it does not reach the shim.
/// Returns only when it could not.
pub fn become_program(argv: &[CString]) -> i32 {
    let _ = setsid();
    sys::default_disposition(Signal::SIGPIPE);
    if let Err(why) = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None) {
        say(&format!("shakedown: cannot unblock signals: {why}"));
        return BROKEN;
    }
    let Err(why) = execvp(&argv[0], argv);
    let missing = why == nix::errno::Errno::ENOENT;
    say(&format!("shakedown: cannot start `{}`: {}", argv[0].to_string_lossy(), if missing { "no such program" } else { why.desc() }));
    if missing { NOT_FOUND } else { NOT_RUNNABLE }
}
