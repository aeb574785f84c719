//! The server that knows the truth: one thread, HTTP/1.1 keep-alive, every arrival and every reply noted in nanoseconds.
//! Must not know who sends.

mod hold;
pub mod log;
mod request;
mod serve;

use anyhow::Result;
use std::path::PathBuf;

pub use serve::serve;

/// How answers are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// At once.
    Now,
    /// Each held for a lognormal time: median 5 ms, sigma 0.8.
    Delay,
    /// At once, except that the server freezes for 1 s of every 10 s, first 3 s after its start.
    Stall,
}

/// What answers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Answer {
    /// Two bytes.
    Tiny,
    /// An object with an `id`, an `item` and a `state`, for journeys that capture and check.
    Json,
}

/// Settings of the server.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// How answers are made.
    #[arg(long, value_enum, default_value = "now")]
    pub mode: Mode,
    /// What answers say.
    #[arg(long, value_enum, default_value = "tiny")]
    pub answer: Answer,
    /// Sleep until something arrives instead of asking all the time.
    #[arg(long)]
    pub block: bool,
    /// Run on this processor only.
    #[arg(long)]
    pub core: Option<usize>,
    /// Seed of the held times.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Requests that fit into the log; later ones are counted only.
    #[arg(long, default_value_t = 4 << 20)]
    pub room: usize,
    /// Where the log is written at the end (SIGTERM or SIGINT).
    #[arg(long)]
    pub dump: Option<PathBuf>,
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Pins this thread, and what it starts, to one processor.
pub fn pin(core: usize) -> Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(core);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

impl Answer {
    /// The whole answer: a head of the usual size (about 130 bytes) and the body.
    pub fn bytes(self) -> Vec<u8> {
        let (kind, body) = match self {
            Self::Tiny => ("text/plain", "ok".to_string()),
            Self::Json => ("application/json", r#"{"id":"c-48151623","item":"i-42","state":"open","total":1299}"#.to_string()),
        };
        format!(
            "HTTP/1.1 200 OK\r\nServer: truth\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             Connection: keep-alive\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}
