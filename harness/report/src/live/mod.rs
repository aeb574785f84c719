//! The run as it goes: state from events, shown as one screen, as plain lines, or as JSON lines. Must not print, read a
//! clock, or judge; marks come from the assessment.

mod plain;
pub(crate) use plain::percent_whole as whole_percent;
mod screen;
mod state;

use crate::style::Style;
use shakedown_core::Plan;
use shakedown_core::event::{Event, Input};
use shakedown_core::units::Offset;
use state::State;
use std::collections::VecDeque;
use std::sync::Arc;

/// Most lines waiting to be printed; older ones are counted and dropped.
const WAITING: usize = 1_000;

/// The live view of one run.
#[derive(Debug)]
pub struct Live {
    plan: Arc<Plan>,
    style: Style,
    state: State,
    waiting: VecDeque<String>,
    dropped: u64,
    last_status: Option<Offset>,
    last_why: String,
    last_told: Vec<plain::Told>,
}

impl Live {
    /// A view of a run that has not begun.
    #[must_use]
    pub fn new(plan: Arc<Plan>, style: Style) -> Live {
        let state = State::new(&plan);
        Live { plan, style, state, waiting: VecDeque::new(), dropped: 0, last_status: None, last_why: String::new(), last_told: Vec::new() }
    }

    /// Takes an event in.
    pub fn push(&mut self, e: &Event) {
        if let Some(line) = plain::phase(&self.plan, &mut self.last_why, e) {
            if self.waiting.len() == WAITING {
                self.waiting.pop_front();
                self.dropped += 1;
            }
            self.waiting.push_back(line);
        }
        self.state.push(e);
    }

    /// Lines to print now, of at most [`plain::WIDTH`] columns: every phase change since the last call, and a status line
    /// when the last one is 5 s old. Call it as often as convenient.
    pub fn plain(&mut self, now: Offset) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        if self.dropped > 0 {
            lines.push(format!("({} earlier lines left out)", std::mem::take(&mut self.dropped)));
        }
        lines.extend(self.waiting.drain(..));
        let due = self.last_status.is_none_or(|last| now.since(last) >= plain::EVERY);
        if due && now >= Offset::ZERO && self.state.under_load() {
            self.last_status = Some(now);
            lines.push(plain::status(&self.plan, &self.state, now, &mut self.last_told));
        }
        lines.iter().flat_map(|l| plain::wrapped(&self.style.fit(l))).collect()
    }

    /// One screen of at most `width` columns, to be redrawn; lines end in a line break.
    #[must_use]
    pub fn screen(&self, now: Offset, width: usize) -> String {
        screen::draw(&self.plan, &self.state, now, Style { width, ..self.style })
    }

    /// One JSON object for `--ui json`: facts, halts, assessments, attestations and ended services as in the journal.
    /// Snapshots, samples, ticks and effects' answers give `None`.
    #[must_use]
    pub fn json_line(e: &Event) -> Option<String> {
        match e.what {
            Input::Fact(_) | Input::Halt(_) | Input::Assessed(_) | Input::Attested { .. } | Input::ServiceExited { .. } => {
                Some(serde_json::to_string(e).expect("an event is plain data"))
            }
            Input::Tick | Input::Snapshot(_) | Input::Done { .. } | Input::Samples(_) => None,
        }
    }
}
