//! Traffic streams: models, shapes, replays, connections, data feeds. Plain data.

use super::Journey;
use crate::units::{Rate, Span};
use serde::{Deserialize, Serialize};

/// One traffic stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Name.
    pub name: String,
    /// Target name.
    pub target: String,
    /// When it starts.
    pub at: When,
    /// Open, closed or replayed.
    pub model: Model,
    /// Sent, not judged.
    pub warmup: Span,
    /// From intended send to last byte.
    pub timeout: Span,
    /// Retries, when asked for.
    pub retry: Option<Retry>,
    /// Connection policy.
    pub connections: Connections,
    /// Whose cookies are kept.
    pub cookies: Cookies,
    /// Data feeds.
    pub feeds: Vec<Feed>,
    /// Weighted journeys (`requests:` become journeys of one step). Empty for a replay.
    pub journeys: Vec<Journey>,
}

/// When something starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Offset from the epoch.
    At(Span),
    /// After the clock of a stage started.
    Stage {
        /// Stage name.
        stage: String,
        /// Plus this.
        plus: Span,
    },
    /// After a fault was reverted.
    After {
        /// Fault name.
        fault: String,
        /// Plus this.
        plus: Span,
    },
}

/// How arrivals come about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// Arrivals independent of answers.
    Open {
        /// Exponential gaps instead of constant ones.
        poisson: bool,
        /// One after another; spikes are already resolved to holds.
        shape: Vec<Segment>,
    },
    /// Users that wait for their answer, then think.
    Closed {
        /// How many.
        users: u32,
        /// Shortest and longest think time (uniform).
        think: (Span, Span),
        /// For how long.
        length: Span,
    },
    /// Recorded traffic.
    Replay(Replay),
}

/// A stretch of an open shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// How long.
    pub length: Span,
    /// Its form.
    pub form: Form,
}

/// The form of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Constant.
    Hold(Rate),
    /// Linear.
    Ramp(Rate, Rate),
    /// Sine from `low` (at its start, rising) to `high`.
    Wave {
        /// Lowest rate.
        low: Rate,
        /// Highest rate.
        high: Rate,
        /// One oscillation.
        period: Span,
    },
}

/// Recorded traffic and how it is replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Path as written, relative to the scenario; made whole for whoever opens it.
    pub file: String,
    /// `access-log` (others come later).
    pub format: String,
    /// 2 000 000 ppm is twice as fast (may exceed one).
    pub speed_ppm: u64,
    /// Only this part of recorded time: from (relative to the first record) and length.
    pub between: Option<(Span, Span)>,
    /// Silences are cut to this.
    pub gaps: Option<Span>,
    /// Only these methods; empty is all.
    pub methods: Vec<String>,
    /// Success is the recorded status class instead of below 500.
    pub expect_recorded: bool,
}

/// Retry policy of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, 2 to 10.
    pub attempts: u32,
    /// Conditions: `connect`, `timeout`, `reset`, or a status.
    pub on: Vec<RetryOn>,
    /// Wait before the second attempt; doubles, with jitter from (seed, arrival, attempt).
    pub backoff: Span,
}

/// A condition to retry on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No connection.
    Connect,
    /// Reset before the answer was complete.
    Reset,
    /// No answer in time.
    Timeout,
    /// This status.
    Status(u16),
}

/// Connection policy of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Most at once.
    pub max: u32,
    /// Opened before the stream starts.
    pub prewarm: u32,
    /// Keep-alive.
    pub reuse: bool,
    /// A kept connection idle for longer is closed instead of used again.
    pub idle: Span,
    /// Requests after which a connection is closed; `None` is no such bound.
    pub max_requests: Option<u32>,
    /// HTTP/2: most requests at once on one connection (the server's own limit holds too).
    pub streams: u32,
}

impl Default for Connections {
    /// At most 256, none opened in advance, kept for at most 30 s idle, 100 requests at once on an HTTP/2 connection.
    fn default() -> Connections {
        Connections { max: 256, prewarm: 0, reuse: true, idle: Span::secs(30), max_requests: None, streams: 100 }
    }
}

/// Whose cookies are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cookies {
    /// One jar a journey.
    Journey,
    /// One jar a closed-model user.
    User,
    /// No cookies.
    None,
}

/// A data feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// Name used in templates.
    pub name: String,
    /// CSV path as written, relative to the scenario; made whole for whoever opens it.
    pub csv: String,
    /// Column names.
    pub columns: Vec<String>,
    /// Rows.
    pub rows: u64,
    /// How rows are picked.
    pub pick: Pick,
}

/// How rows are picked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// Uniformly, seeded.
    Random,
    /// Arrival k takes row k mod n.
    Sequential,
    /// Arrival k takes row k; running out fails the arrival.
    Unique,
    /// Zipf with exponent s in millis (1.1 is 1100), row 1 the most frequent.
    Zipf(u32),
}
