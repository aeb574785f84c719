//! Arrivals of an open stream or a replay behind one face. Pure.

use crate::pacer::{Arrival, Pacer, Share};
use crate::replay::Log;
use shakedown_core::Span;

/// Where arrivals come from. A replay's log is passed in, so that two sources can share it.
#[derive(Clone, Debug)]
pub enum Source {
    /// A shape.
    Paced(Box<Pacer>),
    /// The entries of a log from this one on, of a share.
    Logged(u64, Share),
}

impl Source {
    /// The arrivals of a shape.
    #[must_use]
    pub fn paced(pacer: Pacer) -> Source {
        Source::Paced(Box::new(pacer))
    }

    /// The entries of a log that belong to a share.
    #[must_use]
    pub fn logged(share: Share) -> Source {
        Source::Logged(u64::from(share.index), share)
    }

    /// The next arrival without taking it.
    #[must_use]
    pub fn peek(&self, log: Option<&Log>) -> Option<Arrival> {
        match self {
            Source::Paced(pacer) => pacer.peek(),
            Source::Logged(at, _) => {
                let entry = log?.entries.get(usize::try_from(*at).ok()?)?;
                Some(Arrival { k: *at, due: Span(entry.due) })
            }
        }
    }

    /// The next arrival.
    pub fn next(&mut self, log: Option<&Log>) -> Option<Arrival> {
        if let Source::Paced(pacer) = self {
            return pacer.next();
        }
        let arrival = self.peek(log)?;
        if let Source::Logged(at, share) = self {
            *at += u64::from(share.of.max(1));
        }
        Some(arrival)
    }

    /// Passes over everything due by `now`; how many that is. Takes the same time however many they are.
    pub fn skip_until(&mut self, now: Span, log: Option<&Log>) -> u64 {
        match self {
            Source::Paced(pacer) => pacer.skip_until(now),
            Source::Logged(at, share) => {
                let (due, of) = (log.map_or(0, |log| log.entries.partition_point(|e| e.due <= now.0)) as u64, u64::from(share.of.max(1)));
                let skipped = due.saturating_sub(*at).div_ceil(of);
                *at += skipped * of;
                skipped
            }
        }
    }

    /// Whether the last rate goes on past the end; a replay never does.
    pub fn go_on(&mut self, goes_on: bool) {
        if let Source::Paced(pacer) = self {
            pacer.go_on(goes_on);
        }
    }

    /// When the last arrival of its own shape is over.
    #[must_use]
    pub fn end(&self, log: Option<&Log>) -> Span {
        match self {
            Source::Paced(pacer) => pacer.end(),
            Source::Logged(..) => log.map_or(Span::ZERO, Log::length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds::Seed;
    use shakedown_core::plan::Replay;
    use std::io::Write as _;

    fn log() -> Log {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for n in 0..100 {
            writeln!(file, "h - - [17/May/2015:10:00:{:02} +0000] \"GET /{n} HTTP/1.1\" 200 1", n / 5).unwrap();
        }
        let file = file.path().to_str().unwrap();
        let replay = Replay {
            file: file.to_owned(),
            format: "access-log".into(),
            speed_ppm: 1_000_000,
            between: None,
            gaps: None,
            methods: vec![],
            expect_recorded: false,
        };
        Log::read(&replay, Seed::of(1)).unwrap()
    }

    #[test]
    fn shares_of_a_replay_are_the_whole() {
        let log = log();
        let mut whole = Source::logged(Share::WHOLE);
        let expected: Vec<Arrival> = std::iter::from_fn(|| whole.next(Some(&log))).collect();
        assert_eq!((expected.len(), whole.peek(Some(&log))), (100, None));
        let mut union = Vec::new();
        for index in 0..3 {
            let mut source = Source::logged(Share { index, of: 3 });
            for second in 0..22 {
                let now = Span::secs(second);
                while source.peek(Some(&log)).is_some_and(|a| a.due <= now) {
                    union.extend(source.next(Some(&log)));
                }
            }
        }
        union.sort_unstable_by_key(|a| a.k);
        assert_eq!(union, expected);
    }
}
