//! What a plan will send, worked out beforehand: for `plan` and `check`. Reads replay logs; sends nothing.

use crate::curve;
use crate::pacer::Pacer;
use crate::replay::Log;
use crate::seeds::Seed;
use shakedown_core::plan::{Model, Plan, Stream};
use shakedown_core::{Fail, Rate, Span};

/// What an answer is taken to need when a closed model's rate is estimated.
const ASSUMED_ANSWER: f64 = 0.05;

/// What one stream will send over its own shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Stream name.
    pub stream: String,
    /// Arrivals expected over its own shape (a journey is one arrival). For a closed model an estimate with answers
    /// of 50 ms.
    pub requests: f64,
    /// Highest rate: of the shape, or of the busiest second of a replay.
    pub peak: Rate,
    /// How long the shape or the replayed part is.
    pub length: Span,
    /// Log lines that are no log lines.
    pub lines_skipped: u64,
    /// For people: the first such lines with their numbers, and what a recording does not hold.
    pub notes: Vec<String>,
}

/// Forecasts every stream, in file order.
///
/// # Errors
/// When a replay log cannot be read, or holds nothing that can be replayed; names the file.
pub fn forecast(plan: &Plan) -> Result<Vec<Forecast>, Fail> {
    plan.streams.iter().map(|s| one(plan, s)).collect()
}

/// The seed that spreads a replay's requests within their second.
#[must_use]
pub fn replay_seed(plan: &Plan, stream: &Stream) -> Seed {
    Seed::of(plan.seed).and(&stream.name).and("replay")
}

fn one(plan: &Plan, stream: &Stream) -> Result<Forecast, Fail> {
    let base = Forecast {
        stream: stream.name.clone(),
        requests: 0.0,
        peak: Rate(0),
        length: Plan::stream_length(stream),
        lines_skipped: 0,
        notes: Vec::new(),
    };
    match &stream.model {
        Model::Open { shape, .. } => {
            let pacer = Pacer::new(shape, None);
            let peak = shape.iter().map(curve::peak).max().unwrap_or(Rate(0));
            Ok(Forecast { requests: pacer.expected(Span::ZERO, pacer.end()), peak, ..base })
        }
        Model::Closed { users, think, length } => {
            let turn = (think.0.seconds() + think.1.seconds()) / 2.0 + ASSUMED_ANSWER;
            let rate = f64::from(*users) / turn;
            let notes = vec![format!("{users} users: an estimate, with answers of 50 ms")];
            Ok(Forecast { requests: rate * length.seconds(), peak: Rate::from_per_second(rate), notes, ..base })
        }
        Model::Replay(replay) => {
            let log = Log::read(replay, replay_seed(plan, stream))?;
            let mut notes = log.named.clone();
            if log.skipped > log.named.len() as u64 {
                notes.push(format!("{} lines in all are no log lines", log.skipped));
            }
            notes.push("an access log holds no bodies; requests are spread within their second by the seed".to_owned());
            Ok(Forecast {
                requests: log.entries.len() as f64,
                peak: busiest(&log),
                length: log.length(),
                lines_skipped: log.skipped,
                notes,
                ..base
            })
        }
    }
}

/// Requests in the busiest whole second.
fn busiest(log: &Log) -> Rate {
    let seconds = log.entries.chunk_by(|a, b| a.due / 1_000_000_000 == b.due / 1_000_000_000);
    Rate::from_per_second(seconds.map(<[_]>::len).max().unwrap_or(0) as f64)
}
