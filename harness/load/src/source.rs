//! Arrivals of an open stream or a replay behind one face. Pure.

use crate::pacer::{Arrival, Pacer};
use crate::replay::Log;
use shakedown_core::Span;

/// Where arrivals come from. A replay's log is passed in, so that two sources can share it.
#[derive(Clone, Debug)]
pub enum Source {
    /// A shape.
    Paced(Box<Pacer>),
    /// The next entry of a log.
    Logged(usize),
}

impl Source {
    /// The next arrival without taking it.
    pub fn peek(&mut self, log: Option<&Log>) -> Option<Arrival> {
        match self {
            Source::Paced(pacer) => pacer.peek(),
            Source::Logged(at) => {
                let entry = log?.entries.get(*at)?;
                Some(Arrival { k: *at as u64, due: Span(entry.due) })
            }
        }
    }

    /// The next arrival.
    pub fn next(&mut self, log: Option<&Log>) -> Option<Arrival> {
        match self {
            Source::Paced(pacer) => pacer.next(),
            Source::Logged(at) => {
                let entry = log?.entries.get(*at)?;
                *at += 1;
                Some(Arrival { k: *at as u64 - 1, due: Span(entry.due) })
            }
        }
    }

    /// Takes all that are due by `now`; how many.
    pub fn take_until(&mut self, now: Span, log: Option<&Log>) -> u64 {
        let mut taken = 0;
        while self.peek(log).is_some_and(|a| a.due <= now) {
            self.next(log);
            taken += 1;
        }
        taken
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
            Source::Logged(_) => log.map_or(Span::ZERO, Log::length),
        }
    }
}
