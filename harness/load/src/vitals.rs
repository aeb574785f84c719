//! The generator's self-check: how long its threads waited for a processor, what the machine's host took, descriptors.
//! Reads a few small kernel files that stay open; must not judge what it finds.

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use shakedown_core::snapshot::Vitals;
use shakedown_core::{Offset, Span};
use shakedown_net::limits;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

/// How often what belongs to the whole process is looked at.
const PROCESS_EVERY: Span = Span::secs(1);
/// Bytes of a kernel file that are read: its first line is what counts.
const FIRST_LINE: usize = 256;
const SECOND: u64 = 1_000_000_000;
/// This thread's scheduler statistics: time on a processor, time waiting for one (ns), turns.
const SCHEDSTAT: &str = "/proc/thread-self/schedstat";
/// The machine's processor times.
const STAT: &str = "/proc/stat";

/// Looks at one worker thread, and at the process where it is the one to do so.
#[derive(Debug)]
pub struct Watch {
    run_queue: Meter,
    process: Option<Process>,
    workers: u16,
    quantum: Span,
    spin: Span,
}

/// A kernel file that stays open, and a counter in it.
#[derive(Debug)]
struct Meter {
    file: Option<File>,
    field: usize,
    last: u64,
}

#[derive(Debug)]
struct Process {
    steal: Meter,
    tick: u64,
    next: Offset,
    seen: (u64, u64),
}

impl Watch {
    /// A watch on the calling thread, of `workers` in all. Exactly one worker of a process watches the `process` too. What
    /// the kernel does not show counts as zero, and is said in the log once.
    #[must_use]
    pub fn new(process: bool, workers: u16, quantum: Span, spin: Span) -> Watch {
        let process = process.then(|| Process {
            steal: Meter::open(STAT, 8),
            tick: SECOND / clock_ticks_per_second().max(1),
            next: Offset(i64::MIN),
            seen: (0, 0),
        });
        Watch { run_queue: Meter::open(SCHEDSTAT, 1), process, workers, quantum, spin }
    }

    /// What there is since the last look; for once a beat, on the thread that made it.
    #[must_use]
    pub fn look(&mut self, now: Offset) -> Vitals {
        let mut vitals = Vitals {
            workers: self.workers,
            run_queue: self.run_queue.read(),
            quantum: self.quantum.0,
            spin: self.spin.0,
            ..Vitals::default()
        };
        if let Some(process) = &mut self.process {
            if now >= process.next {
                process.next = now.plus(PROCESS_EVERY);
                // What the kernel does not show counts as zero.
                process.seen = (limits::open_descriptors().unwrap_or(0), limits::descriptor_limit());
                vitals.steal = process.steal.read().saturating_mul(process.tick);
            }
            (vitals.descriptors, vitals.descriptors_max) = process.seen;
        }
        vitals
    }
}

impl Meter {
    fn open(path: &str, field: usize) -> Meter {
        let file = File::open(path).inspect_err(|e| tracing::info!("{path} cannot be read ({e}); it counts as zero")).ok();
        let mut meter = Meter { file, field, last: 0 };
        meter.read();
        meter
    }

    /// How far the counter went since the last time; zero when it cannot be read.
    fn read(&mut self) -> u64 {
        let Some(file) = &self.file else { return 0 };
        let mut bytes = [0; FIRST_LINE];
        let Ok(length) = file.read_at(&mut bytes, 0) else { return 0 };
        let line = bytes[..length].split(|b| *b == b'\n').next().unwrap_or(&[]);
        let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
        let Some(now) = fields.nth(self.field).and_then(|f| std::str::from_utf8(f).ok()?.parse().ok()) else { return 0 };
        now - std::mem::replace(&mut self.last, now).min(now)
    }
}

/// Processor time of the calling thread, ns.
#[must_use]
pub fn processor_time() -> u64 {
    let t = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(t.tv_sec).unwrap_or(0) * SECOND + u64::try_from(t.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;

    #[test]
    fn a_counter_gives_what_came_since() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "cpu  1 2 3 4 5 6 7 800 9\ncpu0 0\n").unwrap();
        let mut meter = Meter::open(file.path().to_str().unwrap(), 8);
        assert_eq!(meter.read(), 0);
        let again = |text: &str| fs::write(file.path(), text).unwrap();
        again("cpu  1 2 3 4 5 6 7 950 9\n");
        assert_eq!(meter.read(), 150);
        again("cpu  1 2 3 4 5 6 7 940 9\n");
        assert_eq!(meter.read(), 0, "a counter that went back");
        again("nothing of the kind");
        assert_eq!(meter.read(), 0);
    }

    #[test]
    fn what_is_missing_is_zero() {
        let mut meter = Meter::open("/proc/there/is/none", 1);
        assert_eq!((meter.read(), meter.read()), (0, 0));
    }

    #[test]
    fn descriptors_are_seen_by_one_watch_once_a_second() {
        let mut watch = Watch::new(true, 2, Span::millis(1), Span(50_000));
        let before = watch.look(Offset(0));
        assert!(before.descriptors > 2 && before.descriptors_max >= before.descriptors, "{before:?}");
        assert_eq!((before.workers, before.quantum, before.spin), (2, 1_000_000, 50_000));
        let held: Vec<File> = (0..50).map(|_| File::open("/proc/self/stat").unwrap()).collect();
        assert_eq!(watch.look(Offset(999_999_999)).descriptors, before.descriptors);
        assert!(watch.look(Offset(1_000_000_000)).descriptors + 20 > before.descriptors + held.len() as u64);
        let other = Watch::new(false, 2, Span::ZERO, Span::ZERO).look(Offset(0));
        assert_eq!((other.descriptors, other.descriptors_max, other.steal), (0, 0, 0));
    }

    #[test]
    fn a_thread_that_works_spends_processor_time() {
        let before = processor_time();
        while processor_time() == before {
            std::hint::spin_loop();
        }
    }
}
