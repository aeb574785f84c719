//! User instructions per request, by stepping the busiest thread of a running generator one instruction at a time. Emulators
//! are no help: callgrind as Debian ships it knows neither `epoll_pwait2` nor `pidfd_open`, and virtual machines rarely have
//! counters. Must not know which generator it is.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs;

/// A round that costs more than this many medians had a second of housekeeping in it: it is left out.
const OUTLIER: f64 = 5.0;
/// Fewer rounds than this say nothing.
const LEAST: usize = 2;

/// What a thread did between asking the kernel for events and asking again: some tools read all answers before they send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// User instructions.
    pub steps: usize,
    /// Requests sent.
    pub sends: usize,
}

/// Mean number of instructions per request over rounds of at least `users` requests, housekeeping left out. A batch is not
/// enough: wrk reads all answers in one and sends all requests in the next.
pub fn per_request(batches: &[Batch], users: usize) -> Result<f64> {
    let mut rounds = Vec::new();
    let mut round = Batch::default();
    for batch in batches {
        round = Batch { steps: round.steps + batch.steps, sends: round.sends + batch.sends };
        if round.sends >= users.max(1) {
            rounds.push(std::mem::take(&mut round));
        }
    }
    // The first may have begun after its answers were read.
    rounds.drain(..rounds.len().min(1));
    if rounds.len() < LEAST {
        bail!("only {} rounds of {users} requests were stepped through", rounds.len());
    }
    let cost = |round: &Batch| round.steps as f64 / round.sends as f64;
    rounds.sort_unstable_by(|a, b| cost(a).total_cmp(&cost(b)));
    let limit = cost(&rounds[rounds.len() / 2]) * OUTLIER;
    let kept = || rounds.iter().filter(|r| cost(r) <= limit);
    let (steps, sends) = kept().fold((0, 0), |all, r| (all.0 + r.steps, all.1 + r.sends));
    Ok(steps as f64 / sends as f64)
}

/// The thread below process `root` that has used most processor time.
pub fn busiest(root: u32) -> Result<i32> {
    let mut parents = BTreeMap::new();
    for pid in numbers("/proc") {
        parents.extend(stat(&format!("/proc/{pid}/stat")).map(|s| (pid, s.0)));
    }
    let below = |mut pid: i32| {
        // No chain of parents is longer than there are processes.
        for _ in 0..parents.len() {
            match parents.get(&pid) {
                Some(parent) if i64::from(*parent) == i64::from(root) => return true,
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let processes = parents.keys().filter(|pid| below(**pid));
    let threads = processes.flat_map(|pid| numbers(&format!("/proc/{pid}/task")).into_iter().map(move |tid| (*pid, tid)));
    let used = threads.filter_map(|(pid, tid)| Some((stat(&format!("/proc/{pid}/task/{tid}/stat"))?.1, tid)));
    used.max().map(|(_, tid)| tid).context("the generator has no thread")
}

/// Parent, and processor time in ticks.
fn stat(path: &str) -> Option<(i32, u64)> {
    let text = fs::read_to_string(path).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok());
    Some((fields.get(1)?.parse().ok()?, ticks(11)? + ticks(12)?))
}

fn numbers(dir: &str) -> Vec<i32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

/// Steps a thread for a while; every whole batch.
#[cfg(target_arch = "x86_64")]
pub fn batches(thread: i32, length: std::time::Duration) -> Result<Vec<Batch>> {
    use nix::sys::ptrace;
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    use nix::unistd::Pid;

    /// write, writev, sendto, sendmsg.
    const SENDS: [u64; 4] = [1, 20, 44, 46];
    /// poll, epoll_wait, ppoll, epoll_pwait, epoll_pwait2.
    const WAITS: [u64; 5] = [7, 232, 271, 281, 441];
    /// The clock is looked at after this many steps.
    const BETWEEN: usize = 256;

    let pid = Pid::from_raw(thread);
    ptrace::seize(pid, ptrace::Options::empty()).context("cannot trace the generator (not root?)")?;
    ptrace::interrupt(pid)?;
    let end = std::time::Instant::now() + length;
    let (mut batches, mut batch, mut number) = (Vec::new(), Batch::default(), 0);
    for step in 1usize.. {
        let pass = match waitpid(pid, Some(WaitPidFlag::__WALL))? {
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(batches),
            WaitStatus::Stopped(_, nix::sys::signal::Signal::SIGTRAP) => {
                let registers = ptrace::getregs(pid)?;
                batch.steps += 1;
                // Entering the kernel leaves the return address in rcx; the number was in rax before.
                if registers.rcx == registers.rip {
                    batch.sends += usize::from(SENDS.contains(&number));
                    if WAITS.contains(&number) {
                        batches.push(std::mem::take(&mut batch));
                    }
                }
                number = registers.rax;
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        if step % BETWEEN == 0 && std::time::Instant::now() >= end {
            ptrace::detach(pid, pass)?;
            break;
        }
        ptrace::step(pid, pass)?;
    }
    // The first began before it was looked at.
    batches.drain(..batches.len().min(1));
    Ok(batches)
}

/// Only where the registers are known.
#[cfg(not(target_arch = "x86_64"))]
pub fn batches(_thread: i32, _length: std::time::Duration) -> Result<Vec<Batch>> {
    bail!("instructions are counted on x86-64 only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn housekeeping_is_left_out_and_too_few_say_nothing() {
        let mut batches = vec![Batch { steps: 1000, sends: 10 }; 7];
        batches.extend([Batch { steps: 50_000, sends: 10 }, Batch { steps: 400, sends: 2 }]);
        assert_eq!(per_request(&batches, 10).unwrap(), 100.0);
        assert!(per_request(&batches[..2], 10).is_err());
        assert!(per_request(&[], 10).is_err());
    }

    #[test]
    fn reading_in_one_batch_and_sending_in_the_next_costs_both() {
        let batches = [Batch { steps: 500, sends: 10 }, Batch { steps: 4000, sends: 0 }].repeat(4);
        assert_eq!(per_request(&batches, 10).unwrap(), 450.0);
    }

    #[test]
    fn nobody_is_below_a_process_that_is_none() {
        assert!(busiest(u32::MAX).is_err());
        assert!(stat("/proc/self/stat").is_some());
    }
}
