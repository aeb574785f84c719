//! The shim every started program runs under: `<exe> shim --parent PID [--no-namespace] -- argv…`. Its death signal ties
//! it to the keeper thread; it makes a PID namespace whose init ([`crate::init`]) is tied to the shim, so that SIGKILL of
//! the harness ends every process below, daemonised ones too. Must run before any thread is started.

use crate::{init, sys, tree};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, getgid, getppid, getuid};
use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::exit;

/// Exit code when the shim itself could not do its work.
const BROKEN: i32 = 125;
/// Exit code of a shim whose harness is gone.
const ORPHANED: i32 = 137;
/// Marks the line that says that namespaces are not available here.
pub(crate) const NO_NAMESPACE: &str = "SHAKEDOWN-NO-NAMESPACE";
/// Most rounds of killing what is left below a shim without a namespace; each ends at once when nothing is left.
const SWEEPS: usize = 1000;

struct Args {
    parent: i32,
    namespace: bool,
    argv: Vec<CString>,
}

/// The hidden subcommand `shim`: runs a program so that it cannot outlive the harness. `args` are those after `shim`.
/// Ends with the program's exit status, or by the signal that ended it. Call it first in `main`: it forks.
#[must_use]
pub fn shim_main(args: Vec<OsString>) -> i32 {
    let run = || -> io::Result<i32> {
        let args = parse(args)?;
        SigSet::all().thread_block()?;
        let _ = prctl::set_name(c"shakedown-shim");
        if args.namespace
            && let Err(why) = new_namespace()
        {
            say(&format!("{NO_NAMESPACE} PID namespaces are not available here ({why}); falling back to death signals"));
        } else if args.namespace {
            return in_namespace(&args);
        }
        without_namespace(&args)
    };
    run().unwrap_or_else(|why| {
        say(&format!("shakedown: {why}"));
        BROKEN
    })
}

fn parse(args: Vec<OsString>) -> io::Result<Args> {
    let wrong = || io::Error::other("the shim takes `--parent PID [--no-namespace] -- program…`; it is no command for people");
    let split = args.iter().position(|a| a == "--").ok_or_else(wrong)?;
    let argv: Vec<CString> = args[split + 1..].iter().map(|a| CString::new(a.clone().into_vec())).collect::<Result<_, _>>()?;
    let parent = args.iter().position(|a| a == "--parent").and_then(|i| args.get(i + 1)).and_then(|p| p.to_str()?.parse().ok());
    let namespace = !args[..split].iter().any(|a| a == "--no-namespace");
    if argv.is_empty() { Err(wrong()) } else { Ok(Args { parent: parent.ok_or_else(wrong)?, namespace, argv }) }
}

/// Standard error is the service's log; when even that is closed there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// New PID and mount namespaces for the children to come; a user namespace too when not root, with the same identity.
/// All or nothing: a PID namespace without a mount namespace would make init's `/proc` everybody's.
fn new_namespace() -> io::Result<()> {
    let both = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    if getuid().is_root() {
        return Ok(unshare(both)?);
    }
    // There is no way back out of a user namespace that then cannot be mapped, so a child tries it first.
    match sys::fork()? {
        ForkResult::Child => exit(enter_user_namespace(both).map_or_else(|why| why.raw_os_error().unwrap_or(libc::EPERM), |()| 0)),
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => enter_user_namespace(both),
            WaitStatus::Exited(_, errno) => Err(io::Error::from_raw_os_error(errno)),
            other => Err(io::Error::other(format!("{other:?}"))),
        },
    }
}

fn enter_user_namespace(also: CloneFlags) -> io::Result<()> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER | also)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Ties this process to its parent thread. After the death signal is set the parent must still be there: it may have
/// gone between fork and here. A change of credentials clears the signal, so this comes after `unshare`.
fn tie(args: &Args, signal: Signal) -> io::Result<bool> {
    prctl::set_pdeathsig(signal)?;
    Ok(getppid().as_raw() == args.parent)
}

fn in_namespace(args: &Args) -> io::Result<i32> {
    if !tie(args, Signal::SIGKILL)? {
        return Ok(ORPHANED);
    }
    let (alive, shim_end) = io::pipe()?;
    let (mut answer, answer_end) = io::pipe()?;
    match sys::fork()? {
        ForkResult::Child => {
            drop((shim_end, answer));
            Ok(init::run(&args.argv, &alive, answer_end))
        }
        ForkResult::Parent { child } => {
            drop((alive, answer_end));
            let ended = supervise(child, args.parent, false);
            let mut told = [0; 4];
            let code = answer.read_exact(&mut told).map_or(ended, |()| i32::from_ne_bytes(told));
            drop(shim_end);
            Ok(end_like(code))
        }
    }
}

/// Without namespaces: orphans come to the shim (subreaper), which kills them when the program or the harness ends.
fn without_namespace(args: &Args) -> io::Result<i32> {
    prctl::set_child_subreaper(true)?;
    // Catchable, so that the shim can kill what is below it before it goes.
    if !tie(args, Signal::SIGHUP)? {
        return Ok(ORPHANED);
    }
    let shim = nix::unistd::getpid();
    match sys::fork()? {
        ForkResult::Child => {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            if getppid() != shim {
                return Ok(ORPHANED);
            }
            Ok(init::become_program(&args.argv))
        }
        ForkResult::Parent { child } => {
            let code = supervise(child, args.parent, true);
            sweep();
            Ok(end_like(code))
        }
    }
}

/// Forwards signals to the child and reaps until it ends; gives its exit status or −signal. With `orphans` it also
/// returns (after killing all below) as soon as the harness is gone.
fn supervise(child: Pid, parent: i32, orphans: bool) -> i32 {
    loop {
        if orphans && getppid().as_raw() != parent {
            sweep();
            return ORPHANED;
        }
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(child) {
                    return code;
                }
            }
            // The child may have ended this instant; its SIGCHLD comes next.
            Ok(signal) => drop(kill(child, signal)),
            Err(_) => {}
        }
    }
}

/// Takes the status of every ended child; gives that of `child` when it is among them.
pub(crate) fn reap(child: Pid) -> Option<i32> {
    let mut ended = None;
    while let Some((pid, code)) = sys::reap_any() {
        if pid == child.as_raw() {
            ended = Some(code);
        }
    }
    ended
}

/// Kills everything below this process until nothing is left.
fn sweep() {
    let me = nix::unistd::getpid().as_raw();
    for _ in 0..SWEEPS {
        let left = tree::descendants(me);
        for pid in &left {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        // The loop that follows takes away zombies, which would otherwise count as children for ever.
        while sys::reap_any().is_some() {}
        if left.is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Ends as the program did: by the same signal, else gives its exit code.
fn end_like(code: i32) -> i32 {
    if code >= 0 {
        return code;
    }
    // Real-time signals have no name here: told the way a shell does.
    let Ok(signal) = Signal::try_from(-code) else { return 128 - code };
    // No second core file for one crash.
    let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
    sys::default_disposition(signal);
    let _ = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let _ = raise(signal);
    128 - code
}
