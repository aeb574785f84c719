//! Several generators' evidence of one run put together: snapshots added up beat by beat, everything else from the
//! controller's journal, in its order. Streams: what it keeps does not grow with the run. Must not judge.
//!
//! Adding is exact in any order. A beat is the time between two reports; what a worker reported by the controller's beat
//! goes with it. What is known is what the slowest who still reports knows. Assessments are left out: they are derived,
//! and were made of one segment's share.

mod pool;

use crate::journal::{self, Raw, Writer};
use crate::segment::{Joined, Segment};
use pool::Pool;
use shakedown_core::Plan;
use shakedown_core::decision::Decision;
use shakedown_core::event::{Event, Fact, HaltBy, Input};
use shakedown_core::seams::{Assessor, Fail};
use shakedown_core::snapshot::{Sample, Snapshot, StreamTotals};
use shakedown_core::units::{Offset, Span};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Merges run directories into `out`, which exists: journal, histograms, samples and [`Joined`]. The segments are whole
/// and in order (see [`crate::complete`]); `kept` is how many failed, and how many slow, requests are kept.
///
/// # Errors
/// When a journal cannot be read or is damaged, or `out` cannot be written.
pub fn merge(
    plan: &Plan,
    segments: &[(PathBuf, Segment)],
    out: &Path,
    assessor: &mut dyn Assessor,
    kept: (usize, usize),
) -> Result<Decision, Fail> {
    let mut parts = Vec::new();
    for (dir, segment) in segments {
        parts.push(Part::open(dir, segment.index)?);
    }
    let (controller, workers) = parts.split_first_mut().ok_or_else(|| Fail::new("there is no segment to merge"))?;
    let streams = plan.streams.iter().map(|s| s.name.clone()).collect();
    let every = i64::try_from(plan.snapshot_every().0.max(1)).unwrap_or(i64::MAX);
    let mut whole =
        Whole { journal: Writer::create(out, plan.slice, streams)?, assessor, seq: 0, at: Offset(i64::MIN), pool: Pool::default(), every };
    let mut drained = false;
    while let Some((event, raw)) = controller.next()? {
        match (event.what, raw) {
            (Input::Snapshot(_), Some(raw)) => whole.beat(event.at, raw, workers)?,
            (Input::Assessed(_), _) => {}
            (what, _) => {
                if what == Input::Fact(Fact::TrafficEnded) {
                    whole.rest(workers, plan.rollout.is_some().then_some((event.at, plan.slice)))?;
                    drained = true;
                }
                whole.append(event.at, what)?;
            }
        }
    }
    if !drained {
        whole.rest(workers, None)?;
    }
    let doubts = doubts(plan, controller, workers, segments.len());
    whole.journal.samples(&samples(segments, kept)?, &str::to_owned)?;
    whole.journal.flush()?;
    let joined = Joined { of: u32::try_from(segments.len()).unwrap_or(u32::MAX), epoch: segments[0].1.epoch.clone(), doubts };
    joined.write(out)?;
    let ended = controller.ended;
    Ok(crate::recompute::concluded(whole.assessor.decide(), ended, Some(&joined)))
}

/// A segment's journal while it is read.
struct Part {
    index: u32,
    reader: journal::Reader,
    /// Its next snapshot, for a worker.
    ahead: Option<Raw>,
    /// Up to where what it reported has been taken.
    told: Offset,
    as_of: Offset,
    streams: BTreeMap<u16, bool>,
    stopped: Option<String>,
    ended: bool,
}

impl Part {
    fn open(dir: &Path, index: u32) -> Result<Part, Fail> {
        let reader = journal::read(dir)?;
        let mut part = Part {
            index,
            reader,
            ahead: None,
            told: Offset(i64::MIN),
            as_of: Offset(i64::MIN),
            streams: BTreeMap::new(),
            stopped: None,
            ended: false,
        };
        if index > 1 {
            part.look_ahead()?;
        }
        Ok(part)
    }

    /// The next event, noted.
    fn next(&mut self) -> Result<Option<(Event, Option<Raw>)>, Fail> {
        let wrong = |Fail(why)| Fail::new(format!("segment {}: {why}", self.index));
        let Some((event, raw)) = self.reader.raw().map_err(wrong)? else { return Ok(None) };
        if let Some(raw) = &raw {
            if raw.snapshot.folded > 0 {
                return Err(Fail::new(format!("segment {}: its slices are folded: it is no segment of a run", self.index)));
            }
            self.as_of = self.as_of.max(raw.snapshot.as_of);
            self.streams.extend(raw.snapshot.streams.iter().map(|(i, totals)| (*i, totals.ended)));
        }
        if let Input::Fact(fact) = &event.what {
            match fact {
                Fact::Halted(by) => self.stopped = Some(words(by)),
                Fact::NotReady { what, why } => self.stopped = Some(format!("{what} was not ready: {why}")),
                Fact::UndoFailed { what, why } if what == "load" => self.stopped = Some(format!("load did not stop: {why}")),
                Fact::Ended => self.ended = true,
                _ => {}
            }
        }
        Ok(Some((event, raw)))
    }

    fn look_ahead(&mut self) -> Result<(), Fail> {
        self.ahead = None;
        while let Some((_, raw)) = self.next()? {
            if raw.is_some() {
                self.ahead = raw;
                break;
            }
        }
        Ok(())
    }

    /// Everything it reported up to a beat.
    fn up_to(&mut self, beat: i64, every: i64) -> Result<Vec<Raw>, Fail> {
        let mut reports = Vec::new();
        while self.ahead.as_ref().is_some_and(|raw| beat_of(raw.snapshot.as_of, every) <= beat) {
            self.told = self.as_of;
            reports.extend(self.ahead.take());
            self.look_ahead()?;
        }
        Ok(reports)
    }
}

/// The nearest beat.
fn beat_of(at: Offset, every: i64) -> i64 {
    at.0.saturating_add(every / 2).div_euclid(every)
}

/// The merged run while it is written.
struct Whole<'a> {
    journal: Writer,
    assessor: &'a mut dyn Assessor,
    seq: u64,
    at: Offset,
    pool: Pool,
    every: i64,
}

impl Whole<'_> {
    fn append(&mut self, at: Offset, what: Input) -> Result<(), Fail> {
        self.at = at;
        let event = Event { seq: self.seq, at, what };
        self.seq += 1;
        self.journal.append(&event)?;
        self.assessor.push(&event);
        Ok(())
    }

    /// A report of the controller, and what the workers reported by then.
    fn beat(&mut self, at: Offset, raw: Raw, workers: &mut [Part]) -> Result<(), Fail> {
        let beat = beat_of(raw.snapshot.as_of, self.every);
        self.pool.add(vec![raw])?;
        let mut known = Offset::MAX;
        for worker in workers {
            let reports = worker.up_to(beat, self.every)?;
            let silent = reports.is_empty();
            self.pool.add(reports)?;
            // Of one that will report again only so much is known as it has told.
            if silent && worker.ahead.is_some() {
                known = known.min(worker.told);
            }
        }
        self.sum(at, known)
    }

    /// What the workers reported after the controller's last report. Where workers go on until they are told, the run ends
    /// with the slice in which the controller's traffic did: they do not know of that end, and what they send after it
    /// may meet an environment that is being taken down.
    fn rest(&mut self, workers: &mut [Part], end: Option<(Offset, Span)>) -> Result<(), Fail> {
        let of = |(at, slice): (Offset, Span)| u64::try_from(at.0).unwrap_or(0).div_ceil(slice.0.max(1));
        self.pool.until = end.map(|end| u32::try_from(of(end)).unwrap_or(u32::MAX));
        let next = |worker: &Part, every| worker.ahead.as_ref().map(|raw| beat_of(raw.snapshot.as_of, every));
        while let Some(beat) = workers.iter().filter_map(|w| next(w, self.every)).min() {
            for worker in &mut *workers {
                let mut reports = worker.up_to(beat, self.every)?;
                let after = |raw: &&mut Raw| end.is_some_and(|(at, slice)| raw.snapshot.as_of > at.plus(slice));
                reports.iter_mut().filter(after).for_each(|raw| no_more_sent(&mut raw.snapshot));
                self.pool.add(reports)?;
            }
            self.sum(self.at, Offset::MAX)?;
        }
        Ok(())
    }

    fn sum(&mut self, at: Offset, known: Offset) -> Result<(), Fail> {
        let Some(mut snapshot) = self.pool.take() else { return Ok(()) };
        snapshot.as_of = snapshot.as_of.min(known);
        self.append(at, Input::Snapshot(snapshot))
    }
}

/// Takes out of a report what was sent after the end: cells are left out by their slice.
fn no_more_sent(report: &mut Snapshot) {
    for totals in report.streams.values_mut() {
        *totals = StreamTotals { in_flight: totals.in_flight, ended: totals.ended, ..StreamTotals::default() };
    }
    report.first_answer.clear();
    report.last_answer.clear();
}

/// Segments whose evidence is not whole.
fn doubts(plan: &Plan, controller: &Part, workers: &[Part], of: usize) -> Vec<String> {
    let every = plan.snapshot_every();
    let mut doubts = Vec::new();
    for part in std::iter::once(controller).chain(workers) {
        let name = format!("segment {} of {of}", part.index);
        let silent = part.streams.values().all(|ended| *ended) && part.streams.len() == plan.streams.len();
        if !part.ended || part.reader.truncated() {
            doubts.push(format!("{name} was cut off: its journal has no end"));
        } else if let Some(why) = part.stopped.as_ref().filter(|_| part.index > 1) {
            doubts.push(format!("{name} did not go through: {why}"));
        } else if !silent && part.as_of.plus(every).plus(every) < controller.as_of {
            let (at, until) = (part.as_of.seconds().max(0.0), controller.as_of.seconds());
            doubts.push(format!("{name} ended early: it reported up to {at:.1} s, the controller up to {until:.1} s"));
        }
    }
    doubts
}

fn words(by: &HaltBy) -> String {
    match by {
        HaltBy::Signal(n) => format!("it was stopped by signal {n}"),
        HaltBy::TimeBox => "it was stopped at its time box".to_owned(),
        HaltBy::Guard(name) => format!("it was stopped by guard {name}"),
        HaltBy::Limit(what) => format!("it was stopped: {what}"),
        HaltBy::Internal(why) => format!("internal error: {why}"),
    }
}

/// The kept requests of all segments, as many as one run keeps: the failed ones in turn (each segment's are a fair choice
/// of its own), of the others the slowest.
fn samples(segments: &[(PathBuf, Segment)], (failed, slow): (usize, usize)) -> Result<Vec<Sample>, Fail> {
    let mut all = Vec::new();
    for (dir, _) in segments {
        all.push(journal::samples(dir)?.into_iter().partition::<Vec<Sample>, _>(|s| s.failure.is_some()));
    }
    let longest = all.iter().map(|(f, _)| f.len()).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|i| all.iter().filter_map(move |(f, _)| f.get(i).cloned()));
    let mut kept: Vec<Sample> = in_turn.take(failed).collect();
    let mut slowest: Vec<Sample> = all.into_iter().flat_map(|(_, s)| s).collect();
    slowest.sort_by(|a, b| b.latency.cmp(&a.latency).then_with(|| (a.at, &a.trace).cmp(&(b.at, &b.trace))));
    kept.extend(slowest.into_iter().take(slow));
    kept.sort_by(|a, b| (a.at, &a.trace).cmp(&(b.at, &b.trace)));
    Ok(kept)
}
